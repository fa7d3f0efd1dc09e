"""Which bits of a stored pixel make its value, and with what sign: as the header says, unless values contradict it.

A header that calls unsigned values signed turns dense bone into less than air; one that calls signed values
unsigned turns air into more than any metal. Either way values jump over nearly their whole range between
neighbouring pixels, which no patient does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.reading.dicom.elements import Elements

__all__ = [
    "LEAST",
    "Layout",
    "aligned",
    "alternatives",
    "contradictions",
    "declared_layout",
    "has_more_bits",
    "implausible",
    "values_in",
]

_LOWEST_HU, _HIGHEST_HU = -1200, 31_000
"""Scanners write no HU beyond these, but for padding; the highest is that of extended scales."""
_DENSE_HU, _MOST_DENSE = 6000, 0.02
"""Metal is denser than this in a small share of the pixels only."""
_LEAST_BITS = 12
"""HU of air to bone take twelve bits."""
LEAST = 4
"""Fewer pixels than these contradict nothing by themselves."""


@dataclass(frozen=True)
class Layout:
    """How a stored pixel is read.

    Attributes
    ----------
    bits
        Lowest bits that count.
    signed
        Whether they are a two's complement.
    """

    bits: int
    signed: bool


def declared_layout(data: Dataset, raw: NDArray[np.integer]) -> Layout:
    """Return the header's layout; bits that cannot be are all that are allocated."""
    width = raw.dtype.itemsize * 8
    bits = Elements(data).integer("BitsStored") or 0
    return Layout(bits if 0 < bits < width else width, raw.dtype.kind == "i")


def aligned(data: Dataset, raw: NDArray[np.integer]) -> NDArray[np.integer]:
    """Move values down that lie in the upper bits, as the header's high bit says and empty lower bits confirm."""
    elements = Elements(data)
    high, bits = elements.integer("HighBit"), elements.integer("BitsStored") or 0
    shift = 0 if high is None else high + 1 - bits
    if not 0 < shift < raw.dtype.itemsize * 8 or high is None or high >= raw.dtype.itemsize * 8:
        return raw
    below = raw.view(np.dtype(f"u{raw.dtype.itemsize}")) & ((1 << shift) - 1)
    return raw if below.any() or not raw.any() else np.asarray(raw >> shift)


def has_more_bits(layout: Layout, raw: NDArray[np.integer]) -> bool:
    """Return whether a header states fewer bits than HU need, and a slice has more."""
    if layout.bits >= _LEAST_BITS or raw.dtype.itemsize == 1:
        return False
    above = raw.view(np.dtype(f"u{raw.dtype.itemsize}")) >> layout.bits
    ones = (1 << (raw.dtype.itemsize * 8 - layout.bits)) - 1  # of a negative number
    return bool(np.count_nonzero((above != 0) & (above != ones)) >= LEAST)


def alternatives(declared: Layout, raw: NDArray[np.integer]) -> list[Layout]:
    """Other layouts that the values may have, the likelier first."""
    width = raw.dtype.itemsize * 8
    return [
        Layout(declared.bits, not declared.signed),
        *(
            Layout(width, signed)
            for signed in (declared.signed, not declared.signed)
            if declared.bits < width
        ),
    ]


def values_in(raw: NDArray[np.integer], layout: Layout) -> NDArray[np.integer]:
    """Read stored pixels in a layout; what lies above its bits (overlays, rubbish) is dropped."""
    width = raw.dtype.itemsize * 8
    kind = "i" if layout.signed else "u"
    values = raw if raw.dtype.kind == kind else raw.view(np.dtype(f"{kind}{raw.dtype.itemsize}"))
    if layout.bits >= width:
        return values
    shift = width - layout.bits
    return np.asarray(np.right_shift(np.left_shift(values, shift), shift))


def implausible(hu: NDArray[np.float32]) -> bool:
    """Return whether a slice has any value that :func:`contradictions` would look at."""
    return bool(hu.min() < _LOWEST_HU or hu.max() > _DENSE_HU)


def contradictions(
    hu: NDArray[np.float32], bits: int, slope: float, padding: NDArray[np.bool_], least: int = LEAST
) -> tuple[int, int]:
    """Count what cannot be in a slice that was read in the right layout.

    Parameters
    ----------
    hu
        ``(rows, columns)`` HU.
    bits, slope
        That count, and HU for one step of them.
    padding
        ``(rows, columns)``: pixels that are no part of the scan.
    least
        Pixels that must contradict the header.

    Returns
    -------
    impossible
        Pixels denser or less dense than anything, padding aside; 0 where they are too few to matter.
    jumps
        Neighbours more than half of the whole range apart.
    """
    odd = ((hu < _LOWEST_HU) | (hu > _HIGHEST_HU)) & ~padding
    dense = (hu > _DENSE_HU) & ~padding
    impossible = int(np.count_nonzero(odd))
    if np.count_nonzero(dense) > _MOST_DENSE * hu.size:
        impossible = int(np.count_nonzero(odd | dense))
    if impossible < least:
        return 0, 0
    most = 2.0 ** (bits - 1) * abs(slope)
    jumps = sum(
        int(np.count_nonzero((np.abs(np.diff(hu, axis=axis)) > most) & ~(_pairs(padding, axis))))
        for axis in (0, 1)
    )
    return impossible, jumps


def _pairs(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Where one of two neighbours along an axis is in a mask."""
    first, second = (mask[:-1], mask[1:]) if axis == 0 else (mask[:, :-1], mask[:, 1:])
    return first | second

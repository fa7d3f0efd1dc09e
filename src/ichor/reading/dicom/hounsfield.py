"""From stored values to Hounsfield units, slice by slice, with what scanners and archives do to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.exam import AIR_HU
from ichor.reading.dicom.decode import Stored
from ichor.reading.dicom.elements import Elements
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.layout import (
    LEAST,
    Layout,
    aligned,
    alternatives,
    contradictions,
    declared_layout,
    has_more_bits,
    implausible,
    values_in,
)

__all__ = ["Assumption", "Scale", "no_hounsfield_reason", "to_hounsfield"]

_MAX_HU = 30_000
_COARSEST_STEP_HU = 8.0
"""A scale coarser than this cannot show blood beside brain (30 HU apart)."""
_TISSUE_HU = (-200, 3000)
"""A padding value within these is a value of tissue too: it counts as padding at the border only."""
_NOTABLE_SHARE = 0.005
"""Of the pixels of a slice: fewer below -1024 HU are noise, and clipped without a word."""
_WRAP = 4096
_WRAPPED_INTERCEPT = -1000.0
_USUAL_INTERCEPT, _OTHER_INTERCEPT = -1024.0, -1000.0
"""What is commonly added to HU to store them as unsigned numbers."""
_BRAIN_STORED = (1005, 1105)
"""Where brain lies with either; below the middle between its medians, 1000 was added."""
_MIDDLE_STORED = 1042.0


@dataclass(frozen=True)
class Assumption:
    """What the header leaves open or contradicts, and the values decide; one for all slices of a series.

    Attributes
    ----------
    layout
        In which the values are read instead of the declared one; None for the declared one.
    intercept
        In place of one that is absent; None where it is there.
    """

    layout: Layout | None = None
    intercept: float | None = None


@dataclass(frozen=True)
class Scale:
    """What was done to one slice to get to HU.

    Attributes
    ----------
    slope, intercept
        Used; for a wrapped slice, those after unwrapping.
    assumed
        What the values decided.
    slope_assumed, wrapped, padded, inverted
        The slope was absent, and is 1; a wrapped intercept was undone; padding was replaced; MONOCHROME1.
    """

    slope: float
    intercept: float
    assumed: Assumption
    slope_assumed: bool
    wrapped: bool
    padded: bool
    inverted: bool


@dataclass(frozen=True)
class _Reading:
    """One slice as numbers: values in a layout, their scale, and the HU they give, before clipping."""

    values: NDArray[np.integer]
    hu: NDArray[np.float32]
    slope: float
    intercept: float
    assumed: Assumption
    wrapped: bool
    padding: NDArray[np.bool_] | None


def to_hounsfield(
    stored: Stored, header: SliceHeader, out: NDArray[np.int16], assumed: Assumption | None = None
) -> Scale:
    """Convert one slice into ``out``, ``(rows, columns)`` int16.

    The rescale is the slice's own, each of its two numbers by itself: an absent slope is 1, an absent intercept is
    found from the values. Values that contradict the declared sign or bits are read as they show. Padding (value or
    range), and anything below -1024 HU, which no tissue has and scanners use to fill the square around the scan
    circle, becomes air. Twelve-bit unsigned pixels whose intercept was wrapped (air stored just below 4096) are
    unwrapped. MONOCHROME1 inverts the display only.

    Parameters
    ----------
    stored, header
        Of the slice.
    out
        Written to.
    assumed
        What other slices of the series decided; by default this one decides by itself.
    """
    data = stored.dataset
    elements = Elements(data, header.frame or 0)
    slope, intercept = elements.number("RescaleSlope", zero=False), elements.number("RescaleIntercept")
    read = _read(stored, slope, intercept, assumed)
    hu = read.hu
    outside = hu < AIR_HU
    # What lies within the head alone is no padding, however low: metal and noise.
    edges = (outside[0], outside[-1], outside[:, 0], outside[:, -1])
    padded = bool(np.count_nonzero(outside) > _NOTABLE_SHARE * hu.size and any(e.any() for e in edges))
    padding = read.padding
    if padding is not None and padding.any():
        shown = float(hu[padding][0])
        if _TISSUE_HU[0] < shown < _TISSUE_HU[1]:
            padding = _at_border(padding)
        # Air that is called padding stays the air it is: nothing to report.
        padded |= bool(padding.any()) and shown != AIR_HU
        outside |= padding
    hu[outside] = AIR_HU
    np.clip(hu, AIR_HU, _MAX_HU, out=hu)
    out[...] = np.rint(hu, out=hu)
    return Scale(
        slope=read.slope,
        intercept=read.intercept,
        assumed=read.assumed,
        slope_assumed=slope is None,
        wrapped=read.wrapped,
        padded=padded,
        inverted=header.photometric == "MONOCHROME1",
    )


def _read(
    stored: Stored, slope: float | None, intercept: float | None, assumed: Assumption | None
) -> _Reading:
    """Read the values in the declared layout, or in the one that they show."""
    data, raw = stored.dataset, aligned(stored.dataset, stored.raw)
    declared = declared_layout(data, raw)
    scale = (slope, intercept, None if assumed is None else assumed.intercept)
    if has_more_bits(declared, raw):
        return _in_layout(data, raw, Layout(raw.dtype.itemsize * 8, declared.signed), declared, scale)
    first = _in_layout(data, raw, declared, declared, scale)
    if assumed is not None:
        # Another slice's layout is taken where anything in this one, too, speaks against the header's.
        wrong, _ = _contradictions(first, declared, least=1)
        return _in_layout(data, raw, assumed.layout, declared, scale) if assumed.layout and wrong else first
    wrong, jumps = _contradictions(first, declared)
    if first.wrapped or not wrong or (not jumps and 2 * wrong < raw.size):
        return first
    for layout in alternatives(declared, raw):
        other = _in_layout(data, raw, layout, declared, scale)
        still, jumps_there = _contradictions(other, layout)
        if 10 * still <= wrong and 10 * jumps_there <= jumps:
            return other
    return first


def _in_layout(
    data: Dataset,
    raw: NDArray[np.integer],
    layout: Layout,
    declared: Layout,
    scale: tuple[float | None, float | None, float | None],
) -> _Reading:
    """Read the values in one layout; ``scale`` is slope and intercept of the header, and one decided already."""
    slope, intercept, decided = scale
    values = values_in(raw, layout)
    factor = 1.0 if slope is None else slope
    offset, open_intercept = intercept, None
    if offset is None:
        offset = open_intercept = _assumed_intercept(values, factor) if decided is None else decided
    wrapped = _is_wrapped(values, layout, offset)
    numbers = values.astype(np.float32)
    if wrapped:
        numbers = (numbers - np.float32(_WRAPPED_INTERCEPT)) % _WRAP
        offset = _WRAPPED_INTERCEPT
    return _Reading(
        values=values,
        hu=numbers * np.float32(factor) + np.float32(offset),
        slope=factor,
        intercept=offset,
        assumed=Assumption(None if layout == declared else layout, open_intercept),
        wrapped=wrapped,
        padding=_padding(data, values, wrapped),
    )


def _contradictions(read: _Reading, layout: Layout, least: int = LEAST) -> tuple[int, int]:
    """Count what cannot be, but for declared padding and for what fills the corners."""
    if not implausible(read.hu):
        return 0, 0
    corners = np.unique(read.values[[0, 0, -1, -1], [0, -1, 0, -1]])
    padding = np.isin(read.values, corners) & (read.hu < AIR_HU)
    if read.padding is not None:
        padding |= read.padding
    return contradictions(read.hu, layout.bits, read.slope, padding, least)


def _assumed_intercept(values: NDArray[np.integer], slope: float) -> float:
    """Find an absent intercept from the values.

    Signed ones that reach to air already are HU. Unsigned ones carry an offset: 1024, or 1000 where brain lies so
    low that only this puts it at 20 to 40 HU.
    """
    scaled = values if slope == 1 else values * np.float32(slope)
    if scaled.min() < -500:
        return 0.0
    brain = scaled[(scaled > _BRAIN_STORED[0]) & (scaled < _BRAIN_STORED[1])]
    return _OTHER_INTERCEPT if brain.size and np.median(brain) < _MIDDLE_STORED else _USUAL_INTERCEPT


def no_hounsfield_reason(volume: NDArray[np.int16], slope: float) -> str | None:
    """Return why values cannot be HU of a patient in air, or None where they can.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.
    slope
        HU for one stored step.
    """
    if abs(slope) > _COARSEST_STEP_HU:
        return f"a rescale slope of {slope:.1f} HU a step"
    sample = volume[:: max(1, len(volume) // 8), ::4, ::4]
    low, high = np.percentile(sample, [1, 99.8])
    if high - low < 200:
        return f"values from {low:.0f} to {high:.0f} HU"
    if low > -300:
        return f"no air (1 % of the values lie below {low:.0f} HU)"
    if high < 100:
        return f"no bone (0.2 % of the values lie above {high:.0f} HU)"
    return None


def _padding(data: Dataset, values: NDArray[np.integer], wrapped: bool) -> NDArray[np.bool_] | None:
    """Where the padding value (or the range from it to its limit) stands; None where no tag names one."""
    corners = {int(values[i, j]) for i in (0, -1) for j in (0, -1)}
    # Scanners fill the corners with -2000; wrapped into twelve bits that is 2096, which no tag tells.
    if wrapped and corners == {_WRAP - 2000}:
        return np.asarray(values == _WRAP - 2000)
    elements = Elements(data)
    first, last = elements.integer("PixelPaddingValue"), elements.integer("PixelPaddingRangeLimit")
    if first is None:
        return None
    last = first if last is None else last
    if values.dtype.kind == "i":
        # An unsigned tag over signed pixels: the same bits.
        first, last = (v - (1 << 16) if v >= 1 << 15 else v for v in (first, last))
    else:
        first, last = (v + (1 << 16) if v < 0 else v for v in (first, last))
    low, high = min(first, last), max(first, last)
    return np.asarray((values >= low) & (values <= high))


def _at_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what hangs together with the border of the image."""
    from scipy import ndimage  # slow to load, and few files say what they are padded with

    pieces, _ = ndimage.label(mask)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return np.asarray(np.isin(pieces, border[border > 0]))


def _is_wrapped(values: NDArray[np.integer], layout: Layout, intercept: float) -> bool:
    """Twelve unsigned bits that hold negative HU as 4096 less: known from the RSNA 2019 set.

    Air and fat (-1000 to -50 HU) then lie just below 4096; in a sound image with an intercept near 0,
    nothing does but metal.
    """
    if layout != Layout(12, signed=False) or intercept <= -100:
        return False
    return bool(np.mean((values >= 4096 - 1100) & (values < 4096)) > 0.05)

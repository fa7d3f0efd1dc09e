"""From stored values to Hounsfield units, slice by slice, with what scanners and archives do to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.exam import AIR_HU
from ichor.reading.decode import Stored
from ichor.reading.headers import READ_ERRORS, SliceHeader

__all__ = ["HounsfieldSlice", "no_hounsfield_reason", "to_hounsfield"]

_MAX_HU = 30_000
_COARSEST_STEP_HU = 8.0
"""A scale coarser than this cannot show blood beside brain (30 HU apart)."""


@dataclass(frozen=True)
class HounsfieldSlice:
    """One slice in HU, and what was done to get there.

    Attributes
    ----------
    hu
        ``(rows, columns)`` int16.
    slope, intercept
        Used; for a wrapped slice, those after unwrapping.
    assumed, wrapped, padded, inverted
        Rescale was absent and assumed; a wrapped intercept was undone; padding was replaced; MONOCHROME1.
    """

    hu: NDArray[np.int16]
    slope: float
    intercept: float
    assumed: bool
    wrapped: bool
    padded: bool
    inverted: bool


def to_hounsfield(stored: Stored, header: SliceHeader) -> HounsfieldSlice:
    """Convert one slice.

    The rescale is the slice's own. Padding (value or range), and anything below -1024 HU, which no tissue has
    and scanners use to fill the square around the scan circle, becomes air. Twelve-bit unsigned pixels whose
    intercept was wrapped (air stored just below 4096) are unwrapped. MONOCHROME1 inverts the display only.
    """
    data, values = stored.dataset, stored.values
    slope, intercept = _rescale(data, header.frame)
    assumed = slope is None or intercept is None
    if assumed:
        slope = 1.0
        # Signed values that reach to air already are HU; unsigned ones carry the customary offset.
        intercept = 0.0 if values.min() < -500 else -1024.0
    padding = _padding(data, values)
    raw = values.astype(np.float32)
    wrapped = _is_wrapped(values, data, float(intercept or 0.0))
    if wrapped:
        raw = (raw + 1000) % 4096
        intercept = -1000.0
    hu = raw * np.float32(slope) + np.float32(intercept)
    outside = hu < AIR_HU
    if padding is not None:
        outside |= padding
    padded = bool(outside.any())
    hu[outside] = AIR_HU
    return HounsfieldSlice(
        hu=np.rint(np.clip(hu, AIR_HU, _MAX_HU)).astype(np.int16),
        slope=float(slope or 1.0),
        intercept=float(intercept or 0.0),
        assumed=assumed,
        wrapped=wrapped,
        padded=padded,
        inverted=header.photometric == "MONOCHROME1",
    )


def no_hounsfield_reason(volume: NDArray[np.int16], slope: float) -> str | None:
    """Tell why values cannot be HU of a patient in air, or None where they can.

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


def _rescale(data: Dataset, frame: int | None) -> tuple[float | None, float | None]:
    holders = [data]
    if frame is not None:
        for name, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
            groups = data.get(name)
            if groups is not None and len(groups) > index:
                holders += list(groups[index].get("PixelValueTransformationSequence") or [])
    slope = intercept = None
    for holder in holders:
        slope = _number(holder, "RescaleSlope") if slope is None else slope
        intercept = _number(holder, "RescaleIntercept") if intercept is None else intercept
    return (slope if slope else None), intercept


def _number(data: Dataset, keyword: str) -> float | None:
    try:
        value = float(data.get(keyword))
    except READ_ERRORS:
        return None
    return value if np.isfinite(value) and abs(value) < 1e6 else None


def _padding(data: Dataset, values: NDArray[np.integer]) -> NDArray[np.bool_] | None:
    """Where the padding value (or the range from it to its limit) stands."""
    try:
        first = int(data.get("PixelPaddingValue"))
    except READ_ERRORS:
        return None
    try:
        last = int(data.get("PixelPaddingRangeLimit"))
    except READ_ERRORS:
        last = first
    if values.dtype.kind == "i" and first >= 1 << 15:
        # An unsigned tag over signed pixels: the same bits.
        first, last = first - (1 << 16), last - (1 << 16) if last >= 1 << 15 else last
    low, high = min(first, last), max(first, last)
    return np.asarray((values >= low) & (values <= high))


def _is_wrapped(values: NDArray[np.integer], data: Dataset, intercept: float) -> bool:
    """Twelve unsigned bits that hold negative HU as 4096 less: known from the RSNA 2019 set.

    Air and fat (-1000 to -50 HU) then lie just below 4096; in a sound image with an intercept near 0,
    nothing does but metal.
    """
    unsigned = int(data.get("PixelRepresentation", 0) or 0) == 0
    if int(data.get("BitsStored", 0) or 0) != 12 or not unsigned or intercept <= -100:
        return False
    return bool(np.mean((values >= 4096 - 1100) & (values < 4096)) > 0.05)

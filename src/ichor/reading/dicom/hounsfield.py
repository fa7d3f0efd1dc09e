"""From stored values to Hounsfield units, slice by slice, with what scanners and archives do to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from ichor.exam import AIR_HU
from ichor.reading.dicom.dataset import READ_ERRORS
from ichor.reading.dicom.decode import Stored
from ichor.reading.dicom.headers import SliceHeader

__all__ = ["Scale", "no_hounsfield_reason", "to_hounsfield"]

_MAX_HU = 30_000
_COARSEST_STEP_HU = 8.0
"""A scale coarser than this cannot show blood beside brain (30 HU apart)."""
_TISSUE_HU = (-200, 3000)
"""A padding value within these is a value of tissue too: it counts as padding at the border only."""
_NOTABLE_SHARE = 0.005
"""Of the pixels of a slice: fewer below -1024 HU are noise, and clipped without a word."""
_WRAP = 4096
_WRAPPED_INTERCEPT = -1000.0


@dataclass(frozen=True)
class Scale:
    """What was done to one slice to get to HU.

    Attributes
    ----------
    slope, intercept
        Used; for a wrapped slice, those after unwrapping.
    assumed, wrapped, padded, inverted
        Rescale was absent and assumed; a wrapped intercept was undone; padding was replaced; MONOCHROME1.
    """

    slope: float
    intercept: float
    assumed: bool
    wrapped: bool
    padded: bool
    inverted: bool


def to_hounsfield(stored: Stored, header: SliceHeader, out: NDArray[np.int16]) -> Scale:
    """Convert one slice into ``out``, ``(rows, columns)`` int16.

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
    wrapped = _is_wrapped(values, data, float(intercept or 0.0))
    raw = values.astype(np.float32)
    if wrapped:
        raw = (raw - np.float32(_WRAPPED_INTERCEPT)) % _WRAP
        intercept = _WRAPPED_INTERCEPT
    hu = raw * np.float32(slope) + np.float32(intercept)
    outside = hu < AIR_HU
    padded = bool(np.count_nonzero(outside) > _NOTABLE_SHARE * hu.size)
    padding = _padding(data, values, wrapped)
    if padding is not None and padding.any():
        shown = float(hu[padding][0])
        if _TISSUE_HU[0] < shown < _TISSUE_HU[1]:
            padding = _at_border(padding)
        # Air that is called padding stays the air it is: nothing to tell.
        padded |= bool(padding.any()) and shown != AIR_HU
        outside |= padding
    hu[outside] = AIR_HU
    np.clip(hu, AIR_HU, _MAX_HU, out=hu)
    out[...] = np.rint(hu, out=hu)
    return Scale(
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
        for name, index in (
            ("PerFrameFunctionalGroupsSequence", frame),
            ("SharedFunctionalGroupsSequence", 0),
        ):
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


def _padding(data: Dataset, values: NDArray[np.integer], wrapped: bool) -> NDArray[np.bool_] | None:
    """Where the padding value (or the range from it to its limit) stands; None where no tag names one."""
    corners = {int(values[i, j]) for i in (0, -1) for j in (0, -1)}
    # Scanners fill the corners with -2000; wrapped into twelve bits that is 2096, which no tag tells.
    if wrapped and corners == {_WRAP - 2000}:
        return np.asarray(values == _WRAP - 2000)
    try:
        first = int(data.get("PixelPaddingValue"))
    except READ_ERRORS:
        return None
    try:
        last = int(data.get("PixelPaddingRangeLimit"))
    except READ_ERRORS:
        last = first
    if values.dtype.kind == "i":
        # An unsigned tag over signed pixels: the same bits.
        first, last = (v - (1 << 16) if v >= 1 << 15 else v for v in (first, last))
    else:
        first, last = (v + (1 << 16) if v < 0 else v for v in (first, last))
    low, high = min(first, last), max(first, last)
    return np.asarray((values >= low) & (values <= high))


def _at_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what hangs together with the border of the image."""
    pieces, _ = ndimage.label(mask)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return np.asarray(np.isin(pieces, border[border > 0]))


def _is_wrapped(values: NDArray[np.integer], data: Dataset, intercept: float) -> bool:
    """Twelve unsigned bits that hold negative HU as 4096 less: known from the RSNA 2019 set.

    Air and fat (-1000 to -50 HU) then lie just below 4096; in a sound image with an intercept near 0,
    nothing does but metal.
    """
    unsigned = int(data.get("PixelRepresentation", 0) or 0) == 0
    if int(data.get("BitsStored", 0) or 0) != 12 or not unsigned or intercept <= -100:
        return False
    return bool(np.mean((values >= 4096 - 1100) & (values < 4096)) > 0.05)

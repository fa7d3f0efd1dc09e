"""Pictures of 16 and 32 bits: numbers that are HU, plainly or with something added, or greys that are stretched.

HU span from air to bone, and brain is a sliver of the span: stretched, it would be one grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ichor.exam import GreyWindow

__all__ = ["greys_of_numbers"]

_OFFSETS = (0, 1000, 1024, 32768)
"""What is commonly added to HU to store them; others show in the level of air."""
_AIR_HU = (-1000, -1024)
_BRAIN_WINDOW = (0.0, 80.0)
_BRAIN_HU, _BRAIN_RANGE = 33.0, (5.0, 75.0)
_LOWEST_AIR, _LEAST_BONE = -700, 300
_DENSEST = 4000
"""HU above which no head has a thousandth of its pixels: the numbers are no HU."""
_WITHIN = 12.0
"""HU by which the commonest number of a head may lie off brain's for an offset that only air shows."""


def greys_of_numbers(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], GreyWindow | None]:
    """Give numbers of any range as 8-bit greys.

    Parameters
    ----------
    values
        ``(rows, columns)``; what is not finite is unknown.

    Returns
    -------
    greys, window
        ``(rows, columns)`` uint8: HU in the brain window with the window beside it, where the numbers are HU; else
        stretched from the darkest to the brightest, and None.
    """
    known = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(known).all():
        return np.zeros(values.shape, np.uint8), None
    low, high = (float(v) for v in np.nanpercentile(known, [0.5, 99.8]))
    offset = _stored_offset(known, low, high)
    window = None
    if offset is not None:
        low, high = (offset + hu for hu in _BRAIN_WINDOW)
        window = GreyWindow(sum(_BRAIN_WINDOW) / 2, _BRAIN_WINDOW[1] - _BRAIN_WINDOW[0], "file", 0.0)
    scaled = (np.nan_to_num(known, nan=low) - low) * (255 / max(high - low, 1e-6))
    return np.asarray(np.clip(scaled, 0, 255).astype(np.uint8)), window


def _stored_offset(known: NDArray[np.float32], low: float, high: float) -> float | None:
    """Find what was added to HU: a common number, or what puts the level of air at air's HU; None for no HU.

    Air or padding alone does not tell 1000 from 1024: of those that fit, the one that puts the commonest number of the
    middle of the picture nearest to brain is taken.
    """
    rows, columns = (max(1, n // 4) for n in known.shape)
    core = known[rows:-rows, columns:-columns]
    core = core[np.isfinite(core)]
    if not core.size:
        return None
    air = _commonest(known[known <= low + 0.25 * (high - low)])
    candidates = {float(offset) for offset in _OFFSETS}
    shown_by_air = {air - hu for hu in _AIR_HU} - candidates
    fitting = []
    for offset in candidates | shown_by_air:
        spans = low < offset + _LOWEST_AIR and offset + _LEAST_BONE < high < offset + _DENSEST
        soft = core[(core > offset + _BRAIN_RANGE[0] - 20) & (core < offset + _BRAIN_RANGE[1] + 20)]
        if not spans or soft.size < 0.25 * core.size:
            continue
        off = abs(_commonest(soft) - offset - _BRAIN_HU)
        if off <= (_WITHIN if offset in shown_by_air else _BRAIN_RANGE[1] - _BRAIN_HU):
            fitting.append((off, offset))
    return min(fitting)[1] if fitting else None


def _commonest(values: NDArray[np.float32]) -> float:
    """Middle of the fullest of bins of four, smoothed over three of them."""
    if not values.size:
        return float("nan")
    start = float(np.floor(values.min()))
    counts = np.bincount(((values - start) // 4).astype(np.int64))
    smooth = np.convolve(counts, [1, 1, 1], "same")
    return start + 4 * int(smooth.argmax()) + 2

"""From maps to slices to an exam: stated rules, used by training's measurements and by detection alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ichor.preparing.stacks import neighbour_indices

__all__ = ["exam_logits", "slice_logits"]


def slice_logits(
    maps: NDArray[np.float32],
    distances: NDArray[np.float64],
    *,
    weights: Sequence[float],
    pixels: int,
    max_gap_mm: float,
) -> NDArray[np.float64]:
    """Logits of slices: for each label the mean over the hottest pixels of the map, smoothed along the stack.

    Blood goes on from slice to slice; noise, and the partial volume of one slice with bone, do not. A bleed
    anywhere makes a slice positive, however small: only its hottest pixels speak.

    Parameters
    ----------
    maps
        ``(m, labels, h, w)`` logits on the grid.
    distances
        ``(m,)`` mm of the grid's slices along their normal.
    weights
        Of the slices around, an odd number, the slice itself in the middle; beyond the stack's ends, and
        beyond a gap, the last slice stands in.
    pixels
        How many pixels of the map speak.
    max_gap_mm
        No slice farther away than this is a neighbour.

    Returns
    -------
    numpy.ndarray
        ``(m, labels)``.
    """
    half = len(weights) // 2
    total = sum(weights)
    m = len(maps)
    kernel = np.zeros((m, m), np.float32)
    for offset, weight in zip(range(-half, half + 1), weights, strict=True):
        kernel[np.arange(m), neighbour_indices(distances, offset, max_gap_mm)] += np.float32(weight / total)
    flat = (kernel @ maps.reshape(m, -1)).reshape(*maps.shape[:2], -1)
    return np.asarray(np.partition(flat, -pixels, axis=2)[:, :, -pixels:].mean(axis=2, dtype=np.float64))


def exam_logits(slice_logits: NDArray[np.floating], hottest: int = 2) -> NDArray[np.float64]:
    """Logits of an exam: for each label the mean over its ``hottest`` most suspicious slices of the grid.

    One bleeding slice makes an exam positive; asking for two (about 10 mm) keeps one noisy slice from
    deciding alone, and a lone slice is judged by itself.

    Parameters
    ----------
    slice_logits
        ``(m, 6)`` for the grid's slices.
    hottest
        How many slices count.

    Returns
    -------
    numpy.ndarray
        ``(6,)``.
    """
    ordered = np.sort(np.asarray(slice_logits, dtype=np.float64), axis=0)
    return np.asarray(ordered[-hottest:].mean(axis=0))

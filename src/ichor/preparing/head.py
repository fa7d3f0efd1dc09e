"""Finding the head in a slice, fast enough to be done on every exam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["head_boxes", "robust_box"]

_COARSE_SIDE = 128
"""The head is looked for on a grid of about this many pixels a side: 2 to 4 mm each, enough for a box."""
_TISSUE_HU = 10
"""Above fat, hair, foam and the blanket; below brain and muscle."""
_OPENING = 2
"""Radius in coarse pixels of what is shaved off: head rests and tubes are thinner, heads are not."""


def head_boxes(volume: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Box and area of the largest piece of tissue in each slice.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.

    Returns
    -------
    boxes
        ``(n, 4)`` first row, first column, end row, end column (pixel edges); NaN where there is no tissue.
    areas
        ``(n,)`` pixels.
    """
    step = max(1, round(max(volume.shape[1:]) / _COARSE_SIDE))
    (rows, row_edges), (columns, column_edges) = (_coarse(n, step) for n in volume.shape[1:])
    tissue = volume[:, rows[:, None], columns] > _TISSUE_HU
    disk = np.hypot(*np.mgrid[-_OPENING : _OPENING + 1, -_OPENING : _OPENING + 1]) <= _OPENING + 0.3
    tissue = ndimage.binary_opening(tissue, disk[None])
    boxes = np.full((len(volume), 4), np.nan)
    areas = np.zeros(len(volume))
    for k, plane in enumerate(tissue):
        labels, n = ndimage.label(plane)
        if not n:
            continue
        sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        largest = int(sizes.argmax())
        high, wide = ndimage.find_objects(labels, max_label=largest + 1)[largest]
        boxes[k, ::2] = row_edges[[high.start, high.stop]]
        boxes[k, 1::2] = column_edges[[wide.start, wide.stop]]
        areas[k] = sizes[largest] * step**2
    return boxes, areas


def _coarse(n: int, step: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Lay cells of ``step`` pixels symmetrically over ``n`` pixels, so that a mirrored slice gets the mirrored box.

    Returns
    -------
    samples
        One pixel of each of the ``m`` cells.
    edges
        ``(m + 1,)`` pixel edges of the cells.
    """
    if step == 1:
        return np.arange(n), np.arange(n + 1, dtype=np.float64)
    half = -(-n // (2 * step))
    edges = np.clip(n / 2 + step * np.arange(-half, half + 1), 0, n)
    low = np.floor((edges[:half] + edges[1 : half + 1]) / 2).astype(np.intp)
    return np.concatenate([low, n - 1 - low[::-1]]), edges


def robust_box(boxes: NDArray[np.float64], areas: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """One box for an exam: that of its larger slices, without the nose, an ear or a hand on a few of them.

    Parameters
    ----------
    boxes, areas
        As :func:`head_boxes` gives them, in one common frame.

    Returns
    -------
    numpy.ndarray or None
        ``(4,)`` first row, first column, end row, end column; None where no slice shows tissue.
    """
    found = np.isfinite(boxes).all(axis=1)
    if not found.any():
        return None
    large = found & (areas >= 0.5 * areas[found].max())
    low = np.quantile(boxes[large, :2], 0.15, axis=0)
    high = np.quantile(boxes[large, 2:], 0.85, axis=0)
    return np.concatenate([low, high])

"""On which side of the head a region lies, where the source says where left is, however the head is turned."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.exam import Exam

__all__ = ["Side", "region_sides"]

Side = Literal["left", "right", "both"]
_MOSTLY = 0.9
"""Share of its volume from which a region lies on one side: the middle of the head is known to some millimetres."""
_HEAD_HU = -200
_COARSE_SIDE = 128
_LARGE = 0.5
"""Share of the largest slice's area from which a slice counts for how the head is turned."""
_ELONGATED = 1.1
"""A head is longer than wide; one that seems not to be tells nothing of how it is turned."""
_MOST_TURNED = np.sin(np.radians(45))


def region_sides(exam: Exam, mask: NDArray[np.uint8], count: int) -> list[Side | None]:
    """Side of each region of the plane that parts the head: along its length, through the middle of each slice.

    Parameters
    ----------
    exam
        What the regions are on.
    mask
        ``(n, rows, columns)`` region numbers.
    count
        How many regions there are.

    Returns
    -------
    list
        One a region, in order; None where the orientation is not known or no head was found.
    """
    if not exam.geometry.orientation_known or not count:
        return [None] * count
    centres, leftward = _middle(exam)
    left, every = np.zeros(count + 1), np.zeros(count + 1)
    for k in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        if k not in centres:
            continue
        place = np.argwhere(mask[k])
        points = exam.geometry.voxel_to_patient(np.column_stack([np.full(len(place), k), place]))
        aside = (points[:, :2] - centres[k]) @ leftward
        numbers = mask[k][tuple(place.T)]
        extent = exam.geometry.slice_extents[k]
        left += extent * np.bincount(numbers, aside > 0, minlength=count + 1)
        every += extent * np.bincount(numbers, minlength=count + 1)
    return [_side(left[n], every[n]) for n in range(1, count + 1)]


def _middle(exam: Exam) -> tuple[dict[int, NDArray[np.float64]], NDArray[np.float64]]:
    """Middle of the head on each slice ``(2,)`` mm, and the axial direction ``(2,)`` that leads to its left.

    The head's length is the first axis of its pixels about the middle of their slice, over the larger slices.
    """
    step = max(1, round(max(exam.volume.shape[1:]) / _COARSE_SIDE))
    tissue = exam.volume[:, step // 2 :: step, step // 2 :: step] > _HEAD_HU
    centres, spreads = {}, {}
    for k, plane in enumerate(tissue):
        labels, n = ndimage.label(plane)
        if not n:
            continue
        head = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
        place = np.argwhere(ndimage.binary_fill_holes(head)) * step + step // 2
        points = exam.geometry.voxel_to_patient(np.column_stack([np.full(len(place), k), place]))[:, :2]
        centres[k] = points.mean(axis=0)
        spreads[k] = (len(points), (points - centres[k]).T @ (points - centres[k]))
    largest = max((n for n, _ in spreads.values()), default=0)
    spread = sum((s for n, s in spreads.values() if n >= _LARGE * largest), np.zeros((2, 2)))
    lengths, axes = np.linalg.eigh(spread)  # the longest last
    along = axes[:, 1] * np.sign(axes[1, 1] or 1.0)
    turned = abs(along[0]) < _MOST_TURNED and lengths[1] > _ELONGATED**2 * lengths[0] > 0
    leftward = np.array([along[1], -along[0]]) if turned else np.array([1.0, 0.0])
    return centres, leftward


def _side(left: float, total: float) -> Side | None:
    if not total:
        return None
    share = left / total
    return "left" if share >= _MOSTLY else "right" if share <= 1 - _MOSTLY else "both"

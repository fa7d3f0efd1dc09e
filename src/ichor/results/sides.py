"""On which side of the head a region lies, where the source says where left is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ichor.exam import Exam
from ichor.preparing.head import head_boxes

__all__ = ["Side", "region_sides"]

Side = Literal["left", "right", "both"]
_MOSTLY = 0.9
"""Share of its volume from which a region lies on one side: the middle of the head is known to some millimetres."""


def region_sides(exam: Exam, mask: NDArray[np.uint8], count: int) -> list[Side | None]:
    """Side of each region, by the middle of the head's box on each slice.

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
    if not exam.geometry.orientation_known:
        return [None] * count
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    boxes, _ = head_boxes(exam.volume[slices])
    left, all_of = np.zeros(count + 1), np.zeros(count + 1)
    for k, box in zip(slices, boxes, strict=True):
        if not np.isfinite(box).all():
            continue
        place = np.argwhere(mask[k])
        middle = (np.array([box[0] + box[2], box[1] + box[3]]) - 1) / 2
        points = exam.geometry.voxel_to_patient(np.column_stack([np.full(len(place), k), place]))
        centre = exam.geometry.voxel_to_patient(np.array([k, *middle]))
        numbers = mask[k][tuple(place.T)]
        extent = exam.geometry.slice_extents[k]
        left += extent * np.bincount(numbers, points[:, 0] > centre[0], minlength=count + 1)
        all_of += extent * np.bincount(numbers, minlength=count + 1)
    return [_side(left[n], all_of[n]) for n in range(1, count + 1)]


def _side(left: float, total: float) -> Side | None:
    if not total:
        return None
    share = left / total
    return "left" if share >= _MOSTLY else "right" if share <= 1 - _MOSTLY else "both"

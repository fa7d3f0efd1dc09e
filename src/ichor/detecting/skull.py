"""What lies within the skull, and what is scalp: a bruise outside the bone is no intracranial bleed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = ["bone_hu", "within_skull"]

_COARSE_SIDE = 256
_BONE_HU = 250.0
_BONE_OF_WINDOWED_HU = 74.0
_WINDOWED_HU = 130
"""A volume without anything denser came through a brain window: bone is what is nearly white in it."""
_MIN_PIECE = 12
"""Coarse pixels; smaller bright spots are earrings, clips and noise."""
_MIN_BONE = 60


def bone_hu(volume: NDArray[np.int16]) -> float:
    """HU from which on a voxel of this volume is taken for bone."""
    return _BONE_HU if int(volume.max()) >= _WINDOWED_HU else _BONE_OF_WINDOWED_HU


def within_skull(plane: NDArray[np.int16], bone: float) -> NDArray[np.bool_]:
    """Mark what a slice shows within the convex hull of the head's bone.

    The vault is convex, so that the hull ends at its outer surface, whether or not the bone is closed
    (sutures of a child, a craniotomy, the base). Where no bone is seen, everything counts as within.

    Parameters
    ----------
    plane
        ``(rows, columns)`` HU.
    bone
        See :func:`bone_hu`.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool.
    """
    step = max(1, round(max(plane.shape) / _COARSE_SIDE))
    small = plane[::step, ::step]
    hard = (small >= bone) & _head(small)
    labels, count = ndimage.label(hard, structure=np.ones((3, 3)))
    if count:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        hard &= (sizes >= _MIN_PIECE)[labels]
    if hard.sum() < _MIN_BONE:
        return np.ones(plane.shape, bool)
    rows = np.flatnonzero(hard.any(axis=1))
    first = hard[rows].argmax(axis=1)
    last = hard.shape[1] - 1 - hard[rows, ::-1].argmax(axis=1)
    corners = _hull(np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1)])) * step
    image = Image.new("1", plane.shape[::-1])
    ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in corners], fill=1, outline=1)
    return np.array(image, dtype=bool)


def _head(small: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find the largest piece of tissue and bone: not the table, not the head rest."""
    tissue = small[::2, ::2] > max(-50, int(small.min()) + 5)
    disk = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.3
    labels, count = ndimage.label(ndimage.binary_opening(tissue, disk))
    if not count:
        return np.zeros(small.shape, bool)
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    head = ndimage.binary_dilation(labels == largest, disk)
    return np.asarray(head.repeat(2, axis=0).repeat(2, axis=1)[: small.shape[0], : small.shape[1]])


def _hull(points: NDArray[np.integer]) -> NDArray[np.integer]:
    """Corners ``(k, 2)`` of the convex hull of points ``(n, 2)``."""
    from scipy.spatial import ConvexHull

    if (np.ptp(points, axis=0) == 0).any():
        return points
    return np.asarray(points[ConvexHull(points).vertices])

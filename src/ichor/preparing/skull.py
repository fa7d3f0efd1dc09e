"""What lies within the skull, and what is scalp: a bruise outside the bone is no intracranial bleed.

:func:`within_skull` is the hull of the bone, bone included; :func:`intracranial` the space that the bone encloses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = ["bone_hu", "intracranial", "is_windowed", "white_within", "within_skull"]

_COARSE_SIDE = 256
_BONE_HU = 250.0
_BONE_OF_WINDOWED_HU = 74.0
_WINDOWED_HU = 130
"""A volume without anything denser came through a brain window: bone is what is nearly white in it."""
_MIN_PIECE = 12
"""Coarse pixels; smaller bright spots are earrings, clips and noise."""
_MIN_BONE = 60
_MIN_SPACE = 250
"""Coarse pixels (about 2.5 cm²); smaller spaces are cells of the mastoid, sinuses and globes."""
_MIN_ENCLOSED = 0.6
"""Share of a space's edge that lies beside bone: the brain's is, also where the bone has a gap; muscle's is not."""
_MAX_OPEN = 0.2
"""Share of a space's edge that lies at the hull with no bone beside it: muscle's in the temple is larger."""
_MIN_BRAIN = 0.5
_MIN_SPACE_OF_WINDOWED = 0.35
_MIN_TISSUE_HU = -30
_SKULL_SHARE = 0.045
"""About the thickness of the skull beside the head's length, 8 mm of 180."""


def bone_hu(volume: NDArray[np.int16]) -> float:
    """HU from which on a voxel of this volume is taken for bone."""
    return _BONE_HU if int(volume.max()) >= _WINDOWED_HU else _BONE_OF_WINDOWED_HU


def is_windowed(bone: float) -> bool:
    """Whether a volume with this :func:`bone_hu` came through a narrow window, in which dense blood is white, too."""
    return bone < _BONE_HU


def white_within(plane: NDArray[np.int16], bone: float) -> NDArray[np.bool_]:
    """Mark what is as bright as bone and lies apart from the skull: in a narrow window, dense blood or calcium.

    Parameters
    ----------
    plane
        ``(rows, columns)`` HU.
    bone
        See :func:`bone_hu`.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool: the pieces of which no pixel lies in the skull's own thickness.
    """
    step = _step(plane)
    hull = within_skull(plane, bone)[::step, ::step]
    depth = max(1, round(_SKULL_SHARE * max(np.count_nonzero(hull.any(axis=k)) for k in (0, 1))))
    inner = ndimage.distance_transform_edt(np.pad(hull, 1))[1:-1, 1:-1] > depth
    white = plane >= bone
    labels, count = ndimage.label(white)
    of_skull = np.zeros(count + 1, bool)
    fine = inner.repeat(step, axis=0).repeat(step, axis=1)
    fine = np.pad(fine, [(0, max(0, n - m)) for n, m in zip(plane.shape, fine.shape, strict=True)])
    of_skull[labels[~fine[: plane.shape[0], : plane.shape[1]]]] = True
    return np.asarray(white & ~of_skull[labels])


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
    step = _step(plane)
    hard = _bone_of_head(plane[::step, ::step], bone)
    if hard.sum() < _MIN_BONE:
        return np.ones(plane.shape, bool)
    return _within_hull(hard, step, plane.shape)


def intracranial(plane: NDArray[np.int16], bone: float) -> NDArray[np.bool_]:
    """Mark the space that a slice's bone encloses: brain, what surrounds it, and blood; no bone, no scalp.

    Gaps in the bone (sutures, a fracture) are sealed where they are narrow; across a wide one (a craniectomy, the
    base) the hull of the bone is the limit. What lies between hull and bone on the outside (temporal muscle) is
    not enclosed by bone and does not count.

    Parameters
    ----------
    plane
        ``(rows, columns)`` HU.
    bone
        See :func:`bone_hu`.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool, as fine as the slice itself at bone, else to about a millimetre. Where no bone is
        seen, or hardly any space in a narrow window, everything counts; where no enclosed space is found, all
        within the hull that is not bone.
    """
    step = _step(plane)
    small = plane[::step, ::step]
    hard = _bone_of_head(small, bone)
    if hard.sum() < _MIN_BONE:
        return np.ones(plane.shape, bool)
    hull = _within_hull(hard, step, plane.shape)
    not_bone = hull[::step, ::step] & ~hard
    tissue = small > max(_MIN_TISSUE_HU, int(small.min()) + 3)
    sealed = not_bone & tissue & ~ndimage.binary_closing(hard, _disk(2))
    core = ndimage.binary_opening(sealed, _disk(3))
    labels, count = ndimage.label(core)
    beside_bone = ndimage.binary_dilation(hard, _disk(4))
    open_air = ndimage.binary_dilation(~hull[::step, ::step], _disk(4)) & ~beside_bone
    enclosed = np.zeros(count + 1, bool)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        piece = labels[box] == number
        if piece.sum() >= _MIN_SPACE:
            edge = piece & ~ndimage.binary_erosion(piece)
            shut = beside_bone[box][edge].mean() >= _MIN_ENCLOSED
            largest = piece.sum() >= _MIN_BRAIN * core.sum()  # the brain itself may lie open after surgery
            enclosed[number] = shut and (largest or open_air[box][edge].mean() <= _MAX_OPEN)
    if enclosed.any():
        # Back to where closing and opening took something off, but no farther.
        space = ndimage.binary_dilation(enclosed[labels], _disk(2), iterations=2, mask=not_bone)
    else:
        space = not_bone
    # What is as bright as bone but surrounded by brain is none: calcium, or blood in a narrow window.
    holes = ndimage.binary_fill_holes(space) & ~space
    fine = _refined(space, step, plane.shape) & (plane < bone)
    if holes.any():
        fine |= _refined(holes, step, plane.shape)
    fine &= hull
    if bone < _BONE_HU and fine.sum() < _MIN_SPACE_OF_WINDOWED * _head(small).sum() * step**2:
        return np.ones(plane.shape, bool)  # the skull is grey and the blood white: brightness tells nothing
    return np.asarray(fine)


def _refined(mask: NDArray[np.bool_], step: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bring a coarse mask to the slice; a coarse pixel that is not set may hold fine ones that belong to it."""
    fine = mask.repeat(step, axis=0).repeat(step, axis=1)
    fine = np.pad(fine, [(0, max(0, n - m)) for n, m in zip(shape, fine.shape, strict=True)])
    fine = fine[: shape[0], : shape[1]]
    return np.asarray(ndimage.binary_dilation(fine, iterations=step - 1) if step > 1 else fine)


def _step(plane: NDArray[np.int16]) -> int:
    return max(1, round(max(int(n) for n in plane.shape) / _COARSE_SIDE))


def _disk(radius: int) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.3)


def _bone_of_head(small: NDArray[np.int16], bone: float) -> NDArray[np.bool_]:
    hard = (small >= bone) & _head(small)
    labels, count = ndimage.label(hard, structure=np.ones((3, 3)))
    if count:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        hard &= (sizes >= _MIN_PIECE)[labels]
    return np.asarray(hard)


def _within_hull(hard: NDArray[np.bool_], step: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill the convex hull of coarse bone on the slice itself."""
    rows = np.flatnonzero(hard.any(axis=1))
    first = hard[rows].argmax(axis=1)
    last = hard.shape[1] - 1 - hard[rows, ::-1].argmax(axis=1)
    corners = _hull(np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1)])) * step
    image = Image.new("1", (shape[1], shape[0]))
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
    """Corners ``(k, 2)`` of the convex hull of points ``(n, 2)``, by Andrew's monotone chain.

    Exact in whole numbers. (scipy.spatial takes longer to load than a study to prepare.)
    """
    ordered = sorted({(int(x), int(y)) for x, y in points})
    if len(ordered) < 3:
        return np.array(ordered)
    return np.array([*_half_hull(ordered)[:-1], *_half_hull(ordered[::-1])[:-1]])


def _half_hull(ordered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Go from the first to the last point, turning to one side only; points on a straight way are passed over."""
    chain: list[tuple[int, int]] = []
    for x, y in ordered:
        while len(chain) > 1:
            (x0, y0), (x1, y1) = chain[-2:]
            if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                break
            chain.pop()
        chain.append((x, y))
    return chain

"""Is this an axial head CT at all, and what is wrong with it? Asked before any probability is given.

The answer rests on what makes a head in CT: a closed shell of bone around a roundish space filled with
tissue of brain's density. Abdomen, chest, phantoms, MR and photographs have no such thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.detecting.picture_estimate import PictureEstimate
from ichor.exam import Exam, Picture
from ichor.notices import Notice, notice
from ichor.preparing.stacks import Prepared
from ichor.preparing.windows import BRAIN, Window

__all__ = ["Cranium", "Inspection", "assess", "find_cranium", "inspect"]

_STRIDE = 4
"""Grid pixels for one pixel looked at: about 2.5 mm."""
_BONE_HU = 200.0
_BONE_OF_PICTURE_HU = 66.0
"""In a picture's brain window bone is white, or nearly."""
_BRAIN_HU = (0.0, 85.0)
_BRAIN_OF_PICTURE_HU = (4.0, 74.0)
_MIN_SPACE = 0.10
"""Intracranial space of a slice through the brain, as a share of the grid; mm² below, where known."""
_SPACE_MM2 = (2500.0, 26000.0)
_MIN_BRAIN = 0.72
_MIN_ENCLOSED = 0.72
_MIN_ENCLOSED_OF_PICTURE = 0.6
"""A large bleed is as white as bone in a picture, and opens the shell that is looked for."""
_MIN_ROUND = 0.55
_MIN_SURROUND = 0.7
_MIN_SURROUND_OF_SHELL = 0.4
"""Enough where the shell itself leaves no doubt: slices through the base have a face around them."""
_SHELL = 7
"""Coarse pixels (about 18 mm) that skull and scalp may take around the brain."""
_AIR_HU = -300.0
_AIR_OF_PICTURE_HU = 14.0
_MIN_SHELL = 0.45
_MIN_ENCLOSED_AND_ROUND = 1.4
_MAX_FLAT = 0.3
_MAX_CONTRAST_HU = 16.0
"""Of a picture: solid bone around a space neither drawn (flat) nor a pattern; see benchmarks/accuracy/quality.py."""
_CLIPPED_HU = 130.0
"""A volume without anything denser was saved through a brain window: bone is what is white in it."""
_MIN_BRAIN_SLICES = 4
_MIN_BRAIN_SHARE = 0.15
"""Of all slices: with less, most of the exam is another part of the body."""
_LEAST_HEAD = 0.95
"""Probability from which on a single slice counts as a head although no closed bone around brain was found."""
_LEAST_WHITE = 0.14
"""Share of white pixels that such a slice has at least: bone is clipped in a window of soft tissue. MR has fewer."""
_LEAST_BRAIN = 0.3
_METAL_HU = 2800
_METAL_MM2 = 40.0
_MOTION_MM = 8.0


@dataclass(frozen=True)
class Cranium:
    """What each slice of the grid shows of a cranium.

    Attributes
    ----------
    space
        ``(m,)`` intracranial space as a share of the grid.
    brain
        ``(m,)`` share of that space with brain's density.
    enclosed
        ``(m,)`` share of its edge that lies on bone.
    roundness
        ``(m,)`` its area over that of the ellipse with the same second moments: 1 for an ellipse.
    surround
        ``(m,)`` share of what lies well outside the shell that is as dark as air.
    shell
        ``(m,)`` share of the rim outside the space that is solid bone.
    contrast
        ``(m,)`` standard deviation within the space, HU, without its edge.
    flat
        ``(m,)`` share of the space, without its edge, where neighbouring pixels do not differ at all.
    centre
        ``(m, 2)`` its centre in grid pixels.
    """

    space: NDArray[np.float64]
    brain: NDArray[np.float64]
    enclosed: NDArray[np.float64]
    roundness: NDArray[np.float64]
    surround: NDArray[np.float64]
    shell: NDArray[np.float64]
    contrast: NDArray[np.float64]
    flat: NDArray[np.float64]
    centre: NDArray[np.float64]

    def brain_slices(self, pixel_mm: float | None, grid_pixels: int, *, picture: bool) -> NDArray[np.bool_]:
        """``(m,)`` which slices go through a cranium with brain in it."""
        there = (
            (self.space >= _MIN_SPACE)
            & (self.brain >= _MIN_BRAIN)
            & (self.enclosed >= (_MIN_ENCLOSED_OF_PICTURE if picture else _MIN_ENCLOSED))
            & (self.roundness >= _MIN_ROUND)
        )
        if picture:
            # A photograph goes on around whatever looks like a shell; below the brain, so does a face.
            closed = (self.enclosed >= 0.92) & (self.roundness >= 0.84)
            sound = (self.surround >= _MIN_SURROUND_OF_SHELL) & closed
            there &= (self.surround >= _MIN_SURROUND) | sound
            there &= (self.shell >= _MIN_SHELL) & (self.enclosed + self.roundness >= _MIN_ENCLOSED_AND_ROUND)
            there &= (self.contrast <= _MAX_CONTRAST_HU) & (self.flat <= _MAX_FLAT)
        if pixel_mm is not None:
            area = self.space * grid_pixels * pixel_mm**2
            there &= (area >= _SPACE_MM2[0]) & (area <= _SPACE_MM2[1])
        return np.asarray(there)


def find_cranium(hu: NDArray[np.float32], *, picture: bool) -> Cranium:
    """Look for a closed shell of bone around brain in each slice.

    Parameters
    ----------
    hu
        ``(m, rows, columns)`` HU on the grid.
    picture
        The HU come from a picture in the brain window: bone is what is nearly white.
    """
    m = len(hu)
    coarse = _blocks(hu, np.add) / _STRIDE**2
    brain_low, brain_high = _BRAIN_OF_PICTURE_HU if picture else _BRAIN_HU
    # The densest pixel speaks for its block: a child's skull is thinner than one.
    highest = _blocks(hu, np.maximum)
    bone = highest >= (_BONE_OF_PICTURE_HU if picture else _BONE_HU)
    solid = coarse >= (_BONE_OF_PICTURE_HU - 6 if picture else _BONE_HU)
    even = highest - _blocks(hu, np.minimum) < 0.7
    disk = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.3
    space, brain, enclosed, roundness, surround, shell, contrast, flat = (np.zeros(m) for _ in range(8))
    centre = np.full((m, 2), np.nan)
    for k in range(m):
        inside = _largest_tissue(coarse[k], bone[k], (brain_low, brain_high), disk)
        if inside is None:
            continue
        area = int(inside.sum())
        tissue = coarse[k][inside]
        edge = ndimage.binary_dilation(np.pad(inside, 1)) & ~np.pad(inside, 1)
        near_bone = ndimage.binary_dilation(np.pad(bone[k], 1), disk)
        where = np.stack(np.nonzero(inside))
        spread = np.cov(where) + np.eye(2) / 12
        ellipse = 4 * np.pi * np.sqrt(max(float(np.linalg.det(spread)), 1e-6))
        space[k] = area / inside.size
        brain[k] = np.mean((tissue > brain_low) & (tissue < brain_high))
        enclosed[k] = float((edge & near_bone).sum() / max(1, edge.sum()))
        roundness[k] = min(1.0, area / ellipse)
        beyond = ~ndimage.binary_dilation(inside, iterations=_SHELL)
        air = coarse[k][beyond] < (_AIR_OF_PICTURE_HU if picture else _AIR_HU)
        surround[k] = air.mean() if air.size > 0.02 * inside.size else 1.0
        rim = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_dilation(inside)
        shell[k] = solid[k][rim].mean() if rim.any() else 0.0
        core = ndimage.binary_erosion(inside, iterations=2)
        core = core if core.any() else inside
        contrast[k], flat[k] = coarse[k][core].std(), even[k][core].mean()
        centre[k] = where.mean(axis=1) * _STRIDE
    return Cranium(space, brain, enclosed, roundness, surround, shell, contrast, flat, centre)


def _blocks(hu: NDArray[np.float32], join: np.ufunc) -> NDArray[np.float32]:
    """Join blocks of ``_STRIDE`` by ``_STRIDE`` pixels; by strides, several times faster than a reduce."""
    rows, columns = (n // _STRIDE * _STRIDE for n in hu.shape[1:])
    parts = [hu[:, i:rows:_STRIDE, :columns] for i in range(_STRIDE)]
    joined = join(join(parts[0], parts[1]), join(parts[2], parts[3]))
    parts = [joined[:, :, i::_STRIDE] for i in range(_STRIDE)]
    return np.asarray(join(join(parts[0], parts[1]), join(parts[2], parts[3])))


def _largest_tissue(
    hu: NDArray[np.float32], bone: NDArray[np.bool_], brain: tuple[float, float], disk: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Find the largest piece of brain-like tissue, filled; shaved, lest a suture join it to the scalp."""
    like = (hu > brain[0]) & (hu < brain[1]) & ~bone
    labels, count = ndimage.label(ndimage.binary_opening(like, disk))
    if not count:
        return None
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    return np.asarray(ndimage.binary_fill_holes(labels == largest))


@dataclass(frozen=True)
class Inspection:
    """What was found of a cranium in an exam or a picture.

    Attributes
    ----------
    cranium
        Of the grid's slices.
    brains
        ``(m,)`` which slices go through a cranium with brain in it.
    """

    cranium: Cranium
    brains: NDArray[np.bool_]


def inspect(subject: Exam | Picture, prepared: Prepared) -> Inspection:
    """Look for brain within closed bone in each slice.

    Parameters
    ----------
    subject
        As read.
    prepared
        The same on the model's grid.
    """
    transform = prepared.transform
    as_picture = isinstance(subject, Picture) or float(prepared.hu.max()) < _CLIPPED_HU
    pixel_mm = transform.pixel_mm if transform.geometry.spacing_known else None
    brains = np.zeros(len(prepared.hu), bool)
    for hu in _looked_at(subject, prepared.hu):
        cranium = find_cranium(hu, picture=as_picture)
        brains |= cranium.brain_slices(pixel_mm, hu[0].size, picture=as_picture)
    return Inspection(cranium, brains)


def assess(
    subject: Exam | Picture,
    prepared: Prepared,
    estimate: PictureEstimate | None = None,
    inspection: Inspection | None = None,
) -> list[Notice]:
    """Judge an exam or a picture before detection.

    Parameters
    ----------
    subject
        As read.
    prepared
        The same on the model's grid.
    estimate
        Of a single slice: a head that shows no closed bone around brain (the base, the vertex, after surgery) is known
        by it. None where only the rules are asked.
    inspection
        What :func:`inspect` gave for the same; None to do it here.

    Returns
    -------
    list of Notice
        Those whose decision is ``refuse`` mean that no verdict may be given.
    """
    found_in = inspection or inspect(subject, prepared)
    brains = found_in.brains
    found = _too_little_brain(subject, int(brains.sum()), prepared.transform.n_slices, estimate)
    if isinstance(subject, Picture) or any(n.decision == "refuse" for n in found):
        return found
    return [
        *found,
        *_clipped(subject, brains, prepared),
        *_metal(subject),
        *_motion(found_in.cranium, brains, prepared),
    ]


def _looked_at(subject: Exam | Picture, hu: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """HU in which a cranium is looked for: a picture's by its window, and as if it were in the brain window."""
    if isinstance(subject, Exam):
        return [hu]
    found = [np.clip(hu, BRAIN.low, BRAIN.high)]
    if subject.window is not None:
        window = Window(subject.window.level, subject.window.width)
        plain = BRAIN.low + (hu - window.low) * np.float32(BRAIN.width / window.width)
        found.append(np.clip(plain, BRAIN.low, BRAIN.high))
    return found


def _too_little_brain(
    subject: Exam | Picture, brains: int, slices: int, estimate: PictureEstimate | None
) -> list[Notice]:
    """Refuse what shows no head, or too little of it for a verdict on an exam; say where a head shows no brain."""
    if subject.n_slices == 1:
        return _of_single_slice(subject, bool(brains), estimate)
    needed = max(min(_MIN_BRAIN_SLICES, max(2, slices // 3)), round(_MIN_BRAIN_SHARE * slices))
    if brains >= needed:
        return []
    shown = f"brain within closed bone in {brains} of {slices} slices; at least {needed} are needed"
    if brains < 2:
        return [notice("not_a_head", f"This exam does not look like an axial head CT: {shown}.")]
    return [notice("too_few_slices", f"This exam shows too little of the head: {shown}.")]


def _of_single_slice(subject: Exam | Picture, brain: bool, estimate: PictureEstimate | None) -> list[Notice]:
    """Take a slice that shows brain within closed bone, or that the estimate is sure to be a head at all."""
    if brain:
        return []
    what = "picture" if isinstance(subject, Picture) else "slice"
    if estimate is None or estimate.head < _LEAST_HEAD or estimate.white < _LEAST_WHITE:
        text = f"This {what} does not look like an axial head CT: it shows no brain within closed bone."
        return [notice("not_a_head", text)]
    if estimate.brain >= _LEAST_BRAIN:
        return []
    text = (
        f"This {what} of a head shows hardly any brain; its probability says nothing of the rest of the head."
    )
    return [notice("no_brain", text)]


def _native_slices(mask: NDArray[np.bool_], prepared: Prepared) -> list[int]:
    """Native slices that a choice of the grid's slices speaks for."""
    return np.flatnonzero((prepared.transform.to_native_weights[:, mask] > 0.5).any(axis=1)).tolist()


def _clipped(exam: Exam, brains: NDArray[np.bool_], prepared: Prepared) -> list[Notice]:
    """Head tissue on the edge of the image in slices through the brain."""
    at = _native_slices(brains, prepared)
    cut = []
    air = max(-100, int(exam.volume.min()) + 5)  # saved through a window, air is what is darkest
    for k in at:
        plane = exam.volume[k]
        edges = (plane[0], plane[-1], plane[:, 0], plane[:, -1])
        if max(float(np.mean((e > air) & (e < 1500))) for e in edges) > 0.15:
            cut.append(k)
    if len(cut) < max(1, len(at) // 4):
        return []
    return [notice("head_clipped", f"The head is cut by the edge of the image in {len(cut)} slices.", cut)]


def _metal(exam: Exam) -> list[Notice]:
    geometry = exam.geometry
    pixel = geometry.spacing[0] * geometry.spacing[1]
    dense = (exam.volume >= _METAL_HU).sum(axis=(1, 2)) * pixel
    slices = np.flatnonzero(dense >= _METAL_MM2).tolist()
    if not slices:
        return []
    return [
        notice(
            "metal",
            f"There is dense metal in {len(slices)} slices; streaks may hide or imitate blood.",
            slices,
        )
    ]


def _motion(cranium: Cranium, brains: NDArray[np.bool_], prepared: Prepared) -> list[Notice]:
    """Notice where the cranium's centre jumps sideways from one slice to the next."""
    pairs = np.flatnonzero(brains[1:] & brains[:-1])
    gaps = np.diff(prepared.transform.distances)
    jumps = np.linalg.norm(np.diff(cranium.centre, axis=0), axis=1) * prepared.transform.pixel_mm
    # At the base the space itself changes shape: only slices with alike areas can tell.
    ratio = cranium.space[1:] / np.maximum(cranium.space[:-1], 1e-6)
    alike = (ratio > 0.85) & (ratio < 1.18)
    moved = [k for k in pairs if gaps[k] <= 8.0 and alike[k] and jumps[k] > _MOTION_MM]
    if not moved:
        return []
    at = np.zeros(len(brains), bool)
    at[[k + 1 for k in moved]] = True
    return [
        notice(
            "motion",
            "The head lies elsewhere in neighbouring slices; the patient may have moved.",
            _native_slices(at, prepared),
        )
    ]

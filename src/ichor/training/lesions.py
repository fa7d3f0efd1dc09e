"""Simulated bleeds and things that are none: small ones, rare subtypes, in as many heads and places as there are.

Few patients of any set bleed, and what a network misses is small or of a rare subtype. A simulated bleed has an
exact outline, a subtype that its place implies, and partial volume in the slices around. Bruises of the scalp,
calcified spots and rims of partial volume along the skull are drawn, too, and are no bleeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.datasets.labelled import UNKNOWN
from ichor.labels import LABEL_NAMES

__all__ = ["SLICE_MM", "Bleed", "draw_bleed", "draw_distraction", "draw_partial_volume", "intracranial"]

SLICE_MM = 5.0
_PIXEL_MM = 0.65
"""About that of the grid: a head of 190 mm on 290 of 320 rows."""
_BONE_HU = 250.0
_SHORT_OF_WHITE_HU = 6.0
"""Bone of a source in a window is what is this close to its upper end."""
_ABOVE_BLACK_HU = 8.0
"""Tissue of such a source is at least so far above its lower end, which is air, too."""
_BLOOD_MEETS_BONE_HU = 130.0
_LEAST_SPACE = 0.05
"""Of a slice: with less brain in it nothing is drawn."""
_LEAST_PIXELS = 12.0
_LEAST_CONTRAST_HU = 8.0
_CSF_HU = 16.0
_SHARES = {
    "epidural": 0.2,
    "intraparenchymal": 0.35,
    "intraventricular": 0.12,
    "subarachnoid": 0.13,
    "subdural": 0.2,
}

Plane = NDArray[np.float32]
Limits = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Bleed:
    """Slices with a simulated bleed.

    Attributes
    ----------
    hu
        ``(3, rows, columns)`` float32.
    blood
        ``(rows, columns)`` uint8 of the middle slice: the subtype's place in ``LABEL_NAMES``, ``UNKNOWN`` at its edge.
    subtype
        Place in ``LABEL_NAMES``.
    """

    hu: Plane
    blood: NDArray[np.uint8]
    subtype: int


def intracranial(plane: Plane, limits: Limits) -> NDArray[np.bool_]:
    """Mark the space within the bone of a slice; nothing where the bone is open.

    Parameters
    ----------
    plane
        ``(rows, columns)`` HU.
    limits
        HU below and above which the source is clipped: in a window, bone is what is white.
    """
    bone_hu = _bone_hu(limits)
    windowed = bone_hu < _BONE_HU
    bone = plane >= bone_hu
    bone = ndimage.binary_closing(np.pad(bone, 4), iterations=3)[4:-4, 4:-4]
    space = ndimage.binary_fill_holes(bone) & ~ndimage.binary_dilation(bone, iterations=2 if windowed else 1)
    labels, count = ndimage.label(ndimage.binary_opening(space, iterations=2))
    if not count:
        return np.zeros(plane.shape, bool)
    inside = np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())
    smooth = ndimage.gaussian_filter(np.clip(plane, -20, 90), 1)[inside]
    tissue = (smooth > max(-5.0, limits[0] + _ABOVE_BLACK_HU)) & (smooth < 74)
    if inside.mean() < _LEAST_SPACE or tissue.mean() < 0.8:
        return np.zeros(plane.shape, bool)
    return inside


def draw_bleed(hu: Plane, limits: Limits, rng: np.random.Generator) -> Bleed | None:
    """Draw one bleed into a slice without any and its neighbours.

    Parameters
    ----------
    hu
        ``(3, rows, columns)`` HU of a slice between its neighbours.
    limits
        As for :func:`intracranial`.
    rng
        Decides everything.

    Returns
    -------
    Bleed or None
        None where the slice has no room for it.
    """
    inside = np.stack([intracranial(p, limits) for p in hu])
    if not inside[1].any():
        return None
    subtype = LABEL_NAMES[1 + rng.choice(5, p=np.array(list(_SHARES.values())))]
    # Up to the bone itself: blood lies on it, and shares its outermost pixels.
    soft = hu < _BLOOD_MEETS_BONE_HU
    room = np.stack(
        [ndimage.binary_dilation(m, iterations=8, mask=s) for m, s in zip(inside, soft, strict=True)]
    )
    depth = np.stack([ndimage.distance_transform_edt(m) * _PIXEL_MM for m in room]).astype(np.float32)
    smooth = ndimage.gaussian_filter(np.clip(hu, -20, 90), (0, 1, 1))
    share = None
    if subtype in ("epidural", "subdural"):
        share = _rim(depth, subtype == "epidural", rng)
    elif subtype == "intraventricular":
        share = _within_fluid(smooth, inside & (depth > 14), rng)
    elif subtype == "subarachnoid":
        share = _between_folds(smooth, inside, depth, rng)
    if share is None or share[1].sum() < 2 * _LEAST_PIXELS:
        subtype, share = "intraparenchymal", _ball(inside, depth, rng)
    share = ndimage.gaussian_filter(share * room, (0, 0.7, 0.7)) * soft
    if share[1].sum() < _LEAST_PIXELS or share[1].max() < 0.5:
        return None
    number = LABEL_NAMES.index(subtype)
    around = float(np.median(smooth[1][inside[1]]))
    target = max(rng.uniform(52, 80), around + 14) + 3 * _clouds(hu.shape, 6, rng)
    if rng.random() < 0.15:  # clot and serum beside each other
        target -= 12 * np.clip(_clouds(hu.shape, 8, rng), 0, 1)
    # The noise of the slice stays; bone beside it is no noise.
    near, share_soft = (
        ndimage.gaussian_filter(a, (0, 1.5, 1.5)) for a in (hu * soft, soft.astype(np.float32))
    )
    grain = (hu - near / np.maximum(share_soft, 0.05)) * soft
    out = hu.copy()
    if subtype == "intraparenchymal" and rng.random() < 0.5:
        halo = np.clip(ndimage.gaussian_filter(share, (0, 6, 6)) * 2, 0, 1) * inside
        out -= rng.uniform(2, 9) * halo * (smooth > around - 12)
    out = out * (1 - share) + share * (target + grain * rng.uniform(0.7, 1.1))
    core = share[1] >= 0.5
    if (out - hu)[1][core].mean() < _LEAST_CONTRAST_HU or out[1][
        core
    ].mean() < around + _LEAST_CONTRAST_HU / 2:
        return None
    blood = np.where(core, number, np.where(share[1] > 0.12, UNKNOWN, 0)).astype(np.uint8)
    return Bleed(out.astype(np.float32), blood, number)


def draw_distraction(hu: Plane, limits: Limits, rng: np.random.Generator) -> Plane:
    """Draw what is bright and no bleed: a bruise of the scalp, or calcified spots.

    Parameters
    ----------
    hu, limits, rng
        As for :func:`draw_bleed`.

    Returns
    -------
    numpy.ndarray
        Like ``hu``.
    """
    if rng.random() < 0.6 or _bone_hu(limits) < _BONE_HU:
        return _bruise(hu, limits, rng)
    inside = np.stack([intracranial(p, limits) for p in hu])
    depth = ndimage.distance_transform_edt(inside[1]) * _PIXEL_MM
    rows, columns = np.nonzero(depth > 18)
    if not len(rows):
        return hu
    share = np.zeros(hu.shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        k = rng.integers(len(rows))
        share = np.maximum(share, _ellipsoid(hu.shape, (rows[k], columns[k]), rng.uniform(1.5, 3.5), rng))
    share = ndimage.gaussian_filter(share, (0, 0.7, 0.7))
    return np.asarray(hu + share * np.maximum(rng.uniform(150, 400) - hu, 0), np.float32)


def draw_partial_volume(hu: Plane, limits: Limits, rng: np.random.Generator) -> Plane:
    """Brighten the brain along one side of the skull, as where the bone curves away within a thick slice.

    Takes and returns what :func:`draw_distraction` does: a rim of 1 to 4 mm that fades away from the bone, and along
    it, is no bleed.
    """
    bone, whole = _skull(hu, limits)
    if whole[1].mean() < _LEAST_SPACE:
        return hu
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(1, 4) / _PIXEL_MM
    steps = np.linspace(0, reach, 1 + int(np.ceil(reach)))[1:]
    way = np.array([np.sin(angle), np.cos(angle)])
    share = np.zeros(hu.shape, np.float32)
    for step in steps:
        share += ndimage.shift(bone.astype(np.float32), (0, *(step * way)), order=1) / len(steps)
    room = whole & ~bone
    share = ndimage.gaussian_filter(share * room, (0, 0.7, 0.7)) * room
    strength = rng.uniform(15, 55) * rng.uniform(0.4, 1, (len(hu), 1, 1))
    strength[1] = strength.max()
    return np.asarray(np.minimum(hu + share * strength, np.maximum(hu, limits[1])), np.float32)


def _bone_hu(limits: Limits) -> float:
    """HU from which a voxel of a source is taken for bone."""
    return min(_BONE_HU, float(limits[1]) - _SHORT_OF_WHITE_HU)


def _skull(hu: Plane, limits: Limits) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the bone of slices, and it with what it encloses."""
    bone = hu >= _bone_hu(limits)
    closed = (ndimage.binary_closing(plane, iterations=3) for plane in bone)
    return bone, np.stack([ndimage.binary_fill_holes(plane) for plane in closed])


def _bruise(hu: Plane, limits: Limits, rng: np.random.Generator) -> Plane:
    _, whole = _skull(hu, limits)
    if whole[1].mean() < _LEAST_SPACE:
        return hu
    off = np.stack([ndimage.distance_transform_edt(~w) * _PIXEL_MM for w in whole]).astype(np.float32)
    edge = (off[1] > 0) & (off[1] < 1.5)
    share = _along(off, edge, rng.uniform(3, 18), rng.uniform(15, 45), rng)
    if share is None:
        return hu
    share = ndimage.gaussian_filter(share * ~whole, (0, 0.8, 0.8))
    target = rng.uniform(30, 75) + 6 * _clouds(hu.shape, 5, rng)
    noise = rng.normal(0, 4, hu.shape)
    return np.asarray(hu * (1 - share) + share * (target + noise), np.float32)


def _rim(depth: Plane, lens: bool, rng: np.random.Generator) -> Plane | None:
    """Draw blood along the bone: a lens under it, or a crescent over the brain."""
    edge = (depth[1] > 0) & (depth[1] < 1.5)
    if lens:
        thick = float(np.exp(rng.uniform(np.log(2.5), np.log(22))))
        return _along(depth, edge, thick, 7 + thick * rng.uniform(1, 2.2), rng)
    return _along(depth, edge, rng.uniform(1.8, 11), rng.uniform(22, 70), rng, flat=4)


def _along(
    depth: Plane, edge: NDArray[np.bool_], thick: float, half: float, rng: np.random.Generator, flat: int = 2
) -> Plane | None:
    """Mark what lies less than ``thick`` mm from a surface and ``half`` mm from a point of it, thinner at its ends."""
    rows, columns = np.nonzero(edge)
    if not len(rows):
        return None
    k = rng.integers(len(rows))
    away = np.hypot(*(np.indices(edge.shape) - np.array([rows[k], columns[k]])[:, None, None])) * _PIXEL_MM
    profile = thick * np.clip(1 - (away / half) ** flat, 0, None) * (1 + 0.25 * _clouds(edge.shape, 10, rng))
    tall = rng.uniform(4, 40)
    centre = rng.uniform(-0.8, 0.8) * tall
    out = np.zeros(depth.shape, np.float32)
    for plane in range(3):
        fraction = [max(0.0, 1 - ((z - centre) / tall) ** 2) ** 0.5 for z in _heights(plane)]
        for f in fraction:
            out[plane] += np.clip((profile * f - depth[plane]) / _PIXEL_MM + 0.5, 0, 1) / len(fraction)
    return out * (depth > 0)


def _ball(inside: NDArray[np.bool_], depth: Plane, rng: np.random.Generator) -> Plane:
    radius = float(np.exp(rng.uniform(np.log(1.8), np.log(22))))
    rows, columns = np.nonzero(depth[1] > min(0.5 * radius, 6))
    if not len(rows):
        return np.zeros(inside.shape, np.float32)
    k = rng.integers(len(rows))
    return _ellipsoid(inside.shape, (rows[k], columns[k]), radius, rng)


def _ellipsoid(
    shape: tuple[int, ...], place: tuple[int, int], radius: float, rng: np.random.Generator
) -> Plane:
    """Mark an uneven ellipsoid that reaches into the middle slice: the share of each voxel that it fills."""
    y, x = (np.indices(shape[1:]) - np.array(place)[:, None, None]) * _PIXEL_MM
    turn = rng.uniform(0, np.pi)
    long, short = radius * rng.uniform(1, 1.7), radius * rng.uniform(0.55, 1)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    flat = (u / long) ** 2 + (v / short) ** 2 + 0.35 * _clouds(shape[1:], max(2.0, radius / 2), rng)
    tall = radius * rng.uniform(0.6, 1.4)
    centre = rng.uniform(-0.8, 0.8) * tall
    out = np.zeros(shape, np.float32)
    for plane in range(3):
        heights = _heights(plane)
        for z in heights:
            out[plane] += (flat + ((z - centre) / tall) ** 2 < 1) / len(heights)
    return out


def _within_fluid(smooth: Plane, deep: NDArray[np.bool_], rng: np.random.Generator) -> Plane | None:
    """Draw blood in the ventricles: at their bottom, where a person lies on the back, or all of them."""
    fluid = deep & (smooth < _CSF_HU)
    labels, count = ndimage.label(ndimage.binary_opening(fluid[1]))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(sizes >= 40) + 1
    if not len(large):
        return None
    part = np.zeros(fluid.shape[1:], bool)
    for number in rng.permutation(large)[: rng.integers(1, len(large) + 1)]:
        rows = np.nonzero(labels == number)[0]
        level = np.quantile(rows, rng.choice([0.0, rng.uniform(0.2, 0.85)], p=[0.3, 0.7]))
        part |= (labels == number) & (np.arange(len(labels))[:, None] >= level)
    near = ndimage.binary_dilation(part, iterations=3)
    return np.stack([near & fluid[0], part, near & fluid[2]]).astype(np.float32)


def _between_folds(
    smooth: Plane, inside: NDArray[np.bool_], depth: Plane, rng: np.random.Generator
) -> Plane | None:
    """Draw blood in the sulci and cisterns of one part of the brain."""
    brain = float(np.median(smooth[1][inside[1]]))
    fluid = np.clip((brain - 4 - smooth) / 10, 0, 1) * inside * (depth > 1.0)
    rows, columns = np.nonzero((fluid[1] > 0.5) & (depth[1] < 30))
    if not len(rows):
        return None
    k = rng.integers(len(rows))
    away = (
        np.hypot(*(np.indices(inside.shape[1:]) - np.array([rows[k], columns[k]])[:, None, None])) * _PIXEL_MM
    )
    reach = rng.uniform(8, 35)
    region = np.clip(1.5 - away / reach + 0.3 * _clouds(inside.shape[1:], 12, rng), 0, 1)
    return np.asarray(fluid * region * rng.uniform(0.7, 1), np.float32)


def _heights(plane: int) -> NDArray[np.float64]:
    """Heights in mm within one of the three slices, the middle of the middle one being 0."""
    return (plane - 1) * SLICE_MM + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def _clouds(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> Plane:
    """Draw smooth noise of deviation 1, ``size`` pixels wide, the same in all slices."""
    step = max(1, int(size / 2))
    coarse = rng.normal(size=(-(-shape[-2] // step) + 1, -(-shape[-1] // step) + 1))
    coarse = ndimage.gaussian_filter(coarse, size / step)
    coarse /= coarse.std() + 1e-6
    fine = ndimage.zoom(coarse, step, order=1)[: shape[-2], : shape[-1]]
    return np.asarray(np.broadcast_to(fine, shape), np.float32)

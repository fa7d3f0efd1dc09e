"""From the model's map to regions: where, how much, and of which subtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.detecting.manifest import Localisation
from ichor.detecting.region_shape import SlicePart, shape_probabilities
from ichor.detecting.scoring import sigmoid
from ichor.exam import Geometry
from ichor.findings import Region
from ichor.labels import LABEL_NAMES, SUBTYPE_NAMES
from ichor.preparing.grid import GridTransform
from ichor.preparing.skull import bone_hu, intracranial, is_windowed, white_within

__all__ = ["Regions", "blood_map", "localise"]

_MAX_REGIONS = 255
_SMOOTHING_MM = 0.7
_PICTURE_MM = 230.0
"""About the width that a picture of a slice shows."""
_NOISE_HU = 25.0
"""Noise lifts single voxels of blood so far above its densest."""
_AROUND = 20
"""Standard deviations of the filter, around the warm pixels, that are looked at: enough to see the brain's own HU."""
_ENOUGH = 12
_CONTRAST_HU = 8.0
_HALF_BONE_HU = 450.0
"""About half-way between blood and cortical bone: a voxel below it, beside blood, is more blood than bone."""
_EDGE_MM = 0.8
_MOST_BEYOND = 2.0
"""Times what the map marks of a bleed: where more beyond it is as dense, density does not tell blood from others."""
_RIM_MM = 3.0
"""What is as dense as blood and thinner may be the bone's partial volume."""
_TOUCH_SHARE = 0.004
"""Of a picture's width, about a millimetre: so near to blood, what is white touches it."""
_NOT_LIKE_BLOOD = "what the network marked is not as dense as blood, or does not lie within the skull"
_NOISE_HOLE_SHARE = 2e-4
"""Of a picture's pixels, about 10 mm²: a smaller hole in a bleed is noise."""


@dataclass(frozen=True)
class Regions:
    """All regions of an exam.

    Attributes
    ----------
    regions
        Largest first.
    mask
        ``(n, rows, columns)`` uint8: number of the region (1-based), 0 elsewhere.
    volume_ml
        Of all regions; None where spacing is unknown or the map only points.
    reason
        Why there is none, as a clause; empty where there are regions.
    """

    regions: list[Region]
    mask: NDArray[np.uint8]
    volume_ml: float | None
    reason: str = ""


def localise(
    map_logits: NDArray[np.float32],
    volume: NDArray[np.int16],
    transform: GridTransform,
    rule: Localisation,
    *,
    subtypes: bool = True,
) -> Regions:
    """Find the regions.

    The map of ``any`` is carried to the native slices. Where it reaches the rule's probability over enough voxels
    there is a region, which extends as far as the map stays above the rule's edge probability and voxels within
    the skull look like blood; pieces that touch, within a slice or across neighbouring ones, are one region. A
    voxel counts with its pixel's area times the part of the normal that its slice stands for, so that uneven gaps
    and tilt give the right volume.

    Parameters
    ----------
    map_logits
        ``(m, 6, h, w)`` on the grid.
    volume
        ``(n, rows, columns)`` HU.
    transform
        Of the same exam.
    rule
        The bundle's.
    subtypes
        Whether regions get a subtype; those of a picture, whose HU are estimated and which is one slice, get none.

    Returns
    -------
    Regions
        Empty where the map stays below.
    """
    geometry = transform.geometry
    mask = np.zeros(volume.shape, np.uint8)
    spaces = _Spaces(volume)
    none_ml = 0.0 if geometry.spacing_known and rule.measures else None
    any_map = np.asarray(sigmoid(map_logits[:, 0]), dtype=np.float32)
    if not (any_map >= rule.probability).any():
        return Regions([], mask, none_ml, _too_cold(float(any_map.max(initial=0)), rule))
    wanted, planes = blood_map(_around_seeds(any_map, rule), volume, transform, rule, spaces)
    first = int(wanted[0])  # what follows looks at the slices between the first and the last warm one only
    blood = np.zeros((int(wanted[-1]) + 1 - first, *volume.shape[1:]), bool)
    seeds = np.zeros_like(blood)
    blood[wanted - first], seeds[wanted - first] = planes > 0, planes >= rule.probability
    labels, count = ndimage.label(blood, structure=np.ones((3, 3, 3)))
    if not count:
        return Regions([], mask, none_ml, _NOT_LIKE_BLOOD)
    voxel_ml = geometry.slice_extents * geometry.spacing[0] * geometry.spacing[1] / 1000
    shown = geometry.spacing_known and rule.measures
    found = ndimage.find_objects(labels)
    pieces = [labels[box] == i + 1 for i, box in enumerate(found)]
    sure = [seeds[box] & piece for box, piece in zip(found, pieces, strict=True)]
    boxes = [(slice(b[0].start + first, b[0].stop + first), b[1], b[2]) for b in found]

    def millilitres(parts: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
        counted = zip(parts, boxes, strict=True)
        return np.array([float((p.sum(axis=(1, 2)) * voxel_ml[box[0]]).sum()) for p, box in counted])

    sizes = millilitres(pieces)
    enough = (
        millilitres(sure) >= max(rule.min_volume_ml, 1e-9)
        if geometry.spacing_known
        else np.array([p.sum() for p in sure]) >= rule.min_pixels * (volume.shape[2] / 512) ** 2
    )
    order = [i for i in np.argsort(-sizes, kind="stable") if enough[i]][:_MAX_REGIONS]
    by_shape = rule.subtypes == "shape" and geometry.spacing_known
    regions = []
    for number, i in enumerate(order, start=1):
        inside = pieces[i]
        shares = None
        if subtypes and by_shape:
            shares = shape_probabilities(_parts(inside, boxes[i], geometry, spaces))
        elif subtypes:
            shares = _region_subtypes(inside, boxes[i], transform, map_logits[:, 1:])
        mask[boxes[i]][inside] = number
        regions.append(
            _region(
                inside,
                boxes[i],
                float(sizes[i]) if shown else None,
                geometry,
                shares,
            )
        )
    total = float(sizes[order].sum()) if shown else None
    reason = (
        "" if regions else _too_small(rule, known=geometry.spacing_known) if seeds.any() else _NOT_LIKE_BLOOD
    )
    return Regions(regions, mask, None if total is None else round(total, 3), reason)


def _too_cold(highest: float, rule: Localisation) -> str:
    # Cut off, not rounded: what stays below must not be written as if it reached it.
    shown = np.floor(100 * highest) / 100
    return f"the network's map reaches {shown:.2f} at its highest, and an outline begins at {rule.probability:.2f}"


def _too_small(rule: Localisation, *, known: bool) -> str:
    least = f"{rule.min_volume_ml:g} mL" if known else f"{rule.min_pixels} pixels of a picture 512 wide"
    return f"what the network marked and is as dense as blood is smaller than {least}, below which nothing is outlined"


def _around_seeds(any_map: NDArray[np.float32], rule: Localisation) -> NDArray[np.float32]:
    """Leave of the map what touches a pixel that reaches the rule's probability: nothing else can be a region."""
    warm = any_map >= min(rule.edge_probability, rule.probability)
    labels, count = ndimage.label(warm, structure=np.ones((3, 3, 3)))
    seeded = np.zeros(count + 1, bool)
    seeded[labels[any_map >= rule.probability]] = True
    # A pixel farther: between two pixels of the map, the edge is interpolated.
    kept = ndimage.binary_dilation(seeded[labels], iterations=2)
    return np.where(kept, any_map, np.float32(0))


class _Spaces:
    """What the bone of each slice encloses, found once."""

    def __init__(self, volume: NDArray[np.int16]) -> None:
        self.volume, self.bone = volume, bone_hu(volume)
        self._found: dict[int, NDArray[np.bool_]] = {}

    def __getitem__(self, k: int) -> NDArray[np.bool_]:
        if k not in self._found:
            self._found[k] = intracranial(self.volume[k], self.bone)
        return self._found[k]


def blood_map(
    any_map: NDArray[np.float32],
    volume: NDArray[np.int16],
    transform: GridTransform,
    rule: Localisation,
    spaces: _Spaces | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Carry the map to the native slices and keep what is warm, within the skull, and as dense as blood.

    Parameters
    ----------
    any_map
        ``(m, h, w)`` probabilities on the grid.
    volume, transform, rule
        As in :func:`localise`.
    spaces
        Of the volume, where they are looked at again.

    Returns
    -------
    slices
        ``(k,)`` native slices that some slice of the grid, warm from the rule's edge probability on, speaks for.
    planes
        ``(k, rows, columns)`` probabilities, 0 where the map is colder than that or the voxel is no blood.
    """
    edge = min(rule.edge_probability, rule.probability)
    warm = (any_map >= edge).any(axis=(1, 2))
    wanted = np.flatnonzero((transform.to_native_weights[:, warm] > 0).any(axis=1))
    planes = transform.grid_to_native(any_map, wanted)
    spaces = spaces or _Spaces(volume)
    sigma = _smoothing(transform.geometry, volume.shape[2])
    looks = [_look(int(k), plane, spaces, rule, sigma) for k, plane in zip(wanted, planes, strict=True)]
    known = [look.half_way for look in looks if look is not None and look.half_way is not None]
    usual = float(np.median(known)) if known else 0.0  # all as dense as the brain: density tells nothing
    beyond = np.zeros(planes.shape, bool)
    for place, (plane, look) in enumerate(zip(planes, looks, strict=True)):
        if look is None:
            plane[...] = 0
        else:
            # Where a bleed ends, little is left to tell its density: that of the other slices counts.
            low = max(rule.low_hu, usual if look.half_way is None else look.half_way)
            like = look.warm & (look.smooth >= low) & (look.smooth <= rule.high_hu)
            if like.any():
                like |= ndimage.binary_dilation(like, mask=look.bone_edge, iterations=look.edge_pixels)
            kept = plane[look.area] * like
            if rule.reach_mm and look.half_way is not None and transform.geometry.spacing_known:
                dense = look.inside & (look.smooth >= low) & (look.smooth <= rule.high_hu)
                beyond[place][look.area] = _beyond(kept > 0, dense, sigma, rule.reach_mm)
            plane[...] = 0
            plane[look.area] = kept
    if beyond.any():
        planes[_without_leaks(planes > 0, beyond)] = edge
    if is_windowed(spaces.bone):
        for k, plane in zip(wanted, planes, strict=True):
            _add_white(plane, volume[k], spaces.bone, edge)
    return wanted, planes


def _beyond(
    blood: NDArray[np.bool_], dense: NDArray[np.bool_], sigma: tuple[float, float], reach_mm: float
) -> NDArray[np.bool_]:
    """Find where a bleed goes on beyond the map's edge: as dense, in one piece with it, no thin rim, not too far.

    A map that was taught on boxes stays cold towards the skull and over the middle of a large bleed. A rim of partial
    volume along the bone is as dense as blood, but thin.
    """
    if not blood.any():
        return blood
    pixel_mm = (_SMOOTHING_MM / sigma[0], _SMOOTHING_MM / sigma[1])
    half = [max(1, round(_RIM_MM / 2 / mm)) for mm in pixel_mm]
    rows, columns = np.ogrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
    disc = (rows / half[0]) ** 2 + (columns / half[1]) ** 2 <= 1
    thick = ndimage.binary_opening(dense, disc)
    near = ndimage.distance_transform_edt(~blood, sampling=pixel_mm) <= reach_mm
    whole = ndimage.binary_propagation(blood, np.ones((3, 3)), blood | (thick & near))
    return np.asarray(whole & ~blood)


def _without_leaks(marked: NDArray[np.bool_], beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out what lies beyond the map in pieces ``(k, rows, columns)`` of which the map marks too little."""
    pieces, count = ndimage.label(marked | beyond, structure=np.ones((3, 3, 3)))
    of_map = np.bincount(pieces[marked], minlength=count + 1)
    more = np.bincount(pieces[beyond], minlength=count + 1)
    return np.asarray(beyond & (more <= _MOST_BEYOND * of_map)[pieces])


def _add_white(plane: NDArray[np.float32], hu: NDArray[np.int16], bone: float, edge: float) -> None:
    """Add what is white and belongs to the blood: it touches it, and not the skull; and close the holes of noise.

    In a narrow window dense blood is as white as bone, and a map that never saw it so leaves a ring around it.
    """
    if not plane.any():
        return
    reach = max(1, round(hu.shape[1] * _TOUCH_SHARE))
    white, _ = ndimage.label(white_within(hu, bone))
    near = ndimage.binary_dilation(plane > 0, iterations=reach)
    touched = np.setdiff1d(np.unique(white[near]), 0)
    whole = (plane > 0) | np.isin(white, touched)
    holes, count = ndimage.label(ndimage.binary_fill_holes(whole) & ~whole)
    if count:
        small = np.bincount(holes.ravel()) <= _NOISE_HOLE_SHARE * hu.size
        small[0] = False
        whole |= small[holes]
    plane[whole] = np.maximum(plane[whole], edge)


def _smoothing(geometry: Geometry, columns: int) -> tuple[float, float]:
    """Return the standard deviation, in pixels of rows and columns, of the filter that takes the noise out."""
    if geometry.spacing_known:
        return _SMOOTHING_MM / geometry.spacing[0], _SMOOTHING_MM / geometry.spacing[1]
    return (columns / _PICTURE_MM * _SMOOTHING_MM,) * 2


@dataclass(frozen=True)
class _Look:
    """What a slice shows around its warm pixels: where, how dense, and half-way between brain and blood.

    ``bone_edge`` marks warm voxels that may be more blood than bone, ``edge_pixels`` how wide that edge is at most;
    ``inside`` is what the bone encloses.
    """

    area: tuple[slice, slice]
    inside: NDArray[np.bool_]
    warm: NDArray[np.bool_]
    smooth: NDArray[np.float32]
    half_way: float | None
    bone_edge: NDArray[np.bool_]
    edge_pixels: int


def _look(
    k: int,
    probability: NDArray[np.float32],
    spaces: _Spaces,
    rule: Localisation,
    sigma: tuple[float, float],
) -> _Look | None:
    """Smooth a slice around what is warm within the skull; None where nothing is."""
    edge = min(rule.edge_probability, rule.probability)
    warm = probability >= edge
    if not warm.any():
        return None
    plane, space = spaces.volume[k], spaces[k]
    warm &= space
    if not warm.any():
        return None
    reach = max(
        _AROUND * max(1, round(max(sigma))), round(max(sigma) / _SMOOTHING_MM * (rule.reach_mm + _RIM_MM))
    )
    rows, columns = np.flatnonzero(warm.any(axis=1)), np.flatnonzero(warm.any(axis=0))
    area = (
        slice(max(0, int(rows[0]) - reach), int(rows[-1]) + reach + 1),
        slice(max(0, int(columns[0]) - reach), int(columns[-1]) + reach + 1),
    )
    hu, warm, inside, p = plane[area].astype(np.float32), warm[area], space[area], probability[area]
    # Bone does not count, lest it pass for blood where it fades into the brain, or hide the blood beside it.
    soft = (inside & (hu <= rule.high_hu + _NOISE_HU)).astype(np.float32)
    weight = ndimage.gaussian_filter(soft, sigma)
    smooth = ndimage.gaussian_filter(np.clip(hu, -30, rule.high_hu + _NOISE_HU) * soft, sigma)
    smooth = np.where(weight > 0.15, smooth / np.maximum(weight, 1e-3), rule.high_hu + 1).astype(np.float32)
    hot = warm & (p >= rule.probability) & (smooth <= rule.high_hu)
    cold = inside & (p < edge / 2) & (smooth > 10) & (smooth < 60)
    half_way = None
    if hot.sum() >= _ENOUGH and cold.sum() >= _ENOUGH:
        # Not the median: a map may reach beyond the blood on all sides.
        blood, brain = float(np.percentile(smooth[hot], 75)), float(np.median(smooth[cold]))
        half_way = (blood + brain) / 2 if blood - brain >= _CONTRAST_HU else None
    bone_edge = (p >= edge) & (hu > rule.high_hu) & (hu < _HALF_BONE_HU)
    return _Look(
        area, inside, warm, smooth, half_way, bone_edge, max(1, round(max(sigma) / _SMOOTHING_MM * _EDGE_MM))
    )


def _region_subtypes(
    inside: NDArray[np.bool_],
    box: tuple[slice, slice, slice],
    transform: GridTransform,
    logits: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Mean of each subtype's map over a region's voxels, made to sum to 1."""
    voxels = np.argwhere(inside) + [s.start for s in box]
    if len(voxels) > 4000:
        voxels = voxels[:: len(voxels) // 4000 + 1]
    grid = transform.voxels_to_grid(voxels)
    stride = (transform.spec.rows / logits.shape[2], transform.spec.columns / logits.shape[3])
    at = np.stack([grid[:, 0], (grid[:, 1] + 0.5) / stride[0] - 0.5, (grid[:, 2] + 0.5) / stride[1] - 0.5])
    at = np.clip(np.rint(at).astype(int), 0, np.array(logits.shape)[[0, 2, 3], None] - 1)
    sampled = logits[at[0], :, at[1], at[2]].astype(np.float64)
    mean = sigmoid(sampled).mean(axis=0) + 1e-6
    return np.asarray(mean / mean.sum())


def _parts(
    inside: NDArray[np.bool_], box: tuple[slice, slice, slice], geometry: Geometry, spaces: _Spaces
) -> list[SlicePart]:
    """Return a region slice by slice, as its shape is looked at."""
    parts = []
    for k in np.flatnonzero(inside.any(axis=(1, 2))):
        native = box[0].start + int(k)
        mask = np.zeros(spaces.volume.shape[1:], bool)
        mask[box[1:]] = inside[k]
        parts.append(
            SlicePart(mask, spaces[native], spaces.volume[native], (geometry.spacing[0], geometry.spacing[1]))
        )
    return parts


def _region(
    inside: NDArray[np.bool_],
    box: tuple[slice, slice, slice],
    volume_ml: float | None,
    geometry: Geometry,
    subtypes: NDArray[np.float64] | None,
) -> Region:
    low, high = [s.start for s in box], [s.stop - 1 for s in box]
    touched = [int(k + low[0]) for k in np.flatnonzero(inside.any(axis=(1, 2)))]
    known = geometry.spacing_known
    return Region(
        label=LABEL_NAMES[0] if subtypes is None else SUBTYPE_NAMES[int(subtypes.argmax())],
        probabilities={}
        if subtypes is None
        else {n: round(float(p), 4) for n, p in zip(SUBTYPE_NAMES, subtypes, strict=True)},
        volume_ml=None if volume_ml is None else round(volume_ml, 3),
        slices=touched,
        bbox_mm=_bbox_mm(inside, low, geometry) if known and geometry.coordinates_known else None,
        bbox_voxels=[*low, *high],
    )


def _bbox_mm(inside: NDArray[np.bool_], low: list[int], geometry: Geometry) -> list[float]:
    """Box in the patient around a region's voxels, edges included; slice by slice, lest tilt widen it."""
    points = []
    for k in np.flatnonzero(inside.any(axis=(1, 2))):
        rows, columns = np.flatnonzero(inside[k].any(axis=1)), np.flatnonzero(inside[k].any(axis=0))
        corners = [
            [k + low[0], r + low[1], c + low[2]]
            for r in (rows[0] - 0.5, rows[-1] + 0.5)
            for c in (columns[0] - 0.5, columns[-1] + 0.5)
        ]
        half = geometry.slice_extents[k + low[0]] / 2 * geometry.normal
        at = geometry.voxel_to_patient(corners)
        points += [at - half, at + half]
    every = np.concatenate(points)
    return [round(float(v), 2) for v in (*every.min(axis=0), *every.max(axis=0))]

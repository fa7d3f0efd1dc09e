"""From the model's map to regions: where, how much, and of which subtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.detecting.bundle import Localisation
from ichor.detecting.skull import bone_hu, within_skull
from ichor.exam import Geometry
from ichor.findings import Region
from ichor.labels import SUBTYPE_NAMES
from ichor.preparing.grid import GridTransform

__all__ = ["Regions", "localise"]

_MAX_REGIONS = 255


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
        Of all regions; None where spacing is unknown.
    """

    regions: list[Region]
    mask: NDArray[np.uint8]
    volume_ml: float | None


def localise(
    map_logits: NDArray[np.float32],
    volume: NDArray[np.int16],
    transform: GridTransform,
    rule: Localisation,
) -> Regions:
    """Find the regions.

    The map of ``any`` is carried to the native slices and cut at the rule's probability; what is no blood by
    its Hounsfield units, or lies outside the skull, is taken off; pieces that touch, within a slice or across
    neighbouring ones, are one region. A voxel counts with its pixel's area times the part of the normal that
    its slice stands for, so that uneven gaps and tilt give the right volume.

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

    Returns
    -------
    Regions
        Empty where the map stays below.
    """
    geometry = transform.geometry
    any_map = np.asarray(1 / (1 + np.exp(-map_logits[:, 0])), dtype=np.float32)
    mask = np.zeros(volume.shape, np.uint8)
    # Only native slices that some hot slice of the grid speaks for.
    hot = (any_map >= rule.probability).any(axis=(1, 2))
    wanted = np.flatnonzero((transform.spread[:, hot] > 0).any(axis=1))
    if not len(wanted):
        return Regions([], mask, 0.0 if geometry.spacing_known else None)
    native = transform.to_native(any_map, wanted)
    first = int(wanted[0])  # what follows looks at the slices between the first and the last hot one only
    blood = np.zeros((int(wanted[-1]) + 1 - first, *volume.shape[1:]), bool)
    bone = bone_hu(volume)
    for k, plane in zip(wanted, native, strict=True):
        candidate = plane >= rule.probability
        if candidate.any():
            blood[k - first] = (
                candidate & _blood_like(volume[k], candidate, rule) & within_skull(volume[k], bone)
            )
    labels, count = ndimage.label(blood, structure=np.ones((3, 3, 3)))
    if not count:
        return Regions([], mask, 0.0 if geometry.spacing_known else None)
    voxel_ml = geometry.slice_extents * geometry.spacing[0] * geometry.spacing[1] / 1000
    found = ndimage.find_objects(labels)
    pieces = [labels[box] == i + 1 for i, box in enumerate(found)]
    boxes = [(slice(b[0].start + first, b[0].stop + first), b[1], b[2]) for b in found]
    sizes = np.array(
        [float((p.sum(axis=(1, 2)) * voxel_ml[box[0]]).sum()) for p, box in zip(pieces, boxes, strict=True)]
    )
    pixels = np.array([int(p.sum()) for p in pieces])
    enough = (
        sizes >= rule.min_volume_ml
        if geometry.spacing_known
        else pixels >= rule.min_pixels * (volume.shape[2] / 512) ** 2
    )
    order = [i for i in np.argsort(-sizes, kind="stable") if enough[i]][:_MAX_REGIONS]
    regions = []
    for number, i in enumerate(order, start=1):
        inside = pieces[i]
        mask[boxes[i]][inside] = number
        regions.append(
            _region(
                inside,
                boxes[i],
                float(sizes[i]),
                geometry,
                _region_subtypes(inside, boxes[i], transform, map_logits[:, 1:]),
            )
        )
    total = float(sizes[order].sum()) if geometry.spacing_known else None
    return Regions(regions, mask, None if total is None else round(total, 3))


def _blood_like(
    plane: NDArray[np.int16], candidate: NDArray[np.bool_], rule: Localisation
) -> NDArray[np.bool_]:
    """Where a slice, lightly smoothed, may be blood; computed around the candidates only."""
    rows, columns = np.flatnonzero(candidate.any(axis=1)), np.flatnonzero(candidate.any(axis=0))
    area = np.s_[max(0, rows[0] - 4) : rows[-1] + 5, max(0, columns[0] - 4) : columns[-1] + 5]
    smooth = ndimage.gaussian_filter(np.clip(plane[area].astype(np.float32), -200, 300), 1.0)
    out = np.zeros(plane.shape, bool)
    out[area] = (smooth >= rule.low_hu) & (smooth <= rule.high_hu)
    return out


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
    grid = transform.patient_to_grid(transform.geometry.voxel_to_patient(voxels))
    stride = (transform.spec.rows / logits.shape[2], transform.spec.columns / logits.shape[3])
    at = np.stack([grid[:, 0], (grid[:, 1] + 0.5) / stride[0] - 0.5, (grid[:, 2] + 0.5) / stride[1] - 0.5])
    at = np.clip(np.rint(at).astype(int), 0, np.array(logits.shape)[[0, 2, 3], None] - 1)
    sampled = logits[at[0], :, at[1], at[2]].astype(np.float64)
    mean = (1 / (1 + np.exp(-sampled))).mean(axis=0) + 1e-6
    return np.asarray(mean / mean.sum())


def _region(
    inside: NDArray[np.bool_],
    box: tuple[slice, slice, slice],
    volume_ml: float,
    geometry: Geometry,
    subtypes: NDArray[np.float64],
) -> Region:
    low, high = [s.start for s in box], [s.stop - 1 for s in box]
    touched = [int(k + low[0]) for k in np.flatnonzero(inside.any(axis=(1, 2)))]
    known = geometry.spacing_known
    return Region(
        label=SUBTYPE_NAMES[int(subtypes.argmax())],
        probabilities={n: round(float(p), 4) for n, p in zip(SUBTYPE_NAMES, subtypes, strict=True)},
        volume_ml=round(volume_ml, 3) if known else None,
        slices=touched,
        bbox_mm=_bbox_mm(inside, low, geometry) if known else None,
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

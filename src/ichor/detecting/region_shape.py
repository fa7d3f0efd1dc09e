"""Which subtype a region's place and shape speak for: a lens or a crescent on the bone, a clot, a cast of a ventricle.

Each slice of a region is described by a few lengths and shares; a linear model, fitted on simulated bleeds, whose
subtype is known, and on the boxes of CT-ICH (:mod:`ichor.training.region_subtypes`), gives each subtype a logit; a
region's are the mean of its slices', weighted by area. Nothing of the network enters but the outline.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

__all__ = ["FEATURES", "ShapeModel", "SlicePart", "model_of", "shape_probabilities", "slice_features"]

FEATURES = (
    "depth_10",
    "depth_50",
    "depth_90",
    "depth_most",
    "contact",
    "log_area",
    "elongation",
    "solidity",
    "log_length_by_depth",
    "off_centre",
    "off_midline",
    "behind",
    "fluid",
    "around_hu",
    "log_outline",
    "above_brain_hu",
    "spread_hu",
)
"""Depths in mm below the inner table, by percentile and at most; the share of the outline that touches bone; area in
mm²; ratio of the axes; area by that of the convex hull; length by depth; place as a share of the space's half axes;
share of fluid around; HU around, and within, above the median of the space; outline beside a disc's; spread."""
_FILE = "region_subtypes.json"
_CONTACT_MM, _NEAR_MM, _AROUND_MM = 1.5, 1.0, 4.0
_DEPTH_STEP_MM = 0.9
_FLUID_HU, _BELOW_BRAIN_HU = 18.0, 10.0
_MOST_SLICES = 8
"""The largest of a region's slices are looked at."""


class SlicePart(NamedTuple):
    """A region on one slice.

    Attributes
    ----------
    mask, space
        ``(rows, columns)`` bool: the region; what the bone encloses.
    hu
        ``(rows, columns)`` HU.
    pixel_mm
        Between rows, and between columns.
    """

    mask: NDArray[np.bool_]
    space: NDArray[np.bool_]
    hu: NDArray[np.integer]
    pixel_mm: tuple[float, float]


def slice_features(part: SlicePart) -> NDArray[np.float64]:
    """Describe a region on one slice by ``(17,)`` numbers: see :data:`FEATURES`."""
    pixel = float(np.sqrt(part.pixel_mm[0] * part.pixel_mm[1]))
    rows, columns = (np.flatnonzero(part.mask.any(axis=k)) for k in (1, 0))
    margin = round(2 * _AROUND_MM / min(part.pixel_mm)) + 1
    box = tuple(slice(max(0, int(at[0]) - margin), int(at[-1]) + margin + 1) for at in (rows, columns))
    mask, space = part.mask[box], part.space[box]
    smooth = ndimage.uniform_filter(np.clip(part.hu[box], -20, 100).astype(np.float32), 3)
    known = part.hu[part.space][::16]
    brain = float(np.median(np.clip(known, -20, 100))) if len(known) else 35.0
    depth = _depths(part)

    def grown(mm: float) -> NDArray[np.bool_]:
        reach = max(1, round(mm / pixel))
        return np.asarray(ndimage.binary_dilation(mask, iterations=reach))

    ring = grown(_CONTACT_MM) & ~mask
    around = smooth[grown(_AROUND_MM) & ~grown(_NEAR_MM) & space]
    fluid = min(_FLUID_HU, brain - _BELOW_BRAIN_HU)
    area = float(mask.sum()) * pixel**2
    outline = float((mask & ~ndimage.binary_erosion(mask)).sum()) * pixel
    points = np.argwhere(part.mask) * np.array(part.pixel_mm)
    spread = np.cov(points.T) if len(points) > 2 else np.zeros((2, 2))
    long, short = np.linalg.eigvalsh(spread + np.eye(2) * pixel**2 / 12)[::-1]
    place = _place(points.mean(axis=0), part)
    return np.array(
        [
            *np.percentile(depth, [10, 50, 90]),
            depth.max(),
            np.mean(~space[ring]) if ring.any() else 0.0,
            np.log(area),
            np.log(long / short) / 2,
            area / _hull_area(points, part.pixel_mm),
            np.log(np.sqrt(12 * long) / max(depth.max(), pixel)),
            np.hypot(*place),
            abs(place[1]),
            place[0],
            np.mean(around < fluid) if len(around) else 0.0,
            np.median(around) - brain if len(around) else 0.0,
            np.log(outline**2 / (4 * np.pi * area) + 0.1),
            np.median(smooth[mask]) - brain,
            smooth[mask].std(),
        ]
    )


def shape_probabilities(parts: Sequence[SlicePart], model: ShapeModel | None = None) -> NDArray[np.float64]:
    """Give the probability of each subtype ``(5,)``, which sum to 1, of a region.

    Parameters
    ----------
    parts
        Of each slice that it touches, at least one.
    model
        The one that ships by default.
    """
    model = model or _shipped()
    areas = np.array([float(part.mask.sum()) for part in parts])
    largest = np.argsort(-areas, kind="stable")[:_MOST_SLICES]
    features = np.stack([slice_features(parts[k]) for k in largest])
    logits = (features - model.mean) / model.scale @ model.weights.T + model.offsets
    logs = logits - logits.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    mean = model.sharpness * np.average(logs, axis=0, weights=areas[largest])
    likely = np.exp(mean - mean.max())
    return np.asarray(likely / likely.sum())


class ShapeModel(NamedTuple):
    """A linear model of the features: their mean and spread ``(17,)``, weights ``(5, 17)``, offsets ``(5,)``.

    ``sharpness`` multiplies the mean of a region's logits.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]
    sharpness: float


def model_of(found: Mapping[str, Any]) -> ShapeModel:
    """Return the model that a mapping such as the shipped file holds."""
    mean, scale, weights, offsets = (
        np.array(found[key], dtype=np.float64) for key in ("mean", "scale", "weights", "offsets")
    )
    return ShapeModel(mean, scale, weights, offsets, float(found["sharpness"]))


@functools.cache
def _shipped() -> ShapeModel:
    return model_of(json.loads(resources.files("ichor.detecting").joinpath(_FILE).read_text()))


def _depths(part: SlicePart) -> NDArray[np.float64]:
    """Distance (mm) of each pixel of a region from where the space ends, to about a millimetre: that is enough."""
    step = max(1, int(_DEPTH_STEP_MM / min(part.pixel_mm)))
    inside = (part.space | part.mask)[::step, ::step]
    found = ndimage.distance_transform_edt(inside, sampling=[step * mm for mm in part.pixel_mm])
    rows, columns = np.nonzero(part.mask)
    return np.asarray(np.maximum(found[rows // step, columns // step], min(part.pixel_mm)))


def _place(centre: NDArray[np.float64], part: SlicePart) -> NDArray[np.float64]:
    """Where a point (mm) lies in the space of its slice: -1 to 1 from front to back, and from side to side."""
    if not part.space.any():
        return np.zeros(2)
    ends = [
        np.flatnonzero(part.space.any(axis=k))[[0, -1]] * mm
        for k, mm in zip((1, 0), part.pixel_mm, strict=True)
    ]
    middle = np.array([end.mean() for end in ends])
    half = np.array([max(float(np.ptp(end)) / 2, mm) for end, mm in zip(ends, part.pixel_mm, strict=True)])
    return np.asarray((centre - middle) / half)


def _hull_area(points: NDArray[np.float64], pixel_mm: tuple[float, float]) -> float:
    """Area (mm²) of the convex hull of pixels, their corners included."""
    half = np.array(pixel_mm) / 2
    corners = np.concatenate([points + half * sign for sign in ([-1, -1], [-1, 1], [1, -1], [1, 1])])
    try:
        return float(ConvexHull(corners).volume)
    except QhullError:
        return float(len(points)) * pixel_mm[0] * pixel_mm[1]

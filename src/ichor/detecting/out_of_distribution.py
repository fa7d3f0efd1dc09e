"""The out-of-distribution check: a few quantities of an exam, each against the reference range of the training exams.

A model's figures hold for exams like the measured ones. Slices of another thickness, a child's head, contrast in the
vessels, another kernel or dose show in quantities that need no network. An exam outside of a range is assessed all the
same, and a notice names the quantity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.exam import Exam, Picture
from ichor.notices import Notice, notice
from ichor.preparing.stacks import Prepared

__all__ = ["QUANTITIES", "Quantity", "outside_ranges", "quantities", "reference_ranges"]

_STRIDE = 4
"""Grid pixels for one pixel on which brain is looked for."""
_LOOKED_AT, _MEASURED = 14, 6
"""Slices in which brain is looked for, and those with most of it, which are measured."""
_BRAIN_HU = (0.0, 85.0)
_PARENCHYMA_HU = (18.0, 48.0)
_BRIGHT_HU = (90.0, 300.0)
_EDGE_MM = 5.0
"""Beside bone, a pixel may be half bone."""
_LEAST_PIXELS = 300
_SHARE = 0.01
"""Of the training exams that may lie beyond either end of a range before it is widened."""
_WIDENED = 0.25
"""By this share of the distance between both quantiles, or by the quantity's own tolerance where that is more."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured of an exam, one number.

    Attributes
    ----------
    words
        What it is, for a sentence.
    unit
        Of the number.
    decimals
        To show.
    tolerance
        Difference without meaning.
    low, high
        What it may mean where the number is below or above the range; empty where that side does not matter.
    """

    words: str
    unit: str
    decimals: int
    tolerance: float
    low: str
    high: str


QUANTITIES: dict[str, Quantity] = {
    "slice_step_mm": Quantity(
        "distance between slices", " mm", 1, 0.8, "thin slices", "thick or missing slices"
    ),
    "thickness_mm": Quantity("slice thickness", " mm", 1, 0.8, "thin slices", "thick slices"),
    "covered_mm": Quantity(
        "length of the stack", " mm", 0, 15.0, "part of the head only", "more than the head"
    ),
    "head_mm": Quantity(
        "size of the head in the slices", " mm", 0, 8.0, "a child, or a head that is cut", "more than a head"
    ),
    "densest_hu": Quantity("densest voxels", " HU", 0, 100.0, "saved through a window, bone cut off", ""),
    "brain_hu": Quantity(
        "density of brain", " HU", 1, 1.5, "oedema, or another scale", "contrast, or another scale"
    ),
    "noise_hu": Quantity(
        "noise of brain", " HU", 1, 0.4, "a soft kernel or thick slices", "a sharp kernel or low dose"
    ),
    "grain": Quantity(
        "coarseness of the noise", "", 2, 0.06, "a sharp kernel", "a soft kernel or an enlarged picture"
    ),
    "bright_percent": Quantity(
        "bright voxels within the skull", " %", 2, 0.3, "", "contrast in the vessels, or calcium"
    ),
}
"""Every quantity by its key in a bundle's ``input_profile``."""


def quantities(subject: Exam | Picture, prepared: Prepared) -> dict[str, float]:
    """Measure an exam on the model's grid: what the network sees.

    Parameters
    ----------
    subject
        As read. A picture has no scale: nothing is measured.
    prepared
        The same on the model's grid.

    Returns
    -------
    dict
        By key of :data:`QUANTITIES`; what is not known (spacing unknown, no brain found) is left out.
    """
    if isinstance(subject, Picture) or subject.n_slices < 2:
        return {}
    geometry, transform = subject.geometry, prepared.transform
    found: dict[str, float] = {}
    if geometry.positions_known:
        found["slice_step_mm"] = geometry.slice_step
        found["covered_mm"] = float(geometry.distances[-1] - geometry.distances[0]) + geometry.slice_step
    thickness = geometry.thickness[np.isfinite(geometry.thickness)]
    if len(thickness):
        found["thickness_mm"] = float(np.median(thickness))
    if geometry.spacing_known:
        spec = transform.spec
        found["head_mm"] = transform.pixel_mm * (spec.rows - 2 * spec.border) / (1 + spec.margin)
    return found | _of_brain(prepared.hu, transform.pixel_mm)


def _of_brain(hu: NDArray[np.float32], pixel_mm: float) -> dict[str, float]:
    """Measure brain in the slices that show most of it."""
    # The ends of a stack are neck and vertex.
    some = np.unique(np.linspace(0.2 * len(hu), 0.9 * len(hu), _LOOKED_AT).astype(int).clip(0, len(hu) - 1))
    edge = max(1, round(_EDGE_MM / (_STRIDE * pixel_mm)))
    spaces = {int(k): _space(hu[k], edge) for k in some}
    chosen = sorted(spaces, key=lambda k: -int(spaces[k].sum()))[:_MEASURED]
    values: dict[str, list[float]] = {}
    for k in chosen:
        rows, columns = np.nonzero(spaces[k])
        if len(rows) * _STRIDE**2 < _LEAST_PIXELS:
            continue
        (r0, r1), (c0, c1) = ((v.min() * _STRIDE, (v.max() + 1) * _STRIDE) for v in (rows, columns))
        box = np.s_[r0:r1, c0:c1]
        inside = spaces[k].repeat(_STRIDE, 0).repeat(_STRIDE, 1)[box]
        plane = hu[k][box]
        smooth = ndimage.uniform_filter(plane, 5)
        brain = inside & (smooth > _PARENCHYMA_HU[0]) & (smooth < _PARENCHYMA_HU[1])
        if brain.sum() < _LEAST_PIXELS:
            continue
        rest = plane - smooth
        noise = 1.4826 * float(np.median(np.abs(rest[brain])))
        near = np.clip(rest, -4 * noise, 4 * noise)
        pairs = brain[:, 1:] & brain[:, :-1]
        correlation = float((near[:, 1:] * near[:, :-1])[pairs].mean())
        bright = (smooth > _BRIGHT_HU[0]) & (smooth < _BRIGHT_HU[1]) & inside
        for name, value in (
            ("brain_hu", float(np.median(smooth[brain]))),
            ("noise_hu", noise),
            ("grain", correlation / max(float((near[brain] ** 2).mean()), 1e-6)),
            ("bright_percent", 100 * float(bright.sum() / inside.sum())),
        ):
            values.setdefault(name, []).append(value)
    found = {name: float(np.median(v)) for name, v in values.items()}
    if chosen:
        found["densest_hu"] = float(np.median([hu[k].max() for k in chosen]))
    return found


def _space(plane: NDArray[np.float32], edge: int) -> NDArray[np.bool_]:
    """Find the intracranial space of a slice, without its edge, on a coarse grid."""
    rows, columns = (n // _STRIDE * _STRIDE for n in plane.shape)
    coarse = (
        plane[:rows, :columns].reshape(rows // _STRIDE, _STRIDE, columns // _STRIDE, _STRIDE).mean((1, 3))
    )
    like = ndimage.binary_opening((coarse > _BRAIN_HU[0]) & (coarse < _BRAIN_HU[1]), iterations=2)
    pieces, count = ndimage.label(like)
    if not count:
        return np.zeros(coarse.shape, bool)
    largest = pieces == int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    return np.asarray(ndimage.binary_erosion(ndimage.binary_fill_holes(largest), iterations=edge))


def reference_ranges(values: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Find the reference ranges of the training exams.

    Parameters
    ----------
    values
        Of the training exams, by quantity.

    Returns
    -------
    dict
        Both ends by quantity: the quantiles that leave 1 % of the training exams out on either side, widened by a
        quarter of their distance (or by the quantity's tolerance, where that is more).
    """
    found = {}
    for name, numbers in values.items():
        known = np.asarray(numbers, np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            continue
        low, high = np.quantile(known, [_SHARE, 1 - _SHARE])
        more = max(_WIDENED * (high - low), QUANTITIES[name].tolerance)
        low, high = float(low - more), float(high + more)
        found[name] = (max(low, 0.0) if known.min() >= 0 else low, high)
    return found


def outside_ranges(found: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> list[Notice]:
    """Name the quantities of an exam that lie outside of the reference ranges.

    Parameters
    ----------
    found
        Of :func:`quantities`.
    ranges
        Both ends by quantity; one that this ichor does not know is not checked.

    Returns
    -------
    list of Notice
        One that names every such quantity, or none.
    """
    parts = []
    for name, quantity in QUANTITIES.items():
        if name not in found or name not in ranges:
            continue
        value, (low, high) = found[name], ranges[name]
        meaning = quantity.low if value < low else quantity.high if value > high else ""
        if meaning:
            shown, a, b = (f"{v:.{quantity.decimals}f}" for v in (value, low, high))
            unit = quantity.unit
            parts.append(f"{quantity.words} {shown}{unit} (trained on {a} to {b}{unit}: {meaning}?)")
    if not parts:
        return []
    return [
        notice("unlike_training", f"This exam is unlike those the model was trained on: {'; '.join(parts)}.")
    ]

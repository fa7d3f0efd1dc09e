"""Fit the model by which a region's place and shape tell its subtype: on simulated bleeds, and on boxes of CT-ICH.

A simulated bleed's subtype is known, and there are as many as one asks for; those of the boxes are real, and few. So
both are taken, real ones with ten times the weight. What a box holds is as dense as blood and within the skull.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.datasets.ct_ich import CtIch
from ichor.detecting.region_shape import FEATURES, SlicePart, slice_features
from ichor.labels import LABEL_NAMES, SUBTYPE_NAMES
from ichor.preparing.skull import bone_hu, intracranial
from ichor.training.lesions import draw_bleed

__all__ = ["Sample", "fit", "real_samples", "simulated_samples"]

SHARPNESS = 0.5
"""Logits of neighbouring slices of one region are no independent witnesses."""
_REAL_WEIGHT = 10.0
_DRAWN_MM = 0.65
"""Pixels that bleeds are drawn in: see :mod:`ichor.training.lesions`."""
_UNCLIPPED = (-1000.0, 3000.0)
_SLICES, _TRIES = 12, 3
_LEAST_MM2 = 12.0
_BLOOD_HU, _ABOVE_BRAIN_HU = (46.0, 95.0), 9.0
_SMOOTHING_MM = 0.7
_LEAST_OF_LARGEST = 0.2


@dataclass(frozen=True)
class Sample:
    """A bleed on one slice: whose slice, its subtype's place in ``SUBTYPE_NAMES``, its features, and if it is real."""

    patient: str
    subtype: int
    features: NDArray[np.float64]
    real: bool


def simulated_samples(dataset: CtIch, patients: Iterable[str], rng: np.random.Generator) -> Iterator[Sample]:
    """Draw bleeds into slices of patients without any."""
    for patient in patients:
        exam = dataset.load(patient).exam
        spacing = exam.geometry.spacing
        size = (1, spacing[0] / _DRAWN_MM, spacing[1] / _DRAWN_MM)
        volume = ndimage.zoom(exam.volume.astype(np.float32), size, order=1)
        bone = bone_hu(exam.volume)
        for k in rng.permutation(np.arange(3, len(volume) - 2))[:_SLICES]:
            for _ in range(_TRIES):
                drawn = draw_bleed(volume[k - 1 : k + 2], _UNCLIPPED, rng)
                if drawn is None:
                    continue
                mask = drawn.blood == drawn.subtype
                plane = drawn.hu[1].astype(np.int16)
                part = SlicePart(mask, intracranial(plane, bone), plane, (_DRAWN_MM, _DRAWN_MM))
                if mask.sum() * _DRAWN_MM**2 >= _LEAST_MM2:
                    yield Sample(patient, drawn.subtype - 1, slice_features(part), real=False)


def real_samples(dataset: CtIch, patients: Iterable[str]) -> Iterator[Sample]:
    """Take what is as dense as blood in each box whose subtype is known."""
    for patient in patients:
        exam = dataset.load(patient).exam
        spacing, bone = exam.geometry.spacing, bone_hu(exam.volume)
        for k, plane in enumerate(exam.volume):
            boxes = [box for box in dataset.boxes(patient, k) if 0 < box[0] < len(LABEL_NAMES)]
            if not boxes:
                continue
            space = intracranial(plane, bone)
            smooth = ndimage.gaussian_filter(
                np.clip(plane, -30, 120).astype(np.float32), [_SMOOTHING_MM / s for s in spacing]
            )
            low = max(_BLOOD_HU[0], float(np.median(smooth[space])) + _ABOVE_BRAIN_HU)
            dense = space & (smooth > low) & (smooth < _BLOOD_HU[1])
            for subtype, (x0, y0, x1, y1) in boxes:
                inside = np.zeros(plane.shape, bool)
                inside[max(0, int(y0)) : int(y1) + 2, max(0, int(x0)) : int(x1) + 2] = True
                mask = _large_pieces(dense & inside)
                if mask.sum() * spacing[0] * spacing[1] >= _LEAST_MM2:
                    part = SlicePart(mask, space, plane, (spacing[0], spacing[1]))
                    yield Sample(patient, subtype - 1, slice_features(part), real=True)


def _large_pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= max(1, _LEAST_OF_LARGEST * sizes.max(initial=0)))[labels])


def fit(samples: Sequence[Sample]) -> dict[str, Any]:
    """Fit the model: multinomial logistic regression, subtypes balanced.

    Parameters
    ----------
    samples
        Of all five subtypes.

    Returns
    -------
    dict
        What ``detecting/region_subtypes.json`` holds, but its provenance.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.stack([s.features for s in samples])
    subtypes = np.array([s.subtype for s in samples])
    mean, scale = features.mean(axis=0), features.std(axis=0)
    model = LogisticRegression(C=0.3, max_iter=3000, class_weight="balanced")
    weights = np.where([s.real for s in samples], _REAL_WEIGHT, 1.0)
    model.fit((features - mean) / scale, subtypes, sample_weight=weights)
    if model.coef_.shape[0] != len(SUBTYPE_NAMES):
        raise ValueError(f"samples: found {model.coef_.shape[0]} subtypes; expected {len(SUBTYPE_NAMES)}")
    numbers = {"mean": mean, "scale": scale, "weights": model.coef_, "offsets": model.intercept_}
    rounded = {key: np.round(values, 5).tolist() for key, values in numbers.items()}
    return {"features": list(FEATURES), "sharpness": SHARPNESS, **rounded}

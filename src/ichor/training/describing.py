"""A bundle's manifest from a run's out-of-fold predictions: calibration, thresholds, figures, provenance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor import __version__
from ichor.detecting.manifest import (
    Calibration,
    GraphFile,
    Localisation,
    Manifest,
    OperatingPoints,
    ReferenceRange,
    Scaling,
    Threshold,
    TrainedOn,
    scaled_probabilities,
)
from ichor.evaluating.calibration import (
    EXAM_SENSITIVITY,
    SLICE_SPECIFICITY,
    SUBTYPE_SPECIFICITY,
    fit_calibration,
    sensitive_threshold,
    specific_threshold,
    subtype_threshold,
)
from ichor.evaluating.metrics import sensitivity_specificity
from ichor.evaluating.out_of_fold import MIN_POSITIVE_PATIENTS, figures
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABEL_NAMES
from ichor.training.card import limits_of, provenance
from ichor.training.families.family import Graph
from ichor.training.picture_calibration import Pictures, fair_threshold, picture_figures
from ichor.training.reference_ranges import exam_quantities, input_profile
from ichor.training.reliability import measured, operating_points, subtype_points, uncertain_band
from ichor.training.run_data import RunData
from ichor.training.teacher_facts import read_distilled

__all__ = ["OUTLINES", "Measurements", "exam_thresholds", "manifest_of", "reliability_of"]

OUTLINES = Localisation(subtypes="shape", reach_mm=12.0)
"""How the map of our own networks, which learned from boxes, becomes regions."""
_Rule = tuple[Callable[[Any, Any], float], str]
"""How a threshold is chosen from labels and probabilities, and what for."""
_ANY_OF_EXAMS: _Rule = (
    sensitive_threshold(EXAM_SENSITIVITY),
    f"a sensitivity of {EXAM_SENSITIVITY:.0%} over the out-of-fold exams",
)
_SUBTYPE_OF_EXAMS: _Rule = (
    subtype_threshold,
    f"a specificity of {SUBTYPE_SPECIFICITY:.0%} over the out-of-fold exams without it",
)
_SLICES: _Rule = (specific_threshold, f"a specificity of {SLICE_SPECIFICITY:.0%} over the out-of-fold slices")
_UNKNOWN_LABEL = -7.0
"""Calibrated logit of a label that the measured data does not hold: a probability of 0.0009."""


@dataclass(frozen=True)
class Measurements:
    """A run's predictions as a bundle needs them.

    Attributes
    ----------
    exams
        By what ships: of exams, and of their slices.
    single
        Of slices by themselves, without their neighbours: what a single slice gets.
    pictures
        Of pictures, read as such; None where none were predicted: then they are taken for single slices.
    """

    exams: OutOfFold
    single: OutOfFold
    pictures: Pictures | None = None


def manifest_of(
    data: RunData, found: Measurements, folder: Path, graphs: Sequence[Graph], *, name: str, int8: bool
) -> Manifest:
    """Describe a bundle.

    Parameters
    ----------
    data
        Of the run.
    found
        What was predicted out of fold.
    folder, graphs
        Where the graphs were written, and which.
    name
        Of the bundle.
    int8
        Whether it computes with 8 bits.
    """
    recipe = data.folder.recipe
    rules = recipe.family.rules(recipe)
    oof = found.exams
    taught = read_distilled(data)
    restrictions = tuple(dict.fromkeys([*_restrictions(data), *taught.restrictions]))
    profile = input_profile(exam_quantities(data)) if oof.kind == "exams" else {}
    return Manifest(
        format="ichor.bundle/1",
        name=name,
        version=__version__,
        description=recipe.description.strip(),
        licence="Apache-2.0 as far as the data allow: see restrictions"
        if restrictions
        else "Apache-2.0; trained on data under the licences listed in trained_on",
        labels=LABEL_NAMES,
        preparation=recipe.preparation,
        graphs={graph.name: _graph_file(folder, graph) for graph in graphs},
        map_stride=recipe.family.map_stride,
        slice_rule=rules.slice_rule,
        exam_rule=rules.exam_rule,
        input_profile={
            key: ReferenceRange(low=round(low, 4), high=round(high, 4))
            for key, (low, high) in profile.items()
        },
        localisation=OUTLINES,
        trained_on=(*_trained_on(data), *taught.trained_on),
        limits=(*limits_of(data, oof, int8=int8), *taught.limits),
        restrictions=restrictions,
        **reliability_of(found),
    )


def reliability_of(found: Measurements) -> dict[str, Any]:
    """Fit and measure all that a manifest holds of a model's reliability.

    Parameters
    ----------
    found
        What was predicted for labelled exams that the predicting networks did not learn from.

    Returns
    -------
    dict
        By key of :class:`~ichor.detecting.manifest.Manifest`: calibration, thresholds, operating points, the uncertain
        band, labels not to be trusted, figures.
    """
    oof, single = found.exams, found.single
    exam, native = _calibrated(oof, "exam"), _calibrated(oof, "slice")
    alone = _calibrated(single, "slice")
    shown = found.pictures.predictions if found.pictures else None
    of_pictures = _calibrated(shown, "slice") if shown else None
    of_exams = exam_thresholds(oof, exam)
    return {
        "calibration": Calibration.model_validate(
            {
                "slice": _rounded(native),
                "exam": _rounded(exam),
                "lone": _rounded(alone),
                "picture": of_pictures and _rounded(of_pictures),
            }
        ),
        "thresholds": of_exams,
        # Most slices are normal: of a single one, a false alarm is what must be rare.
        "slice_thresholds": _thresholds(
            single.labels, scaled_probabilities(single.logits, alone), [_SLICES] * len(LABEL_NAMES)
        ),
        "picture_thresholds": _picture_thresholds(found.pictures, of_pictures) if found.pictures else {},
        "operating_points": OperatingPoints(
            exam=tuple(operating_points(oof, "exam", exam)),
            slice=tuple(operating_points(single, "slice", alone)) if _has_both(single.labels) else (),
            picture=tuple(operating_points(shown, "slice", of_pictures)) if shown and of_pictures else (),
            subtypes=subtype_points(oof, of_exams),
        ),
        "uncertain_band": uncertain_band(oof, exam),
        "untrusted_labels": _untrusted(oof),
        "measured": (
            *(measured(f.name, f.interval, f"{f.name.split()[0]}s", f.protocol) for f in figures(oof)),
            *(picture_figures(found.pictures) if found.pictures else ()),
        ),
    }


def _has_both(labels: NDArray[np.floating]) -> bool:
    """Whether some are known to have a hemorrhage, and some to have none."""
    known = labels[~np.isnan(labels[:, 0]), 0]
    return bool(0 < known.sum() < len(known))


def exam_thresholds(oof: OutOfFold, calibration: Sequence[Scaling]) -> dict[str, Threshold]:
    """Choose the thresholds of exams: of any hemorrhage by sensitivity, of subtypes by specificity.

    Parameters
    ----------
    oof
        Predictions out of fold.
    calibration
        Of exams: thresholds are probabilities after it, in which no subtype exceeds ``any``.
    """
    p = scaled_probabilities(oof.exam_logits, calibration)
    p[:, 1:] = np.minimum(p[:, 1:], p[:, :1])
    return _thresholds(oof.exam_labels, p, [_ANY_OF_EXAMS, *[_SUBTYPE_OF_EXAMS] * (len(LABEL_NAMES) - 1)])


def _graph_file(folder: Path, graph: Graph) -> GraphFile:
    digest = hashlib.sha256((folder / graph.file).read_bytes()).hexdigest()
    return GraphFile(file=graph.file, sha256=digest, inputs=graph.inputs, outputs=graph.outputs)


def _calibrated(oof: OutOfFold, level: str) -> tuple[Scaling, ...]:
    """Calibrate; a label that the data does not hold is hardly probable, whatever the network predicts."""
    logits, labels, folds = (
        (oof.exam_logits, oof.exam_labels, oof.exam_folds)
        if level == "exam"
        else (oof.logits, oof.labels, oof.folds)
    )
    fitted = fit_calibration(logits, labels, folds)
    positive = np.nansum(labels, axis=0)
    unknown = (positive == 0) | (positive == (~np.isnan(labels)).sum(axis=0))
    hardly = Scaling(scale=0.0, offset=_UNKNOWN_LABEL)
    return tuple(hardly if nothing else scaling for scaling, nothing in zip(fitted, unknown, strict=True))


def _rounded(fitted: Sequence[Scaling]) -> list[Scaling]:
    return [Scaling(scale=round(s.scale, 6), offset=round(s.offset, 6)) for s in fitted]


def _thresholds(
    labels: NDArray[np.floating], probabilities: NDArray[np.floating], rules: Sequence[_Rule]
) -> dict[str, Threshold]:
    """Choose a threshold of each label by its rule."""
    out = {}
    for j, (name, (choose, chosen_for)) in enumerate(zip(LABEL_NAMES, rules, strict=True)):
        known = ~np.isnan(labels[:, j])
        truth, p = labels[known, j], probabilities[known, j]
        if not 0 < truth.sum() < len(truth):
            out[name] = Threshold(
                probability=1.0, chosen_for="never: the measured data does not tell this label"
            )
            continue
        threshold = math.floor(choose(truth, p) * 1e4) / 1e4  # rounded down: what just reaches it still does
        sensitivity, specificity = sensitivity_specificity(truth, p, threshold)
        out[name] = Threshold(
            probability=threshold,
            sensitivity=round(sensitivity, 4),
            specificity=round(specificity, 4),
            chosen_for=chosen_for,
        )
    return out


def _picture_thresholds(pictures: Pictures, scaling: Sequence[Scaling] | None) -> dict[str, Threshold]:
    """Choose the thresholds of pictures: of any hemorrhage one that serves every set, of subtypes by specificity."""
    run = pictures.predictions
    known = ~np.isnan(run.labels[:, 0])

    def fair(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
        return fair_threshold(labels, p, pictures.sources[known])

    names = " and ".join(sorted(set(pictures.sources.tolist())))
    rule: _Rule = (
        fair,
        f"the highest mean accuracy on {names}, pictures that the network did not learn from",
    )
    probabilities = scaled_probabilities(run.logits, scaling or ())
    return _thresholds(run.labels, probabilities, [rule, *[_SLICES] * (len(LABEL_NAMES) - 1)])


def _untrusted(oof: OutOfFold) -> dict[str, str]:
    reasons = {}
    for j, name in enumerate(LABEL_NAMES):
        truth = oof.exam_labels[~np.isnan(oof.exam_labels[:, j]), j]
        positive = int(truth.sum())
        if not 0 < positive < len(truth):
            reasons[name] = (
                f"the measured data does not tell it ({positive} of {len(truth)} patients for whom it is known): "
                "its probability means nothing, and it is never called"
            )
        elif positive < MIN_POSITIVE_PATIENTS:
            reasons[name] = f"only {positive} patients with this subtype in the measured data"
    return reasons


def _restrictions(data: RunData) -> Iterator[str]:
    """Say what the terms of the data allow only: whoever uses the weights should not be caught by them."""
    for dataset in (data.target, *data.others):
        if dataset.info.restriction:
            yield f"Learned from {dataset.name}, which is for {dataset.info.restriction} only."


def _trained_on(data: RunData) -> list[TrainedOn]:
    rows = []
    for dataset in (data.target, *data.others):
        patients = dataset.patients()
        slices = sum(len(dataset.slice_labels(p)) for p in patients)
        source = provenance(dataset.info)
        rows.append(TrainedOn(name=dataset.name, exams=len(patients), slices=slices, **source))
    return rows

"""The figures of a model on patients that it did not train on, each with its interval and protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import (
    Threshold,
    accurate_threshold,
    best_threshold,
    called_across_folds,
    crossfit,
    sensitive_threshold,
)
from ichor.evaluating.metrics import Interval, bootstrap, resamplings_for
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABEL_NAMES

__all__ = [
    "MIN_POSITIVE_PATIENTS",
    "Figure",
    "Level",
    "accuracy_figures",
    "figures",
    "levels",
    "operating_points",
]

MIN_POSITIVE_PATIENTS = 10
"""Below this a subtype's figures say little, and the card says so."""
SENSITIVITIES = (0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    interval: Interval
    protocol: str


@dataclass(frozen=True)
class Level:
    """Slices, exams or pictures: what figures are of.

    Attributes
    ----------
    name
        ``slice``, ``exam`` or ``picture``.
    patients
        ``(n,)``.
    logits, labels, probabilities
        ``(n, 6)``; probabilities calibrated on the other folds.
    """

    name: str
    patients: NDArray[np.str_]
    logits: NDArray[np.float64]
    labels: NDArray[np.float32]
    probabilities: NDArray[np.float64]

    def known(self, label: int) -> NDArray[np.bool_]:
        """Where a label is known."""
        return ~np.isnan(self.labels[:, label])

    def has_both(self, label: int) -> bool:
        """Whether a label is there and absent."""
        known = int(self.known(label).sum())
        return 0 < float(np.nansum(self.labels[:, label])) < known


def levels(run: OutOfFold) -> list[Level]:
    """Return the levels that a run is measured on: slices and exams, or pictures."""
    p = crossfit(run.logits, run.labels, run.folds, calibrated=run.calibrated)
    if run.kind == "pictures":
        return [Level("picture", run.patients, run.logits, run.labels, p)]
    exam_p = crossfit(run.exam_logits, run.exam_labels, run.exam_folds, calibrated=run.calibrated)
    return [
        Level("slice", run.patients, run.logits, run.labels, p),
        Level("exam", run.exam_patients, run.exam_logits, run.exam_labels, exam_p),
    ]


def figures(run: OutOfFold) -> list[Figure]:
    """Measure a run: areas, log loss, calibration, and the operating point, each out of fold."""
    found = levels(run)
    out = list(_areas(run, found))
    how = "as the system gave them" if run.calibrated else "calibrated on the other folds"
    first = found[0]
    if not np.isnan(first.labels).any():
        interval = bootstrap(
            m.weighted_log_loss,
            first.labels,
            first.probabilities,
            first.patients,
            resamplings=resamplings_for(len(first.labels)),
        )
        out.append(
            Figure(f"{first.name} weighted log loss", interval, f"RSNA 2019 weights, probabilities {how}")
        )
    for level in found:
        known = level.known(0)
        interval = bootstrap(
            m.calibration_error, level.labels[known, 0], level.probabilities[known, 0], level.patients[known]
        )
        out.append(
            Figure(
                f"{level.name} calibration error, any",
                interval,
                f"10 bins of equal count, probabilities {how}",
            )
        )
    last = found[-1]
    protocol = _threshold_protocol(run, "the highest sensitivity plus specificity")
    out += _verdicts(run, last, best_threshold, protocol, ("sensitivity", "specificity"))
    return out


def accuracy_figures(run: OutOfFold) -> list[Figure]:
    """Measure verdicts: accuracy, sensitivity, specificity, precision and F1 at the most accurate threshold."""
    protocol = _threshold_protocol(run, "the highest accuracy")
    return [
        f
        for level in levels(run)
        for f in _verdicts(run, level, accurate_threshold, protocol, tuple(_VERDICTS))
    ]


def operating_points(run: OutOfFold) -> list[Figure]:
    """Measure the sensitivity and specificity of thresholds chosen for 90, 95 and 99 % sensitivity."""
    out = []
    for level in levels(run):
        for aimed in SENSITIVITIES:
            protocol = _threshold_protocol(run, f"{aimed:.0%} sensitivity")
            some = _verdicts(run, level, sensitive_threshold(aimed), protocol, ("sensitivity", "specificity"))
            out += [
                Figure(f"{f.name}, aimed at {aimed:.0%} sensitivity", f.interval, f.protocol) for f in some
            ]
    return out


def _areas(run: OutOfFold, found: list[Level]) -> Iterator[Figure]:
    for j, name in enumerate(LABEL_NAMES):
        few = int(np.nansum(run.exam_labels[:, j]))
        for level in found:
            if not level.has_both(j):
                continue
            known = level.known(j)
            n = resamplings_for(int(known.sum()))
            protocol = f"area under the ROC curve, out of fold; patients resampled {n} times"
            if few < MIN_POSITIVE_PATIENTS:
                protocol += f"; only {few} positive patients"
            labels, logits = level.labels[known, j], level.logits[known, j]
            yield Figure(
                f"{level.name} AUC, {name}",
                bootstrap(m.roc_auc, labels, logits, level.patients[known], resamplings=n),
                protocol,
            )
    for level in found:
        known = level.known(0)
        if level.has_both(0):
            n = resamplings_for(int(known.sum()), slow=True)
            yield Figure(
                f"{level.name} PR area, any",
                bootstrap(
                    m.pr_area,
                    level.labels[known, 0],
                    level.logits[known, 0],
                    level.patients[known],
                    resamplings=n,
                ),
                f"average precision, out of fold; patients resampled {n} times",
            )


_VERDICTS = {
    "accuracy": m.accuracy,
    "sensitivity": lambda y, c: m.sensitivity_specificity(y, c, 0.5)[0],
    "specificity": lambda y, c: m.sensitivity_specificity(y, c, 0.5)[1],
    "precision": m.precision,
    "F1": m.f1,
}


def _verdicts(
    run: OutOfFold, level: Level, choose: Threshold, protocol: str, names: tuple[str, ...]
) -> list[Figure]:
    called = called_across_folds(run, "exam" if level.name == "exam" else "slice", choose)
    known = level.known(0)
    n = resamplings_for(int(known.sum()))
    return [
        Figure(
            f"{level.name} {name}, any",
            bootstrap(
                _VERDICTS[name], level.labels[known, 0], called[known], level.patients[known], resamplings=n
            ),
            protocol,
        )
        for name in names
    ]


def _threshold_protocol(run: OutOfFold, aim: str) -> str:
    if len(np.unique(run.folds)) < 2:
        return "threshold 0.5: there are no folds to choose another on"
    return f"threshold with {aim} on the other folds"

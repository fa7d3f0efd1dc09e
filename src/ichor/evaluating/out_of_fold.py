"""The figures of a model on patients that it did not train on, each with its interval and protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import (
    EXAM_SENSITIVITY,
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
    "subtype_figures",
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
        ``(n,)`` whom intervals draw: the person, or the group of near-duplicate pictures.
    logits, labels, probabilities
        ``(n, 6)``; probabilities calibrated on the other folds.
    note
        What every protocol of the level adds.
    """

    name: str
    patients: NDArray[np.str_]
    logits: NDArray[np.float64]
    labels: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    note: str = ""

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
    drawn = run.drawn(run.patients)
    if run.kind == "pictures":
        return [Level("picture", drawn, run.logits, run.labels, p)]
    exam_p = crossfit(run.exam_logits, run.exam_labels, run.exam_folds, calibrated=run.calibrated)
    note = f"; {run.pooling}" if run.pooling else ""
    exams = run.drawn(run.exam_patients)
    return [
        Level("slice", drawn, run.logits, run.labels, p),
        Level("exam", exams, run.exam_logits, run.exam_labels, exam_p, note),
    ]


def figures(run: OutOfFold, clip: float = 1e-15) -> list[Figure]:
    """Measure a run: areas, log loss, calibration, and the operating point, each out of fold.

    Parameters
    ----------
    run
        What was predicted.
    clip
        For the log loss, probabilities are kept this far from 0 and 1.
    """
    found = levels(run)
    out = list(_areas(run, found))
    how = "as the system gave them" if run.calibrated else "calibrated on the other folds"
    first = found[0]
    p = np.clip(first.probabilities, clip, 1 - clip)
    clipped = f"probabilities {how}, kept {clip:g} from 0 and 1"
    if not np.isnan(first.labels).any():
        interval = bootstrap(m.weighted_log_loss, first.labels, p, first.patients)
        out.append(Figure(f"{first.name} weighted log loss", interval, f"RSNA 2019 weights, {clipped}"))
    elif (known := first.known(0)).any():
        interval = bootstrap(m.log_loss, first.labels[known, 0], p[known, 0], first.patients[known])
        note = f"of 'any' alone, for not every subtype is known; {clipped}"
        out.append(Figure(f"{first.name} log loss, any", interval, note))
    for level in found:
        known = level.known(0)
        if not known.any():
            continue
        interval = bootstrap(
            m.calibration_error, level.labels[known, 0], level.probabilities[known, 0], level.patients[known]
        )
        note = f"10 bins of equal count, probabilities {how}; chance alone makes it larger, the more so resampled"
        out.append(Figure(f"{level.name} calibration error, any", interval, note + level.note))
    last = found[-1]
    # What a bundle calls by, so that its verdicts are what is measured.
    protocol = _threshold_protocol(run, f"{EXAM_SENSITIVITY:.0%} sensitivity")
    out += _verdicts(
        run, last, sensitive_threshold(EXAM_SENSITIVITY), protocol, ("sensitivity", "specificity")
    )
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
    """Measure the sensitivity and specificity of thresholds chosen for 90, 95 and 99 % sensitivity.

    Without folds there is nothing to choose a threshold on, and nothing is measured.
    """
    out: list[Figure] = []
    if not run.folded:
        return out
    for level in levels(run):
        for aimed in SENSITIVITIES:
            protocol = _threshold_protocol(run, f"{aimed:.0%} sensitivity")
            some = _verdicts(run, level, sensitive_threshold(aimed), protocol, ("sensitivity", "specificity"))
            out += [
                Figure(f"{f.name}, aimed at {aimed:.0%} sensitivity", f.interval, f.protocol) for f in some
            ]
    return out


def subtype_figures(run: OutOfFold) -> list[Figure]:
    """Measure each subtype: area under precision-recall, and verdicts at the best threshold of the other folds."""
    protocol = _threshold_protocol(run, "the highest sensitivity plus specificity")
    out = []
    for j in range(1, len(LABEL_NAMES)):
        few = int(np.nansum(run.exam_labels[:, j]))
        note = f"; only {few} positive patients" if few < MIN_POSITIVE_PATIENTS else ""
        for level in levels(run):
            if level.has_both(j):
                some = [
                    _pr_figure(run, level, j),
                    *_verdicts(run, level, best_threshold, protocol, tuple(_VERDICTS), j),
                ]
                out += [Figure(f.name, f.interval, f.protocol + note) for f in some]
    return out


def _areas(run: OutOfFold, found: list[Level]) -> Iterator[Figure]:
    for j, name in enumerate(LABEL_NAMES):
        few = int(np.nansum(run.exam_labels[:, j]))
        for level in found:
            if not level.has_both(j):
                continue
            known = level.known(j)
            n = resamplings_for(int(known.sum()))
            protocol = f"area under the ROC curve, {run.origin}; patients resampled {n} times"
            if few < MIN_POSITIVE_PATIENTS:
                protocol += f"; only {few} positive patients"
            labels, logits = level.labels[known, j], level.logits[known, j]
            yield Figure(
                f"{level.name} AUC, {name}",
                bootstrap(m.roc_auc, labels, logits, level.patients[known], resamplings=n),
                protocol + level.note,
            )
    for level in found:
        if level.has_both(0):
            yield _pr_figure(run, level, 0)


def _pr_figure(run: OutOfFold, level: Level, label: int) -> Figure:
    known = level.known(label)
    n = resamplings_for(int(known.sum()))
    interval = bootstrap(
        m.pr_area,
        level.labels[known, label],
        level.logits[known, label],
        level.patients[known],
        resamplings=n,
    )
    protocol = f"average precision, {run.origin}; patients resampled {n} times"
    return Figure(f"{level.name} PR area, {LABEL_NAMES[label]}", interval, protocol + level.note)


_VERDICTS = {
    "accuracy": m.accuracy,
    "sensitivity": m.sensitivity,
    "specificity": m.specificity,
    "precision": m.precision,
    "F1": m.f1,
}


def _verdicts(
    run: OutOfFold, level: Level, choose: Threshold, protocol: str, names: tuple[str, ...], label: int = 0
) -> list[Figure]:
    known = level.known(label)
    if not known.any():
        return []
    called = called_across_folds(run, "exam" if level.name == "exam" else "slice", choose, label)[known]
    truth, drawn = level.labels[known, label], level.patients[known]
    return [
        Figure(
            f"{level.name} {name}, {LABEL_NAMES[label]}",
            bootstrap(_VERDICTS[name], truth, called, drawn),
            protocol + level.note,
        )
        for name in names
    ]


def _threshold_protocol(run: OutOfFold, aim: str) -> str:
    if not run.folded:
        return "threshold 0.5: there are no folds to choose another on"
    return f"threshold with {aim} on the other folds"

"""What a run's folds say of exams that they did not train on: calibrated across folds, with intervals."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ichor.datasets.labelled import Dataset
from ichor.detecting.aggregate import exam_logits
from ichor.errors import UsageError
from ichor.evaluating.metrics import (
    Interval,
    bootstrap,
    calibration_error,
    roc_auc,
    sensitivity_specificity,
    weighted_log_loss,
)
from ichor.labels import LABEL_NAMES

__all__ = [
    "MIN_POSITIVE_PATIENTS",
    "SLICE_SPECIFICITY",
    "Calibration",
    "Figure",
    "OutOfFold",
    "best_threshold",
    "figures",
    "fit_calibration",
    "read_predictions",
    "specific_threshold",
]

MIN_POSITIVE_PATIENTS = 10
"""Below this a subtype's figures say little, and the card says so."""
SLICE_SPECIFICITY = 0.95
"""Of the threshold for a lone slice or a picture."""


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold logits and labels, slices and exams.

    Attributes
    ----------
    patients, folds
        ``(N,)`` of each slice.
    logits, labels
        ``(N, 6)`` of each slice.
    exam_patients, exam_folds
        ``(M,)``.
    exam_logits, exam_labels
        ``(M, 6)``.
    """

    patients: NDArray[np.str_]
    folds: NDArray[np.intp]
    logits: NDArray[np.float64]
    labels: NDArray[np.float32]
    exam_patients: NDArray[np.str_]
    exam_folds: NDArray[np.intp]
    exam_logits: NDArray[np.float64]
    exam_labels: NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """Logit to probability: ``sigmoid(scale * logit + offset)``, one of each a label."""

    scale: NDArray[np.float64]
    offset: NDArray[np.float64]

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrate ``(..., 6)`` logits."""
        return np.asarray(1 / (1 + np.exp(-(self.scale * logits + self.offset))))


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    interval: Interval
    protocol: str


def read_predictions(folder: Path, dataset: Dataset, head: str = "rule") -> OutOfFold:
    """Read ``fold-*/predictions.csv`` of a run and join the labels of the data set.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        The run's target.
    head
        ``rule`` (what detection gives), ``map`` (without smoothing along the stack) or ``pooled`` (the
        auxiliary head).

    Raises
    ------
    UsageError
        Where there are no predictions, or a patient was predicted twice or not at all.
    """
    files = sorted(Path(folder).glob("fold-*/predictions.csv"))
    if not files:
        raise UsageError(
            f"{folder}: found no fold-*/predictions.csv; expected a run's folds; run ichor train first"
        )
    fold_of: dict[str, int] = {}
    logits: dict[str, list[list[float]]] = {}
    for number, file in enumerate(files):
        with file.open(newline="") as stream:
            for row in csv.DictReader(stream):
                if fold_of.setdefault(row["patient"], number) != number:
                    raise UsageError(f"{file}: found a patient predicted in two folds; expected each in one")
                logits.setdefault(row["patient"], []).append([float(row[f"{head}_{n}"]) for n in LABEL_NAMES])
    missing = set(dataset.patients()) - set(logits)
    if missing:
        raise UsageError(
            f"{folder}: found predictions for {len(logits)} patients; expected {len(missing)} more; "
            "train the folds that are missing"
        )
    names = sorted(logits)
    arrays = {n: np.array(logits[n]) for n in names}
    truth = {n: dataset.slice_labels(n) for n in names}
    counts = [len(arrays[n]) for n in names]
    return OutOfFold(
        patients=np.repeat(names, counts),
        folds=np.repeat([fold_of[n] for n in names], counts),
        logits=np.concatenate([arrays[n] for n in names]),
        labels=np.concatenate([truth[n] for n in names]),
        exam_patients=np.array(names),
        exam_folds=np.array([fold_of[n] for n in names]),
        exam_logits=np.stack([exam_logits(arrays[n]) for n in names]),
        exam_labels=np.stack([truth[n].max(axis=0) for n in names]),
    )


def fit_calibration(logits: NDArray[np.float64], labels: NDArray[np.float32]) -> Calibration:
    """Fit Platt's scaling for each label.

    Parameters
    ----------
    logits, labels
        ``(n, 6)``.
    """
    scale, offset = np.zeros(logits.shape[1]), np.zeros(logits.shape[1])
    for j in range(logits.shape[1]):
        centre, spread = logits[:, j].mean(), logits[:, j].std() or 1.0
        positives = int(labels[:, j].sum())
        if not 0 < positives < len(labels):
            scale[j], offset[j] = 0.0, np.log((positives + 0.5) / (len(labels) - positives + 0.5))
            continue
        # A little shrinkage (C = 1 on standardised logits): few positives must not give boundless certainty.
        model = LogisticRegression(C=1.0).fit((logits[:, j : j + 1] - centre) / spread, labels[:, j])
        slope = max(float(model.coef_[0, 0]), 0.0) / spread
        scale[j], offset[j] = slope, float(model.intercept_[0]) - slope * centre
    return Calibration(scale, offset)


def _crossfit(
    logits: NDArray[np.float64], labels: NDArray[np.float32], folds: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Probabilities of each fold from a calibration fitted on the others."""
    out = np.zeros_like(logits)
    for fold in np.unique(folds):
        inside = folds == fold
        out[inside] = fit_calibration(logits[~inside], labels[~inside]).probabilities(logits[inside])
    return out


def best_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the threshold with the highest sensitivity plus specificity, half-way between two scores.

    With ties, the lower one: a missed bleed costs more than a needless look.
    """
    scores = np.unique(p)
    if len(scores) < 2 or not 0 < (np.asarray(labels) > 0.5).sum() < len(labels):
        return 0.5
    candidates = (scores[1:] + scores[:-1]) / 2
    return float(max(candidates, key=lambda t: (round(sum(sensitivity_specificity(labels, p, t)), 9), -t)))


def specific_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the lowest threshold that leaves :data:`SLICE_SPECIFICITY` of the negatives below it."""
    return float(np.quantile(p[np.asarray(labels) < 0.5], SLICE_SPECIFICITY))


def figures(run: OutOfFold) -> list[Figure]:
    """Measure a run: areas, log loss, calibration, and the operating point, each out of fold."""
    out = []
    slice_p = _crossfit(run.logits, run.labels, run.folds)
    exam_p = _crossfit(run.exam_logits, run.exam_labels, run.exam_folds)
    auc = "area under the ROC curve, out of fold; patients resampled 2000 times"
    for j, name in enumerate(LABEL_NAMES):
        few = int(run.exam_labels[:, j].sum())
        note = auc if few >= MIN_POSITIVE_PATIENTS else f"{auc}; only {few} positive patients"
        out.append(
            Figure(
                f"slice AUC, {name}",
                bootstrap(roc_auc, run.labels[:, j], run.logits[:, j], run.patients),
                note,
            )
        )
        out.append(
            Figure(
                f"exam AUC, {name}",
                bootstrap(roc_auc, run.exam_labels[:, j], run.exam_logits[:, j], run.exam_patients),
                note,
            )
        )
    crossfit = "probabilities calibrated on the other folds"
    out.append(
        Figure(
            "slice weighted log loss",
            bootstrap(weighted_log_loss, run.labels, slice_p, run.patients),
            f"RSNA 2019 weights, {crossfit}",
        )
    )
    for name, labels, p, who in (
        ("slice calibration error, any", run.labels[:, 0], slice_p[:, 0], run.patients),
        ("exam calibration error, any", run.exam_labels[:, 0], exam_p[:, 0], run.exam_patients),
    ):
        out.append(
            Figure(name, bootstrap(calibration_error, labels, p, who), f"10 bins of equal count, {crossfit}")
        )
    called = np.zeros(len(exam_p))
    for fold in np.unique(run.exam_folds):
        inside = run.exam_folds == fold
        others = _crossfit(run.exam_logits[~inside], run.exam_labels[~inside], run.exam_folds[~inside])
        called[inside] = exam_p[inside, 0] >= best_threshold(run.exam_labels[~inside, 0], others[:, 0])
    protocol = "threshold with the highest sensitivity plus specificity on the other folds"
    for name, statistic in (("exam sensitivity, any", _sensitivity), ("exam specificity, any", _specificity)):
        interval = bootstrap(statistic, run.exam_labels[:, 0], called, run.exam_patients)
        out.append(Figure(name, interval, protocol))
    return out


def _sensitivity(labels: NDArray[np.floating], called: NDArray[np.floating]) -> float:
    return sensitivity_specificity(labels, called, 0.5)[0]


def _specificity(labels: NDArray[np.floating], called: NDArray[np.floating]) -> float:
    return sensitivity_specificity(labels, called, 0.5)[1]

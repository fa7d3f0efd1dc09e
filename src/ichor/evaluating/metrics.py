"""Figures with their intervals. Patients, not slices, are the unit of chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = [
    "Interval",
    "accuracy",
    "bootstrap",
    "calibration_error",
    "confusion",
    "f1",
    "paired_bootstrap",
    "pr_area",
    "precision",
    "resamplings_for",
    "roc_auc",
    "sensitivity_specificity",
    "weighted_log_loss",
]

Floats = NDArray[np.floating]
Statistic = Callable[[Floats, Floats], float]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes
    ----------
    value
        On all the data.
    low, high
        2.5th and 97.5th percentile over resamplings of patients.
    patients
        How many patients it rests on.
    positives, n
        Positive cases and all cases (slices or exams).
    """

    value: float
    low: float
    high: float
    patients: int
    positives: int
    n: int


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Area under the ROC curve, ties counted half (the Mann-Whitney statistic); NaN with one class only."""
    positive = np.asarray(labels) > 0.5
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def sensitivity_specificity(labels: Floats, scores: Floats, threshold: float) -> tuple[float, float]:
    """Share of positives at or above a threshold, and of negatives below it; NaN where there are none."""
    positive, called = np.asarray(labels) > 0.5, np.asarray(scores) >= threshold
    with np.errstate(invalid="ignore"):
        return (
            float(np.divide((called & positive).sum(), positive.sum())),
            float(np.divide((~called & ~positive).sum(), (~positive).sum())),
        )


def confusion(labels: Floats, called: Floats) -> NDArray[np.intp]:
    """Count cases: ``(2, 2)``, rows by the truth (no, yes), columns by the verdict (no, yes)."""
    truth, verdict = np.asarray(labels) > 0.5, np.asarray(called) > 0.5
    return np.array([[int((verdict[truth == t] == v).sum()) for v in (False, True)] for t in (False, True)])


def accuracy(labels: Floats, called: Floats) -> float:
    """Share of right verdicts."""
    return float(((np.asarray(labels) > 0.5) == (np.asarray(called) > 0.5)).mean())


def precision(labels: Floats, called: Floats) -> float:
    """Share of positives among those called; NaN where none is."""
    table = confusion(labels, called)
    return float(table[1, 1] / table[:, 1].sum()) if table[:, 1].any() else float("nan")


def f1(labels: Floats, called: Floats) -> float:
    """Harmonic mean of precision and sensitivity; NaN with neither positives nor calls."""
    table = confusion(labels, called)
    total = table[1].sum() + table[:, 1].sum()
    return float(2 * table[1, 1] / total) if total else float("nan")


def pr_area(labels: Floats, scores: Floats) -> float:
    """Area under the precision-recall curve as average precision (scikit-learn); NaN with one class only."""
    from sklearn.metrics import average_precision_score

    positive = np.asarray(labels) > 0.5
    if not 0 < positive.sum() < len(positive):
        return float("nan")
    return float(average_precision_score(positive, scores))


def resamplings_for(n: int, *, slow: bool = False) -> int:
    """How often to resample ``n`` cases: 2000 times, less for very many."""
    most = 20_000 if not slow else 4_000
    return 2000 if n <= most else 200


def calibration_error(labels: Floats, probabilities: Floats, bins: int = 10) -> float:
    """Return the expected calibration error: mean gap of probability and frequency, equal counts a bin."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    parts = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels)))
    gaps = [abs(labels[p].mean() - probabilities[p].mean()) * len(p) for p in parts if len(p)]
    return float(sum(gaps) / len(labels))


def weighted_log_loss(labels: Floats, probabilities: Floats, clip: float = 1e-15) -> float:
    """Weighted multi-label log loss of the RSNA 2019 challenge: ``any`` counts twice, the subtypes once.

    Parameters
    ----------
    labels, probabilities
        ``(n, 6)`` in label order.
    clip
        Probabilities are kept this far from 0 and 1.

    Returns
    -------
    float
        Mean over cases of the weighted mean over labels.
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), clip, 1 - clip)
    labels = np.asarray(labels, dtype=np.float64)
    losses = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    return float(np.average(losses, axis=1, weights=[2, 1, 1, 1, 1, 1]).mean())


def bootstrap(
    statistic: Statistic,
    labels: Floats,
    scores: Floats,
    patients: NDArray[np.generic],
    *,
    resamplings: int = 2000,
    seed: int = 0,
) -> Interval:
    """Measure a statistic and its interval, drawing whole patients with replacement.

    Parameters
    ----------
    statistic
        Takes labels and scores.
    labels, scores
        ``(n,)`` or ``(n, 6)``.
    patients
        ``(n,)`` whom each case belongs to.
    resamplings
        How many draws; those with one class only are left out.
    seed
        Of the draws.

    Returns
    -------
    Interval
        With the percentiles 2.5 and 97.5.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    names, group = np.unique(patients, return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(len(names))]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamplings):
        index = np.concatenate([members[g] for g in rng.integers(len(names), size=len(names))])
        value = statistic(labels[index], scores[index])
        if np.isfinite(value):
            draws.append(value)
    low, high = np.percentile(draws, [2.5, 97.5]) if draws else (np.nan, np.nan)
    first = labels if labels.ndim == 1 else labels[:, 0]
    return Interval(
        statistic(labels, scores), float(low), float(high), len(names), int((first > 0.5).sum()), len(labels)
    )


def paired_bootstrap(
    statistic: Statistic,
    labels: Floats,
    first: Floats,
    second: Floats,
    patients: NDArray[np.generic],
    *,
    resamplings: int = 2000,
    seed: int = 0,
) -> tuple[Interval, float]:
    """Measure how much a statistic of one model exceeds that of another, on the same draws of patients.

    Parameters
    ----------
    statistic
        Takes labels and scores.
    labels
        ``(n,)`` or ``(n, 6)``.
    first, second
        Scores of both models on the same cases.
    patients
        ``(n,)``.
    resamplings, seed
        As in :func:`bootstrap`.

    Returns
    -------
    difference
        First less second, with its interval.
    p
        Two-sided: twice the share of draws on the rarer side of 0, at least one over the number of draws.
    """
    both = np.stack([np.asarray(first), np.asarray(second)], axis=1)

    def difference(y: Floats, scores: Floats) -> float:
        return statistic(y, scores[:, 0]) - statistic(y, scores[:, 1])

    draws: list[float] = []

    def remembered(y: Floats, scores: Floats) -> float:
        value = difference(y, scores)
        if np.isfinite(value):
            draws.append(value)
        return value

    interval = bootstrap(remembered, labels, both, patients, resamplings=resamplings, seed=seed)
    drawn = np.array(draws[:-1])  # the last is that of all the data
    if not len(drawn):
        return interval, float("nan")
    rarer = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return interval, float(min(1.0, max(2 * rarer, 1 / len(drawn))))

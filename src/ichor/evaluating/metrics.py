"""Figures with their intervals. Patients, not slices, are the unit of chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = [
    "Interval",
    "bootstrap",
    "calibration_error",
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

"""From logits to probabilities and verdicts: fitted on some folds, used on another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from ichor.detecting.manifest import Scaling, scaled_probabilities
from ichor.evaluating.metrics import sensitivity_specificity
from ichor.evaluating.predictions import OutOfFold

__all__ = [
    "EXAM_SENSITIVITY",
    "MIN_CHOOSING",
    "SHRINKAGES",
    "SLICE_SPECIFICITY",
    "SUBTYPE_SPECIFICITY",
    "accurate_threshold",
    "best_threshold",
    "called_across_folds",
    "crossfit",
    "fit_calibration",
    "sensitive_threshold",
    "specific_threshold",
    "subtype_threshold",
]

EXAM_SENSITIVITY = 0.90
"""Of the threshold at which an exam is called: a missed bleed costs more than a needless look."""
SLICE_SPECIFICITY = 0.95
"""Of the threshold for a single slice or a picture."""
SUBTYPE_SPECIFICITY = 0.95
"""Of the threshold at which an exam's subtype is called: a wrong name misleads, and a missing one is seen."""
SHRINKAGES = (1.0, 10.0, 100.0)
"""Inverse strengths of the shrinkage of Platt's slope, strongest first: few positives must not give boundless
certainty, many need none."""
MIN_CHOOSING = 10
"""Cases of the rarer kind below which no shrinkage is chosen."""
Threshold = Callable[[NDArray[np.floating], NDArray[np.floating]], float]


def fit_calibration(
    logits: NDArray[np.float64], labels: NDArray[np.float32], folds: NDArray[np.intp] | None = None
) -> tuple[Scaling, ...]:
    """Fit Platt's scaling for each label on the cases where it is known.

    Parameters
    ----------
    logits, labels
        ``(n, 6)``.
    folds
        ``(n,)``: with them, each label's shrinkage is the one of :data:`SHRINKAGES` with the lowest log loss when each
        of these folds is calibrated by the others. Without, or with fewer than :data:`MIN_CHOOSING` cases that have
        the label (or lack it), the first.

    References
    ----------
    Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 1999.
    """
    fitted = []
    for j in range(logits.shape[1]):
        known = ~np.isnan(labels[:, j])
        x, y = logits[known, j], labels[known, j]
        c = SHRINKAGES[0] if folds is None else _shrinkage(x, y, folds[known])
        scale, offset = _platt(x, y, c)
        fitted.append(Scaling(scale=scale, offset=offset))
    return tuple(fitted)


def _platt(x: NDArray[np.float64], y: NDArray[np.float32], c: float) -> tuple[float, float]:
    """Return scale and offset of one label, shrunk by ``c`` on standardised logits."""
    positives = int(y.sum())
    if not 0 < positives < len(y):
        # Not fitted: the share of cases that have it; of a label that nothing is known of, hardly any.
        return 0.0, float(np.log((positives + 0.5) / (len(y) - positives + 0.5))) if len(y) else -7.0
    centre, spread = x.mean(), x.std() or 1.0
    model = LogisticRegression(C=c).fit((x[:, None] - centre) / spread, y)
    slope = max(float(model.coef_[0, 0]), 0.0) / spread
    return slope, float(model.intercept_[0]) - slope * centre


def _shrinkage(x: NDArray[np.float64], y: NDArray[np.float32], folds: NDArray[np.intp]) -> float:
    """Choose how much to shrink by calibrating each fold on the others; few cases choose nothing."""
    if min(y.sum(), len(y) - y.sum()) < MIN_CHOOSING or len(np.unique(folds)) < 2:
        return SHRINKAGES[0]
    losses = []
    for c in SHRINKAGES:
        loss = 0.0
        for fold in np.unique(folds):
            inside = folds == fold
            scale, offset = _platt(x[~inside], y[~inside], c)
            z = scale * x[inside] + offset
            loss += float((np.logaddexp(0, z) - y[inside] * z).sum())
        losses.append(loss)
    return SHRINKAGES[int(np.argmin(losses))]


def crossfit(
    logits: NDArray[np.float64],
    labels: NDArray[np.float32],
    folds: NDArray[np.intp],
    *,
    calibrated: bool = False,
) -> NDArray[np.float64]:
    """Give probabilities of each fold by a calibration chosen and fitted on the others.

    Parameters
    ----------
    logits, labels
        ``(n, 6)``.
    folds
        ``(n,)``.
    calibrated
        The logits are of probabilities that are taken as they are.
    """
    if calibrated or len(np.unique(folds)) < 2:
        return np.asarray(expit(logits))
    out = np.zeros_like(logits)
    for fold in np.unique(folds):
        inside = folds == fold
        fitted = fit_calibration(logits[~inside], labels[~inside], folds[~inside])
        out[inside] = scaled_probabilities(logits[inside], fitted)
    return out


def called_across_folds(run: OutOfFold, level: str, choose: Threshold, label: int = 0) -> NDArray[np.float64]:
    """Call a label in each fold from a threshold that was chosen on the others.

    Parameters
    ----------
    run
        Predictions with folds; with one fold only, the threshold is 0.5.
    level
        ``slice`` or ``exam``.
    choose
        Takes labels and scores of the other folds. Scores are the sigmoid of the logits, not calibrated: calibration
        keeps their order, so that a threshold of the calibrated probability is one of the score.
    label
        Place in :data:`ichor.labels.LABEL_NAMES`; ``any`` by default.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` 1 or 0.
    """
    logits, labels, folds = (
        (run.exam_logits, run.exam_labels, run.exam_folds)
        if level == "exam"
        else (run.logits, run.labels, run.folds)
    )
    logits, labels = logits[:, [label]], labels[:, [label]]
    p = np.asarray(expit(logits))
    if len(np.unique(folds)) < 2:
        return np.asarray(p[:, 0] >= 0.5, dtype=np.float64)
    called = np.zeros(len(p))
    for fold in np.unique(folds):
        inside = folds == fold
        known = ~inside & ~np.isnan(labels[:, 0])
        called[inside] = p[inside, 0] >= choose(labels[known, 0], p[known, 0])
    return called


def best_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the threshold with the highest sensitivity plus specificity, half-way between two scores.

    With ties, the lower one: a missed bleed costs more than a needless look.
    """
    return _best(labels, p, lambda t: round(sum(sensitivity_specificity(labels, p, t)), 9))


def accurate_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the threshold with the most right calls, half-way between two scores; with ties the lower one."""
    positive = np.asarray(labels) > 0.5
    return _best(labels, p, lambda t: int(((p >= t) == positive).sum()))


def specific_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the lowest threshold that leaves :data:`SLICE_SPECIFICITY` of the negatives below it."""
    return float(np.quantile(p[np.asarray(labels) < 0.5], SLICE_SPECIFICITY))


def subtype_threshold(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
    """Return the lowest threshold that leaves :data:`SUBTYPE_SPECIFICITY` of the negatives below it.

    Half-way between two scores. Unlike :func:`specific_threshold` it reaches its aim on a few dozen exams, too.
    """
    negatives = np.sort(p[np.asarray(labels) < 0.5])
    if not len(negatives):
        return 1.0
    edge = float(negatives[max(0, int(np.ceil(SUBTYPE_SPECIFICITY * len(negatives))) - 1)])
    above = p[p > edge]
    return (edge + (float(above.min()) if len(above) else 1.0)) / 2


def sensitive_threshold(sensitivity: float) -> Threshold:
    """Return a rule: the highest threshold that reaches a sensitivity."""

    def choose(labels: NDArray[np.floating], p: NDArray[np.floating]) -> float:
        positives = np.sort(p[np.asarray(labels) > 0.5])[::-1]
        if not len(positives):
            return 0.5
        return float(positives[min(len(positives), int(np.ceil(sensitivity * len(positives)))) - 1])

    return choose


def _best(labels: NDArray[np.floating], p: NDArray[np.floating], worth: Callable[[float], float]) -> float:
    scores = np.unique(p)
    if len(scores) < 2 or not 0 < (np.asarray(labels) > 0.5).sum() < len(labels):
        return 0.5
    candidates = (scores[1:] + scores[:-1]) / 2
    if len(candidates) > 500:  # of a large set, as many as distinguish thresholds
        candidates = np.quantile(candidates, np.linspace(0, 1, 500))
    return float(max(candidates, key=lambda t: (worth(float(t)), -t)))

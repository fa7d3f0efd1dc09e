"""Statistics of labels and scores: areas, verdicts, log loss, calibration; and their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ichor.evaluating.resampling import (
    Interval,
    Resampled,
    bootstrap,
    paired_bootstrap,
    ranked,
    resampled_by,
    sums,
)

__all__ = [
    "Interval",
    "accuracy",
    "bootstrap",
    "calibration_error",
    "confusion",
    "f1",
    "log_loss",
    "paired_bootstrap",
    "pr_area",
    "precision",
    "resamplings_for",
    "roc_auc",
    "sensitivity",
    "sensitivity_specificity",
    "specificity",
    "weighted_log_loss",
]

Floats = NDArray[np.floating]
_BINS = 10
_WEIGHTS = (2, 1, 1, 1, 1, 1)
_MOST_RANKED = 50_000


def _divided(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by."""
    return np.asarray(np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0))


def _areas(
    labels: Floats, scores: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """ROC areas of draws."""
    out = []
    for yes, no in ranked(labels, scores, group, counts):
        won = (yes * (np.cumsum(no, axis=1) - no / 2)).sum(axis=1)
        out.append(_divided(won, yes.sum(axis=1) * no.sum(axis=1)))
    return np.concatenate(out)


def _pr_areas(
    labels: Floats, scores: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Average precisions of draws."""
    out = []
    for yes, no in ranked(labels, scores, group, counts):
        yes, no = yes[:, ::-1], no[:, ::-1]
        hits = np.cumsum(yes, axis=1)
        called = np.maximum(hits + np.cumsum(no, axis=1), 1)
        area = _divided((yes * hits / called).sum(axis=1), hits[:, -1])
        out.append(np.where(no.any(axis=1), area, np.nan))
    return np.concatenate(out)


def _by_table(numerator: tuple[float, ...], denominator: tuple[float, ...]) -> Resampled:
    """Return the ratio of two weighted sums of the confusion table: right no, false yes, missed, right yes."""

    def fast(
        labels: Floats, called: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
    ) -> NDArray[np.float64]:
        place = 2 * (labels > 0.5) + (called > 0.5)
        tables = sums(np.eye(4)[place.astype(int)], group, counts)
        return _divided(tables @ np.array(numerator), tables @ np.array(denominator))

    return fast


def _log_losses(
    labels: Floats, probabilities: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    one = labels.ndim == 1
    losses = _case_losses(
        labels[:, None] if one else labels, probabilities[:, None] if one else probabilities
    )
    total = sums(np.stack([losses, np.ones(len(losses))], axis=1), group, counts)
    return _divided(total[:, 0], total[:, 1])


def _calibration_errors(
    labels: Floats, probabilities: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Calibration errors of draws; a case that was drawn often may be split between two bins."""
    order = np.argsort(probabilities, kind="stable")
    gaps, whose = (labels - probabilities)[order].astype(np.float64), group[order]
    out = np.empty(len(counts))
    for k, drawn in enumerate(counts):
        times = drawn[whose].astype(np.float64)
        reached, total = np.cumsum(times), np.cumsum(times * gaps)
        n = int(reached[-1])
        bins = min(_BINS, n)
        size, longer = divmod(n, bins)
        edges = np.cumsum([size + (b < longer) for b in range(bins)])
        at = np.searchsorted(reached, edges)
        upto = total[at] - (reached[at] - edges) * gaps[at]
        out[k] = np.abs(np.diff(upto, prepend=0)).sum() / n
    return out


@resampled_by(_areas)
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


@resampled_by(_by_table((1, 0, 0, 1), (1, 1, 1, 1)))
def accuracy(labels: Floats, called: Floats) -> float:
    """Share of right verdicts."""
    return float(((np.asarray(labels) > 0.5) == (np.asarray(called) > 0.5)).mean())


@resampled_by(_by_table((0, 0, 0, 1), (0, 0, 1, 1)))
def sensitivity(labels: Floats, called: Floats) -> float:
    """Share of positives that were called; NaN where there are none."""
    return sensitivity_specificity(labels, called, 0.5)[0]


@resampled_by(_by_table((1, 0, 0, 0), (1, 1, 0, 0)))
def specificity(labels: Floats, called: Floats) -> float:
    """Share of negatives that were not called; NaN where there are none."""
    return sensitivity_specificity(labels, called, 0.5)[1]


@resampled_by(_by_table((0, 0, 0, 1), (0, 1, 0, 1)))
def precision(labels: Floats, called: Floats) -> float:
    """Share of positives among those called; NaN where none is."""
    table = confusion(labels, called)
    return float(table[1, 1] / table[:, 1].sum()) if table[:, 1].any() else float("nan")


@resampled_by(_by_table((0, 0, 0, 2), (0, 1, 1, 2)))
def f1(labels: Floats, called: Floats) -> float:
    """Harmonic mean of precision and sensitivity; NaN with neither positives nor calls."""
    table = confusion(labels, called)
    total = table[1].sum() + table[:, 1].sum()
    return float(2 * table[1, 1] / total) if total else float("nan")


@resampled_by(_pr_areas)
def pr_area(labels: Floats, scores: Floats) -> float:
    """Area under the precision-recall curve as average precision (scikit-learn); NaN with one class only."""
    from sklearn.metrics import average_precision_score

    positive = np.asarray(labels) > 0.5
    if not 0 < positive.sum() < len(positive):
        return float("nan")
    return float(average_precision_score(positive, scores))


def resamplings_for(n: int) -> int:
    """How often to resample a statistic that ranks ``n`` cases: 2000 times, 200 times for very many."""
    return 2000 if n <= _MOST_RANKED else 200


@resampled_by(_calibration_errors)
def calibration_error(labels: Floats, probabilities: Floats, bins: int = _BINS) -> float:
    """Return the expected calibration error: mean gap of probability and frequency, equal counts a bin."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    parts = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels)))
    gaps = [abs(labels[p].mean() - probabilities[p].mean()) * len(p) for p in parts if len(p)]
    return float(sum(gaps) / len(labels))


@resampled_by(_log_losses)
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
    return float(_case_losses(labels, probabilities, clip).mean())


@resampled_by(_log_losses)
def log_loss(labels: Floats, probabilities: Floats) -> float:
    """Log loss of one label, probabilities kept 1e-15 from 0 and 1."""
    return float(_case_losses(np.asarray(labels)[:, None], np.asarray(probabilities)[:, None]).mean())


def _case_losses(labels: Floats, probabilities: Floats, clip: float = 1e-15) -> NDArray[np.float64]:
    p = np.clip(np.asarray(probabilities, dtype=np.float64), clip, 1 - clip)
    labels = np.asarray(labels, dtype=np.float64)
    losses = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    return np.asarray(np.average(losses, axis=1, weights=_WEIGHTS[: losses.shape[1]]))

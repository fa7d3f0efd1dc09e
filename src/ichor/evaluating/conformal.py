"""Which exams are uncertain: class-conditional (Mondrian) conformal sets from out-of-fold scores.

An exam is given every answer that is not too strange: "hemorrhage" unless its score is lower than nearly all scores of
measured exams that bled, "no hemorrhage" unless it is higher than nearly all of those that did not. One answer is a
certain one; both, or none, is uncertain.

What is guaranteed: within each class, at most ``alpha`` of exams lack their right answer, if the exam's score and the
measured scores are exchangeable. That is so, exactly, for an exam that had been one more of the same cross-validation
with folds drawn by chance. The network that ships trained on all exams and is none of the folds': for it the level
holds as far as its scores on new exams are distributed as those out of fold, which is plausible and no theorem. (CV+,
which asks every fold's network about every new exam, has a theorem without that, of 1 - 2 alpha less a term for few
exams.) :func:`measure` checks it by fitting on some folds and asking another.

References
----------
Vovk V. Conditional validity of inductive conformal predictors. ACML 2012.
Vovk V. Cross-conformal predictors. Annals of Mathematics and Artificial Intelligence 2015, 74.
Barber RF, Candes EJ, Ramdas A, Tibshirani RJ. Predictive inference with the jackknife+. Annals of Statistics 2021,
49(1) (CV+).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ichor.evaluating.predictions import OutOfFold
from ichor.evaluating.resampling import Interval

__all__ = ["ALPHA", "Band", "exact_interval", "fit_band", "measure", "smallest_alpha"]

ALPHA = 0.1
"""Share of exams of either class that may lack their right answer."""


@dataclass(frozen=True)
class Band:
    """Scores that are uncertain, both ends included.

    Attributes
    ----------
    low, high
        Below ``low`` the only answer is "no hemorrhage", above ``high`` only "hemorrhage". Infinite where there are
        too few exams to leave an answer out at this level.
    overlap
        True where both answers are in the set between them; False where none is.
    positives, negatives
        Exams that it was fitted on.
    """

    low: float
    high: float
    overlap: bool
    positives: int
    negatives: int

    def uncertain(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which scores have not exactly one answer."""
        inside = (scores >= self.low) & (scores <= self.high)
        # Without overlap the ends themselves are the last scores that each class still takes.
        return inside if self.overlap else inside & (scores != self.low) & (scores != self.high)

    def holds(self, scores: NDArray[np.float64], positive: bool) -> NDArray[np.bool_]:
        """Return in which scores' sets a class is."""
        if positive:
            return scores >= (self.low if self.overlap else self.high)
        return scores <= (self.high if self.overlap else self.low)


def smallest_alpha(n: int) -> float:
    """Return the smallest level at which a class with ``n`` measured exams can ever be left out."""
    return 1 / (n + 1)


def fit_band(scores: NDArray[np.float64], labels: NDArray[np.floating], alpha: float = ALPHA) -> Band:
    """Find the uncertain scores.

    Parameters
    ----------
    scores
        ``(n,)`` of exams, higher the more suspicious.
    labels
        ``(n,)`` 1 or 0; NaN is left out.
    alpha
        Level; the p-value of a class is the share of its exams, the new one among them, at least as strange.
    """
    bled, not_bled = np.sort(scores[labels > 0.5]), np.sort(scores[labels < 0.5])[::-1]
    # The class stays where (count + 1) / (n + 1) > alpha: from the k-th strangest score on.
    k1, k0 = (int(np.floor(alpha * (len(v) + 1) + 1e-9)) for v in (bled, not_bled))
    takes_positive = float(bled[k1 - 1]) if k1 else -np.inf
    takes_negative = float(not_bled[k0 - 1]) if k0 else np.inf
    overlap = takes_positive <= takes_negative
    low, high = sorted((takes_positive, takes_negative))
    return Band(low, high, overlap, len(bled), len(not_bled))


def measure(run: OutOfFold, alpha: float = ALPHA) -> dict[str, Interval]:
    """Measure the rule out of fold: each fold's exams by a band that was fitted on the other folds.

    Parameters
    ----------
    run
        Exam scores of one cross-validation.
    alpha
        Level.

    Returns
    -------
    dict
        ``coverage, hemorrhage`` and ``coverage, no hemorrhage`` (the right answer is in the set), ``uncertain``,
        ``error among the certain``, ``missed among the certainly negative``: each with its exact binomial interval.
    """
    known = ~np.isnan(run.exam_labels[:, 0])
    y, x, folds = run.exam_labels[known, 0] > 0.5, run.exam_logits[known, 0], run.exam_folds[known]
    right, uncertain = np.zeros(len(y), bool), np.zeros(len(y), bool)
    answered_yes = np.zeros(len(y), bool)
    for fold in np.unique(folds):
        inside = folds == fold
        band = fit_band(x[~inside], y[~inside].astype(float), alpha)
        holds = {c: band.holds(x[inside], c) for c in (True, False)}
        right[inside] = np.where(y[inside], holds[True], holds[False])
        uncertain[inside] = holds[True] == holds[False]
        answered_yes[inside] = holds[True]
    certain = ~uncertain

    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> Interval:
        return exact_interval(int((of & among).sum()), int(among.sum()), int((y & among).sum()))

    every = np.ones(len(y), bool)
    return {
        "coverage, hemorrhage": share(right, y),
        "coverage, no hemorrhage": share(right, ~y),
        "uncertain": share(uncertain, every),
        "error among the certain": share(~right, certain),
        "missed among the certainly negative": share(y, certain & ~answered_yes),
    }


def exact_interval(k: int, n: int, positives: int = 0) -> Interval:
    """Return ``k`` of ``n`` with its exact (Clopper-Pearson) 95 % interval; of independent cases."""
    if not n:
        return Interval(float("nan"), float("nan"), float("nan"), 0, 0, 0)
    found = binomtest(k, n).proportion_ci(0.95, "exact")
    return Interval(k / n, float(found.low), float(found.high), n, positives, n)

"""How far probabilities are from frequencies, where cases are few: what bins make of chance, and what to use instead.

A binned calibration error is above 0 even for a perfect model: in a bin of seven cases the frequency differs from the
probability by chance alone. Each estimate here can be set against what a perfect model would get
(:func:`under_perfect_calibration`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ichor.evaluating.resampling import Statistic

__all__ = [
    "PerfectModel",
    "debiased_calibration_error",
    "smooth_calibration_error",
    "under_perfect_calibration",
    "weak_calibration",
]

_GRID = 512
"""Places between 0 and 1 on which the smoothed gap is evaluated."""
_STEPS = 20
_DEBIASED_BINS = 5

Floats = NDArray[np.floating]


def smooth_calibration_error(labels: Floats, probabilities: Floats) -> float:
    """Return the smooth calibration error: the mean absolute gap after smoothing along the probability.

    The gap of each case (label less probability) is smoothed by a Gaussian reflected at 0 and 1; its width is the one
    at which the error equals the width. There are no bins to choose, and cases near each other share their chance.

    Parameters
    ----------
    labels, probabilities
        ``(n,)``.

    Returns
    -------
    float
        Between 0 and 1; NaN without cases.

    References
    ----------
    Blasiok J, Nakkiran P. Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing. ICLR 2024.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    if not len(y):
        return float("nan")
    # Each case's gap goes to the two grid places around it, so that a case may lie anywhere.
    at = np.clip(p * _GRID - 0.5, 0, _GRID - 1)
    below = np.minimum(at.astype(int), _GRID - 2)
    share = at - below
    gap = np.bincount(below, (y - p) * (1 - share), _GRID) + np.bincount(below + 1, (y - p) * share, _GRID)
    # Reflection at both ends is what the cosine transform does by itself.
    terms = fft.dct(gap / len(y), norm="ortho")
    decay = -0.5 * (np.pi * np.arange(_GRID)) ** 2
    low, high = 0.0, 1.0
    for _ in range(_STEPS):  # the error falls with the width, the width does not: they meet once
        width = (low + high) / 2
        error = float(np.abs(fft.idct(terms * np.exp(decay * width**2), norm="ortho")).sum())
        low, high = (width, high) if error > width else (low, width)
    return (low + high) / 2


def debiased_calibration_error(labels: Floats, probabilities: Floats, bins: int = _DEBIASED_BINS) -> float:
    """Return the root of the mean squared calibration error, less what chance adds to each bin.

    Parameters
    ----------
    labels, probabilities
        ``(n,)``.
    bins
        Of equal count; each needs two cases.

    Returns
    -------
    float
        0 where the observed gaps are no larger than chance makes them; NaN with fewer than four cases.

    References
    ----------
    Kumar A, Liang P, Ma T. Verified Uncertainty Calibration. NeurIPS 2019.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    bins = min(bins, len(y) // 2)
    if bins < 2:
        return float("nan")
    total = 0.0
    for part in np.array_split(np.argsort(p, kind="stable"), bins):
        seen, predicted, n = y[part].mean(), p[part].mean(), len(part)
        total += n / len(y) * ((seen - predicted) ** 2 - seen * (1 - seen) / (n - 1))
    return float(np.sqrt(max(total, 0.0)))


@dataclass(frozen=True)
class PerfectModel:
    """What a statistic would be if the probabilities were exactly right.

    Attributes
    ----------
    mean
        Its expectation.
    high
        95 of 100 perfect models stay below it.
    p
        Share of perfect models that look at least as bad as the observed.
    """

    mean: float
    high: float
    p: float


def under_perfect_calibration(
    statistic: Statistic,
    labels: Floats,
    probabilities: Floats,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> PerfectModel:
    """Draw labels from the probabilities themselves, and measure again: what chance alone gives.

    Parameters
    ----------
    statistic
        Takes labels and probabilities.
    labels, probabilities
        ``(n,)``, of independent cases: exams, not the slices of exams.
    draws, seed
        Of the simulation.

    References
    ----------
    Broecker J, Smith LA. Increasing the Reliability of Reliability Diagrams. Weather and Forecasting 2007, 22(3).
    """
    p = np.asarray(probabilities, np.float64)
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic((rng.random(len(p)) < p).astype(np.float64), p) for _ in range(draws)])
    observed = statistic(np.asarray(labels, np.float64), p)
    return PerfectModel(
        float(drawn.mean()),
        float(np.quantile(drawn, 0.95)),
        float((1 + (drawn >= observed).sum()) / (1 + draws)),
    )


def weak_calibration(labels: Floats, probabilities: Floats) -> tuple[float, float]:
    """Return intercept and slope of the labels' logistic regression on the logit of the probabilities.

    Right probabilities have 0 and 1; a slope below 1 means too extreme ones. The intercept is that with the slope
    held at 1: what must be added to every logit for the mean to be right.

    References
    ----------
    Van Calster B et al. Calibration: the Achilles heel of predictive analytics. BMC Medicine 2019, 17:230.
    """
    y = np.asarray(labels, np.float64)
    p = np.clip(np.asarray(probabilities, np.float64), 1e-9, 1 - 1e-9)
    if not 0 < y.sum() < len(y):
        return float("nan"), float("nan")
    x = np.log(p) - np.log1p(-p)
    intercept = _newton(lambda w: w[0] + x, np.ones((len(x), 1)), y)[0]
    slope = _newton(lambda w: w[0] + w[1] * x, np.stack([np.ones_like(x), x], axis=1), y)[1]
    return float(intercept), float(slope)


def _newton(
    logit: Callable[[NDArray[np.float64]], NDArray[np.float64]], design: NDArray[np.float64], y: Floats
) -> NDArray[np.float64]:
    """Fit a logistic regression by Newton's method; a hair of shrinkage keeps separable data finite."""
    w = np.zeros(design.shape[1])
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(logit(w), -40, 40)))
        gradient = design.T @ (y - q) - 1e-6 * w
        step = np.linalg.solve((design * (q * (1 - q))[:, None]).T @ design + 1e-6 * np.eye(len(w)), gradient)
        w = w + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return w

"""Intervals by drawing whole patients with replacement; most statistics of all draws at once, from counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "Resampled",
    "Statistic",
    "bootstrap",
    "paired_bootstrap",
    "ranked",
    "resampled_by",
    "sums",
]

Floats = NDArray[np.floating]
Statistic = Callable[[Floats, Floats], float]
Resampled = Callable[[Floats, Floats, NDArray[np.intp], NDArray[np.uint16]], NDArray[np.float64]]
"""Takes labels, scores, the ``(n,)`` patient of each case and ``(draws, patients)`` how often each was drawn; gives
the statistic of every draw, NaN where a draw has none."""
_AnyStatistic = TypeVar("_AnyStatistic", bound=Statistic)
_MOST_CELLS = 2_000_000
_fast: dict[Statistic, Resampled] = {}


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


def resampled_by(fast: Resampled) -> Callable[[_AnyStatistic], _AnyStatistic]:
    """Register with :func:`bootstrap` how to find a statistic of every draw without drawing each case."""

    def register(statistic: _AnyStatistic) -> _AnyStatistic:
        _fast[statistic] = fast
        return statistic

    return register


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
    group, counts = _draws(patients, resamplings, seed)
    drawn = _statistics(statistic, labels, scores, group, counts)
    return _interval(statistic(labels, scores), drawn, labels, counts.shape[1])


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
    labels, first, second = np.asarray(labels), np.asarray(first), np.asarray(second)
    group, counts = _draws(patients, resamplings, seed)
    a, b = (_statistics(statistic, labels, scores, group, counts) for scores in (first, second))
    drawn = a - b
    interval = _interval(statistic(labels, first) - statistic(labels, second), drawn, labels, counts.shape[1])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return interval, float("nan")
    rarer = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return interval, float(min(1.0, max(2 * rarer, 1 / len(drawn))))


def ranked(
    labels: Floats, scores: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield, for some draws after the other, how many positives and negatives have each score.

    Yields
    ------
    tuple of numpy.ndarray
        Two of ``(draws, distinct scores)``, scores ascending.
    """
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    starts = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    positive, whose = labels[order] > 0.5, group[order]
    step = max(1, _MOST_CELLS // len(order))
    for first in range(0, len(counts), step):
        times = counts[first : first + step][:, whose].astype(np.float64)
        yes = np.add.reduceat(times * positive, starts, axis=1)
        yield yes, np.add.reduceat(times, starts, axis=1) - yes


def sums(
    columns: NDArray[np.floating], group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Sum columns over the cases of each draw.

    Parameters
    ----------
    columns
        ``(n, k)``.
    group, counts
        Of each case, and of each draw.

    Returns
    -------
    numpy.ndarray
        ``(draws, k)``.
    """
    each = np.stack(
        [np.bincount(group, weights=column, minlength=counts.shape[1]) for column in columns.T], axis=1
    )
    return np.asarray(counts.astype(np.float64) @ each)


def _draws(
    patients: NDArray[np.generic], resamplings: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.uint16]]:
    names, group = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = np.empty((resamplings, len(names)), np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
    return group, counts


def _statistics(
    statistic: Statistic, labels: Floats, scores: Floats, group: NDArray[np.intp], counts: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Return the statistic of every draw, case by case where there is no faster way."""
    if fast := _fast.get(statistic):
        return fast(labels, scores, group, counts)
    indices = (np.repeat(np.arange(len(labels)), drawn[group]) for drawn in counts)
    return np.array([statistic(labels[index], scores[index]) for index in indices])


def _interval(value: float, drawn: NDArray[np.float64], labels: Floats, patients: int) -> Interval:
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    first = labels if labels.ndim == 1 else labels[:, 0]
    return Interval(value, float(low), float(high), patients, int((first > 0.5).sum()), len(labels))

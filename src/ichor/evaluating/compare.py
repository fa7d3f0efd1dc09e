"""Two models on the same patients: what one does better, on the same draws, with the interval of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ichor.errors import UsageError
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import accurate_threshold, called_across_folds
from ichor.evaluating.metrics import Interval, paired_bootstrap, resamplings_for
from ichor.evaluating.out_of_fold import levels
from ichor.evaluating.predictions import OutOfFold

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """By how much the first model's figure exceeds the second's.

    Attributes
    ----------
    name
        Of the figure.
    interval
        Of the difference: first less second.
    p
        Two-sided, from the same draws.
    better
        ``first``, ``second``, or ``neither`` where the interval holds 0.
    """

    name: str
    interval: Interval
    p: float
    better: str


def compare(first: OutOfFold, second: OutOfFold) -> list[Difference]:
    """Compare two models, pair by pair: areas, weighted log loss, accuracy.

    Parameters
    ----------
    first, second
        Predictions on the same slices; labels that one of them does not tell are not compared.

    Raises
    ------
    UsageError
        Where the two are of other slices.
    """
    same = first.patients.shape == second.patients.shape and bool((first.patients == second.patients).all())
    unknown = np.isnan(first.labels) | np.isnan(second.labels) if same else np.array(True)
    if not same or not np.array_equal(first.labels[~unknown], second.labels[~unknown]):
        raise UsageError(
            f"comparison: found predictions on {len(first.patients)} and on {len(second.patients)} slices, or other "
            "labels; expected both on the same slices of the same data set"
        )
    out = []
    for a, b in zip(levels(first), levels(second), strict=True):
        known = a.known(0) & b.known(0)
        y, drawn = a.labels[known, 0], a.patients[known]
        n = resamplings_for(len(y))
        out.append(
            _difference(
                f"{a.name} AUC, any",
                paired_bootstrap(m.roc_auc, y, a.logits[known, 0], b.logits[known, 0], drawn, resamplings=n),
            )
        )
        if a.name != "exam" and not np.isnan(a.labels + b.labels).any():
            paired = paired_bootstrap(
                m.weighted_log_loss, a.labels, a.probabilities, b.probabilities, a.patients
            )
            out.append(_difference(f"{a.name} weighted log loss", paired, less_is_better=True))
        where = "exam" if a.name == "exam" else "slice"
        called = [called_across_folds(run, where, accurate_threshold)[known] for run in (first, second)]
        out.append(
            _difference(
                f"{a.name} accuracy, any",
                paired_bootstrap(m.accuracy, y, called[0], called[1], drawn),
            )
        )
    return out


def _difference(name: str, found: tuple[Interval, float], *, less_is_better: bool = False) -> Difference:
    interval, p = found
    sign = -1 if less_is_better else 1
    low, high = sorted((sign * interval.low, sign * interval.high))
    return Difference(name, interval, p, "first" if low > 0 else "second" if high < 0 else "neither")

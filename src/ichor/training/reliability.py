"""What a bundle says of its own reliability: operating points, the uncertain band, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ichor.detecting.manifest import (
    Measured,
    OperatingPoint,
    Scaling,
    SubtypePoint,
    Threshold,
    UncertainBand,
    scaled_probabilities,
)
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import (
    SUBTYPE_SPECIFICITY,
    called_across_folds,
    crossfit,
    sensitive_threshold,
    subtype_threshold,
)
from ichor.evaluating.calibration_errors import (
    debiased_calibration_error,
    smooth_calibration_error,
    under_perfect_calibration,
    weak_calibration,
)
from ichor.evaluating.conformal import ALPHA, exact_interval, fit_band, measure, smallest_alpha
from ichor.evaluating.metrics import Interval, bootstrap
from ichor.evaluating.out_of_fold import SENSITIVITIES
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABEL_NAMES

__all__ = [
    "calibration_rows",
    "measured",
    "operating_points",
    "subtype_points",
    "uncertain_band",
]

_GUARANTEE = (
    "Within each class at most {alpha:.0%} of exams lack their right answer, for exams whose scores are exchangeable "
    "with the measured ones: exactly so for one more exam of the same population in the same cross-validation. The "
    "network that ships trained on all exams: for it the level holds as far as its scores on new exams are distributed "
    "as those out "
    "of fold. With {positives} exams that bled and {negatives} that did not, no level below {least:.1%} can be reached."
)


def operating_points(run: OutOfFold, level: str, calibration: Sequence[Scaling]) -> list[OperatingPoint]:
    """Choose the thresholds of each sensitivity, and measure such thresholds across folds.

    Parameters
    ----------
    run
        Predictions out of fold.
    level
        ``exam`` or ``slice``.
    calibration
        Of the bundle: thresholds are probabilities after it.
    """
    logits, labels, patients = (
        (run.exam_logits, run.exam_labels, run.exam_patients)
        if level == "exam"
        else (run.logits, run.labels, run.patients)
    )
    known = ~np.isnan(labels[:, 0])
    y, p = labels[known, 0], scaled_probabilities(logits[known], calibration)[:, 0]
    drawn = run.drawn(patients)[known]
    points = []
    for aim in SENSITIVITIES:
        choose = sensitive_threshold(aim)
        called = called_across_folds(run, level, choose)[known]
        rates = [_rate(y, called, drawn, positive) for positive in (True, False)]
        protocol = f"threshold with {aim:.0%} sensitivity on the other folds"
        points.append(
            OperatingPoint(
                aim=aim,
                # Rounded down: what just reaches it still does.
                probability=math.floor(choose(y, p) * 1e4) / 1e4,
                sensitivity=measured(f"{level} sensitivity", rates[0], f"{level}s", protocol),
                specificity=measured(f"{level} specificity", rates[1], f"{level}s", protocol),
            )
        )
    return points


def subtype_points(run: OutOfFold, thresholds: Mapping[str, Threshold]) -> dict[str, SubtypePoint]:
    """Measure the thresholds of exams' subtypes across folds: each fold by one that was chosen on the others.

    Parameters
    ----------
    run
        Predictions out of fold.
    thresholds
        Of the bundle, by label; a subtype that the data does not tell has no point.
    """
    points = {}
    drawn, bleeds = run.drawn(run.exam_patients), run.exam_labels[:, 0] > 0.5
    protocol = f"threshold with {SUBTYPE_SPECIFICITY:.0%} specificity on the other folds"
    for j, name in enumerate(LABEL_NAMES[1:], start=1):
        y = run.exam_labels[:, j]
        known = ~np.isnan(y)
        if not 0 < y[known].sum() < known.sum() or not (known & bleeds & (y < 0.5)).any():
            continue
        called = called_across_folds(run, "exam", subtype_threshold, j)
        rates = {
            "sensitivity": _rate(y[known], called[known], drawn[known], positive=True),
            "specificity": _rate(y[known], called[known], drawn[known], positive=False),
        }
        others = known & bleeds
        rates["specificity among bleeds"] = _rate(y[others], called[others], drawn[others], positive=False)
        found = [measured(f"exam {rate}, {name}", i, "exams", protocol) for rate, i in rates.items()]
        points[name] = SubtypePoint(
            aim=SUBTYPE_SPECIFICITY,
            probability=thresholds[name].probability,
            sensitivity=found[0],
            specificity=found[1],
            among_bleeds=found[2],
        )
    return points


def _rate(
    y: NDArray[np.floating], called: NDArray[np.float64], drawn: NDArray[np.str_], positive: bool
) -> Interval:
    """Share of one class with the right verdict; exact where each patient has one case, else by resampling."""
    if len(np.unique(drawn)) < len(drawn):
        return bootstrap(m.sensitivity if positive else m.specificity, y, called, drawn)
    inside = (y > 0.5) == positive
    right = (called[inside] > 0.5) == positive
    return exact_interval(int(right.sum()), int(inside.sum()), int(inside.sum()) if positive else 0)


def uncertain_band(run: OutOfFold, calibration: Sequence[Scaling]) -> UncertainBand | None:
    """Fit the uncertain band and measure it across folds; None where the probability does not follow the score."""
    if run.kind == "pictures" or calibration[0].scale <= 0:
        return None
    y, x = run.exam_labels[:, 0], run.exam_logits[:, 0]
    band = fit_band(x, y)
    ends = [_probability(calibration, v) for v in (band.low, band.high)]
    protocol = "each fold by a band fitted on the other folds; exact binomial interval"
    return UncertainBand(
        alpha=ALPHA,
        # Rounded outwards: an exam on the border is uncertain.
        low=math.floor(ends[0] * 1e4) / 1e4,
        high=math.ceil(ends[1] * 1e4) / 1e4,
        positives=band.positives,
        negatives=band.negatives,
        guarantee=_GUARANTEE.format(
            alpha=ALPHA,
            positives=band.positives,
            negatives=band.negatives,
            least=max(smallest_alpha(band.positives), smallest_alpha(band.negatives)),
        ),
        measured=tuple(measured(name, i, "exams", protocol) for name, i in measure(run).items()),
    )


def _probability(calibration: Sequence[Scaling], logit: float) -> float:
    if math.isinf(logit):
        return float(logit > 0)
    return float(expit(calibration[0].scale * logit + calibration[0].offset))


def calibration_rows(run: OutOfFold) -> list[dict[str, Any]]:
    """Measure calibration of ``any`` out of fold in several ways, each beside what a perfect model would get.

    Returns
    -------
    list of dict
        ``name``, ``value``, ``low``, ``high`` and, of exams, what perfect probabilities would give: ``perfect`` on
        average, ``perfect_high`` in 95 of 100 cases, ``p`` the share of perfect models that look no better.
    """
    rows: list[dict[str, Any]] = []
    for level, logits, labels, folds, patients in (
        ("exam", run.exam_logits, run.exam_labels, run.exam_folds, run.exam_patients),
        ("slice", run.logits, run.labels, run.folds, run.patients),
    ):
        if run.kind == "pictures" and level == "exam":
            continue
        known = ~np.isnan(labels[:, 0])
        y = labels[known, 0].astype(np.float64)
        p = crossfit(logits[:, :1], labels[:, :1], folds, calibrated=run.calibrated)[known, 0]
        drawn = run.drawn(patients)[known]
        statistics = {
            "error in 10 bins of equal count": m.calibration_error,
            "smooth error (Blasiok and Nakkiran 2024)": smooth_calibration_error,
            "debiased root-mean-square error, 5 bins (Kumar et al. 2019)": debiased_calibration_error,
        }
        alone = len(np.unique(drawn)) == len(drawn)
        for name, statistic in statistics.items():
            i = bootstrap(statistic, y, p, drawn, resamplings=500)
            perfect = under_perfect_calibration(statistic, y, p) if alone else None
            rows.append(
                {
                    **_numbers({"value": i.value, "low": i.low, "high": i.high}),
                    "name": f"{level} calibration: {name}",
                    "n": i.n,
                    "perfect": None if perfect is None else round(perfect.mean, 3),
                    "perfect_high": None if perfect is None else round(perfect.high, 3),
                    "p": None if perfect is None else round(perfect.p, 2),
                }
            )
        for weak, name in ((_intercept, "intercept (0 is right)"), (_slope, "slope (1 is right)")):
            i = bootstrap(weak, y, p, drawn, resamplings=300)
            rows.append(
                {
                    **_numbers({"value": i.value, "low": i.low, "high": i.high}),
                    "name": f"{level} calibration: {name}",
                    "n": i.n,
                    **dict.fromkeys(("perfect", "perfect_high", "p")),
                }
            )
    return rows


def _intercept(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> float:
    return weak_calibration(labels, probabilities)[0]


def _slope(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> float:
    return weak_calibration(labels, probabilities)[1]


def measured(name: str, interval: Interval, kind: str, protocol: str) -> Measured:
    """Return a figure as ``bundle.json`` holds it."""
    i = interval
    unit = f"{i.n} {kind}, {i.positives} positive, {i.patients} patients"
    values = _numbers({"value": i.value, "low": i.low, "high": i.high})
    return Measured(name=name, **values, n=i.n, unit=unit, protocol=protocol)


def _numbers(values: dict[str, float]) -> dict[str, float | None]:
    return {k: None if math.isnan(v) else round(v, 4) for k, v in values.items()}

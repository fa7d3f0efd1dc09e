"""How right the probabilities are, how that is measured with few exams, and what operating points and bands give.

Usage: python -m benchmarks.accuracy.calibration RUN [--data DIR] [--draws N]

Needs only the predictions of a run's folds (benchmarks/runs/default). Prints what estimates of calibration give where
the truth is known (simulated), ways to calibrate beside each other, and the figures of the card.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import SHRINKAGES, crossfit, fit_calibration
from ichor.evaluating.calibration_errors import debiased_calibration_error, smooth_calibration_error
from ichor.evaluating.conformal import fit_band, measure
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.training.reliability import calibration_rows, operating_points

Floats = NDArray[np.floating]
Fit = Callable[[Floats, Floats], Callable[[Floats], Floats]]
ESTIMATES: dict[str, Callable[[Floats, Floats], float]] = {
    "10 bins": m.calibration_error,
    "5 bins": partial(m.calibration_error, bins=5),
    "smooth": smooth_calibration_error,
    "debiased, 5 bins": debiased_calibration_error,
}
DISTORTIONS = ((1, 0), (1.6, 0), (0.6, 0), (1, 0.6), (1, -0.6), (2.5, 0), (0.3, 0))


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--draws", type=int, default=500, help="of the simulation")
    options = arguments.parse_args()
    run = read_predictions(options.run, open_dataset(dataset_of(options.run), options.data))
    p = crossfit(run.exam_logits[:, :1], run.exam_labels[:, :1], run.exam_folds)[:, 0]
    print(f"\n### Estimates where the truth is known ({len(p)} exams, {options.draws} draws)\n")
    simulated(p, options.draws)
    print("\n### Ways to calibrate any hemorrhage, fitted on the other folds\n")
    ways(run)
    print("\n### Calibration as it ships, out of fold\n")
    heading(
        "figure",
        "value",
        "95 % interval",
        "perfect: mean",
        "perfect: 95 % below",
        "share of perfect no better",
    )
    for r in calibration_rows(run):
        perfect = [r[k] for k in ("perfect", "perfect_high", "p")]
        row(r["name"], f"{r['value']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}", *perfect)
    print("\n### Operating points, thresholds from the other folds\n")
    heading("of", "aim", "sensitivity", "specificity")
    for level, logits, labels, folds in (
        ("exam", run.exam_logits, run.exam_labels, run.exam_folds),
        ("slice", run.logits, run.labels, run.folds),
    ):
        for point in operating_points(run, level, fit_calibration(logits, labels, folds)):
            rates = (point.sensitivity, point.specificity)
            cells = [f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rates]
            row(level, f"{point.aim:.0%}", *cells)
    print("\n### Uncertain band, each fold by a band of the other folds\n")
    for alpha in (0.05, 0.1, 0.2):
        known = ~np.isnan(run.exam_labels[:, 0])
        band = fit_band(run.exam_logits[known, 0], run.exam_labels[known, 0], alpha)
        exams = f"{band.positives} and {band.negatives} exams"
        print(f"Level {1 - alpha:.0%}: logit {band.low:.2f} to {band.high:.2f}, from {exams}")
        for name, i in measure(run, alpha).items():
            print(f"- {name}: {i.value:.3f} ({i.low:.3f} to {i.high:.3f}), {i.n} exams")


def simulated(p: Floats, draws: int) -> None:
    """Take the measured probabilities for true, distort them, and see what each estimate makes of the error."""
    rng = np.random.default_rng(0)
    logit = np.log(p / (1 - p))
    heading("predicted (scale, offset of the logit)", "true error", *ESTIMATES)
    for scale, offset in DISTORTIONS:
        predicted = 1 / (1 + np.exp(-(scale * logit + offset)))
        found: dict[str, list[float]] = {name: [] for name in ESTIMATES}
        for _ in range(draws):
            some = rng.integers(len(p), size=len(p))
            y = (rng.random(len(p)) < p[some]).astype(float)
            for name, estimate in ESTIMATES.items():
                found[name].append(estimate(y, predicted[some]))
        cells = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in found.values()]
        row(f"{scale:g}, {offset:g}", f"{np.abs(predicted - p).mean():.3f}", *cells)


def ways(run: OutOfFold) -> None:
    """Compare ways to calibrate; the one that ships chooses its shrinkage within the other folds."""
    fits: dict[str, Fit] = {
        "none (sigmoid of the logit)": lambda x, y: _sigmoid,
        **{f"Platt, shrinkage 1/{c:g}": _platt(c) for c in SHRINKAGES},
        "temperature alone": _temperature,
        "beta": _beta,
        "isotonic": _isotonic,
    }
    heading("level", "way", "log loss", "Brier score", "error, 10 bins", "smooth error")
    for level, x, y, folds in (
        ("exam", run.exam_logits[:, 0], run.exam_labels[:, 0], run.exam_folds),
        ("slice", run.logits[:, 0], run.labels[:, 0], run.folds),
    ):
        known = ~np.isnan(y)
        x, y, folds = x[known], y[known], folds[known]
        predicted = {"Platt, shrinkage chosen within (ships)": crossfit(x[:, None], y[:, None], folds)[:, 0]}
        for name, fit in fits.items():
            p = np.zeros(len(x))
            for fold in np.unique(folds):
                inside = folds == fold
                p[inside] = fit(x[~inside], y[~inside])(x[inside])
            predicted[name] = p
        for name, p in predicted.items():
            p = np.clip(p, 1e-4, 1 - 1e-4)  # isotonic gives 0 and 1
            errors = m.calibration_error(y, p), smooth_calibration_error(y, p)
            figures = (m.log_loss(y, p), float(np.mean((y - p) ** 2)), *errors)
            row(level, name, *(f"{v:.3f}" for v in figures))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))


def _platt(c: float) -> Fit:
    def fit(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
        centre, spread = x.mean(), x.std()
        model = LogisticRegression(C=c).fit((x[:, None] - centre) / spread, y)
        return lambda v: np.asarray(model.predict_proba((v[:, None] - centre) / spread)[:, 1])

    return fit


def _temperature(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    model = LogisticRegression(C=1e4, fit_intercept=False).fit(x[:, None], y)
    return lambda v: np.asarray(model.predict_proba(v[:, None])[:, 1])


def _beta(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Kull, Silva Filho, Flach (AISTATS 2017): logistic regression on the logs of p and of 1 - p."""

    def terms(v: Floats) -> Floats:
        return np.stack([-np.logaddexp(0, -v), np.logaddexp(0, v)], axis=1)

    model = LogisticRegression(C=1e4, max_iter=1000).fit(terms(x), y)
    return lambda v: np.asarray(model.predict_proba(terms(v))[:, 1])


def _isotonic(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    return lambda v: np.asarray(model.predict(v))


if __name__ == "__main__":
    main()

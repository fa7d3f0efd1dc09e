"""The uncertain band: its stated guarantee on drawn scores, its ends by hand, and no fold sees itself."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from ichor.evaluating.conformal import exact_interval, fit_band, measure, smallest_alpha
from ichor.evaluating.predictions import OutOfFold


def scored(n, gap, seed=0, positives=0.4):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < positives).astype(float)
    return y, rng.normal(size=n) + gap * y


def test_the_ends_by_hand():
    scores = np.array([*range(10, 19), *range(9)], float)  # nine that bled, nine that did not
    labels = np.repeat([1.0, 0.0], 9)
    band = fit_band(scores, labels, 0.1)  # (count + 1) / 10 > 0.1: as strange as the strangest measured
    assert (band.low, band.high, band.overlap) == (8, 10, False)
    assert band.holds(np.array([8.0, 9, 10]), True).tolist() == [False, False, True]
    assert band.holds(np.array([8.0, 9, 10]), False).tolist() == [True, False, False]
    assert band.uncertain(np.array([8.0, 9, 10])).tolist() == [False, True, False]  # 9: neither is likely
    assert np.isinf(fit_band(scores, labels, 0.05).low)  # nine exams cannot tell 5 % apart
    assert smallest_alpha(9) == pytest.approx(0.1)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("gap", [0.5, 2.0, 5.0])
def test_coverage_within_each_class_is_at_least_what_is_stated(alpha, gap):
    right = {True: [], False: []}
    for seed in range(300):
        y, x = scored(67, gap, seed)
        band = fit_band(x[:-1], y[:-1], alpha)
        kind = bool(y[-1])
        right[kind].append(bool(band.holds(x[-1:], kind)[0]))
    for answers in right.values():
        # Three standard errors: 300 draws are not endless.
        assert np.mean(answers) > 1 - alpha - 3 * np.sqrt(alpha * (1 - alpha) / len(answers))


def test_uncertain_is_where_the_answers_are_not_one():
    y, x = scored(200, 1.5)
    band = fit_band(x, y, 0.1)
    both = band.holds(x, True) == band.holds(x, False)
    assert np.array_equal(band.uncertain(x), both) and 0 < both.mean() < 1


def out_of_fold(y, x):
    names = np.array([f"p{k}" for k in range(len(y))])
    folds = np.arange(len(y)) % 5
    logits, labels = np.repeat(x[:, None], 6, 1), np.repeat(y[:, None], 6, 1).astype(np.float32)
    return OutOfFold(names, folds, logits, labels, names, folds, logits, labels)


def test_measured_across_folds():
    y, x = scored(400, 2.0)
    run = out_of_fold(y, x)
    found = measure(run)
    assert found["coverage, hemorrhage"].value > 0.85 and found["coverage, no hemorrhage"].value > 0.85
    assert found["uncertain"].n == 400 and 0 < found["uncertain"].value < 0.5
    assert found["error among the certain"].n == 400 - round(400 * found["uncertain"].value)
    unknown = replace(run, exam_labels=np.where(np.arange(400)[:, None] < 100, np.nan, run.exam_labels))
    assert measure(unknown)["uncertain"].n == 300
    # A fold that is all different keeps its own errors: it is not asked what its band is.
    fold = run.exam_folds == 0
    wrong = measure(replace(run, exam_labels=np.where(fold[:, None], 1 - run.exam_labels, run.exam_labels)))
    assert wrong["error among the certain"].value > 2 * found["error among the certain"].value


def test_exact_intervals_are_clopper_and_pearsons():
    interval = exact_interval(28, 28)
    assert interval.low == pytest.approx(0.025 ** (1 / 28)) and interval.high == 1
    assert np.isnan(exact_interval(0, 0).value)

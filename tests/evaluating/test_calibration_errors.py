"""Estimates of calibration against known truth: what chance gives, what a distortion gives."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from ichor.evaluating.calibration import crossfit, fit_calibration
from ichor.evaluating.calibration_errors import (
    debiased_calibration_error,
    smooth_calibration_error,
    under_perfect_calibration,
    weak_calibration,
)
from ichor.evaluating.metrics import calibration_error


def drawn(n, scale=1.0, offset=0.0, seed=0):
    """Labels of known probabilities, and what someone says whose logits are off."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.5, 2, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    said = 1 / (1 + np.exp(-(scale * logit + offset)))
    return y, said, np.abs(said - 1 / (1 + np.exp(-logit))).mean()


def test_with_many_cases_every_estimate_is_near_the_truth():
    for scale, offset in ((1, 0), (1, 0.8), (1, -0.8)):
        y, said, truth = drawn(40000, scale, offset)
        assert smooth_calibration_error(y, said) == pytest.approx(truth, abs=0.015)
        assert calibration_error(y, said) == pytest.approx(truth, abs=0.015)


def test_with_few_cases_bins_find_an_error_where_there_is_none():
    found = {s: np.mean([s(*drawn(66, seed=k)[:2]) for k in range(150)]) for s in (
        calibration_error, smooth_calibration_error, debiased_calibration_error
    )}  # fmt: skip
    assert found[calibration_error] > 0.09 > 0.08 > found[smooth_calibration_error]
    assert found[debiased_calibration_error] < found[smooth_calibration_error]


def test_what_a_perfect_model_gets():
    y, said, _ = drawn(66)
    fair = under_perfect_calibration(calibration_error, y, said, draws=300)
    assert 0.08 < fair.mean < fair.high < 0.25 and fair.p > 0.02
    wrong = under_perfect_calibration(calibration_error, 1 - y, said, draws=300)
    assert wrong.p == pytest.approx(1 / 301)
    assert wrong.mean == fair.mean  # rests on the probabilities alone


def test_no_cases_and_few_cases():
    assert np.isnan(smooth_calibration_error(np.empty(0), np.empty(0)))
    assert np.isnan(debiased_calibration_error(np.array([1.0, 0]), np.array([0.5, 0.5])))
    assert smooth_calibration_error(np.array([1.0, 1]), np.array([1.0, 1])) < 1e-5
    assert np.isnan(weak_calibration(np.ones(5), np.full(5, 0.5))).all()


def test_intercept_and_slope_tell_how_logits_are_off():
    y, said, _ = drawn(40000, scale=2.0)
    assert weak_calibration(y, said)[1] == pytest.approx(0.5, abs=0.03)
    y, said, _ = drawn(40000, offset=1.0)
    intercept, slope = weak_calibration(y, said)
    assert intercept == pytest.approx(-1, abs=0.05) and slope == pytest.approx(1, abs=0.05)


def test_the_shrinkage_is_chosen_inside_and_never_by_the_fold_it_is_used_on():
    rng = np.random.default_rng(3)
    x = rng.normal(0, 6, (200, 1))
    y = rng.random(200) < 1 / (1 + np.exp(-x[:, 0]))
    folds = np.arange(200) % 5
    labels = y[:, None].astype(np.float32)
    first_of_all = fit_calibration(x, labels)
    chosen = fit_calibration(x, labels, folds)
    assert chosen[0].scale > 1.1 * first_of_all[0].scale  # a clear relation needs less shrinkage
    few = np.where(np.cumsum(y) <= 5, labels[:, 0], 0)[:, None]
    assert fit_calibration(x, few, folds)[0].scale == fit_calibration(x, few)[0].scale  # too few to choose by
    first = crossfit(x, labels, folds)
    changed = labels.copy()
    changed[folds == 2] = 1 - changed[folds == 2]
    second = crossfit(x, changed, folds)
    assert np.array_equal(first[folds == 2], second[folds == 2])
    assert not np.allclose(first[folds != 2], second[folds != 2])

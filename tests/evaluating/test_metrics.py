import numpy as np
import pytest

from ichor.evaluating.metrics import (
    bootstrap,
    calibration_error,
    roc_auc,
    sensitivity_specificity,
    weighted_log_loss,
)


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 12, 80)
    pairs = [
        1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[labels == 1] for n in scores[labels == 0]
    ]
    assert roc_auc(labels, scores) == pytest.approx(np.mean(pairs))


def test_auc_of_one_class_is_nan():
    assert np.isnan(roc_auc(np.ones(4), np.arange(4)))


def test_sensitivity_and_specificity_count_the_threshold_as_positive():
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.5, 0.4, 0.5, 0.1, 0.2])
    assert sensitivity_specificity(labels, scores, 0.5) == (0.5, pytest.approx(2 / 3))


def test_log_loss_is_rsna_s():
    labels = np.array([[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    p = np.array([[0.9, 0.1, 0.7, 0.2, 0.1, 0.1], [0.2, 0.1, 0.1, 0.1, 0.1, 0.1]])
    weights = np.array([2, 1, 1, 1, 1, 1]) / 7
    by_hand = [
        sum(
            w * -(y * np.log(q) + (1 - y) * np.log(1 - q))
            for w, y, q in zip(weights, row, probs, strict=True)
        )
        for row, probs in zip(labels, p, strict=True)
    ]
    assert weighted_log_loss(labels, p) == pytest.approx(np.mean(by_hand))


def test_log_loss_is_finite_at_zero_and_one():
    assert np.isfinite(weighted_log_loss(np.ones((1, 6)), np.zeros((1, 6))))


def test_calibration_error_is_small_where_frequencies_follow_probabilities():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    labels = rng.uniform(size=20_000) < p
    assert calibration_error(labels, p) < 0.015
    assert calibration_error(labels, np.full(20_000, 0.9)) == pytest.approx(0.4, abs=0.02)


def test_bootstrap_draws_patients_not_slices():
    # Every patient's slices are copies: as many slices as one likes must not narrow the interval.
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 40), rng.normal(size=40)
    scores += labels
    one = bootstrap(roc_auc, labels, scores, np.arange(40), resamplings=400)
    many = bootstrap(
        roc_auc, np.repeat(labels, 50), np.repeat(scores, 50), np.repeat(np.arange(40), 50), resamplings=400
    )
    assert one.patients == many.patients == 40
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)
    assert one.low < one.value < one.high

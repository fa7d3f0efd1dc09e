"""Draws of patients: the fast ways give what drawing each case gives; people are drawn, not their exams."""

import numpy as np
import pytest

from ichor.evaluating import metrics as m
from ichor.evaluating.resampling import bootstrap, paired_bootstrap, ranked, sums


@pytest.fixture
def cases():
    """Forty patients of 1 to 8 slices, ties among the scores, some patients of one class only."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    labels = ((rng.random(len(who)) < 0.3) & (who % 3 > 0)).astype(np.float32)
    return labels, np.round(labels * 0.2 + rng.random(len(who)) * 0.8, 2), who


@pytest.mark.parametrize(
    "name", ["roc_auc", "pr_area", "accuracy", "sensitivity", "specificity", "precision", "f1", "log_loss"]
)
def test_fast_draws_are_slow_draws(cases, name):
    if name == "pr_area":
        pytest.importorskip("sklearn", reason="needs the extra 'train'")
    labels, scores, who = cases
    statistic = getattr(m, name)
    if name in ("accuracy", "sensitivity", "specificity", "precision", "f1"):
        scores = (scores > 0.7).astype(float)
    fast = bootstrap(statistic, labels, scores, who, resamplings=60)
    slow = bootstrap(lambda y, s: statistic(y, s), labels, scores, who, resamplings=60)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), rel=1e-9)
    assert fast.low < fast.high and (fast.n, fast.patients, fast.positives) == (
        slow.n,
        slow.patients,
        slow.positives,
    )


def test_fast_log_loss_of_six_labels(cases):
    _, _, who = cases
    rng = np.random.default_rng(0)
    labels, p = (rng.random((len(who), 6)) > 0.8).astype(float), rng.random((len(who), 6))
    fast = bootstrap(m.weighted_log_loss, labels, p, who, resamplings=50)
    slow = bootstrap(lambda y, s: m.weighted_log_loss(y, s), labels, p, who, resamplings=50)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_fast_calibration_error_where_no_scores_are_tied(cases):
    labels, _, who = cases
    p = np.random.default_rng(1).random(len(who))
    fast = bootstrap(m.calibration_error, labels, p, who, resamplings=50)
    slow = bootstrap(lambda y, s: m.calibration_error(y, s), labels, p, who, resamplings=50)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_draws_of_one_class_are_left_out():
    labels, scores, who = np.array([1.0, 0, 0]), np.array([0.9, 0.1, 0.2]), np.arange(3)
    found = bootstrap(m.roc_auc, labels, scores, who, resamplings=200)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    none = bootstrap(m.roc_auc, np.zeros(3), scores, who, resamplings=20)
    assert np.isnan([none.value, none.low, none.high]).all()


def test_counts_and_ranks_by_hand():
    labels, scores, group = np.array([1.0, 0, 1, 0]), np.array([0.5, 0.5, 0.9, 0.1]), np.array([0, 0, 1, 1])
    counts = np.array([[2, 0], [1, 1]], np.uint16)
    ((yes, no),) = ranked(labels, scores, group, counts)
    assert yes.tolist() == [[0, 2, 0], [0, 1, 1]] and no.tolist() == [[0, 2, 0], [1, 1, 0]]
    assert sums(np.array([[1.0, 10], [2, 20], [3, 30], [4, 40]]), group, counts).tolist() == [
        [6, 60],
        [10, 100],
    ]


def test_pairs_are_drawn_alike(cases):
    labels, scores, who = cases
    same, p = paired_bootstrap(m.roc_auc, labels, scores, scores, who, resamplings=50)
    assert (same.value, same.low, same.high, p) == (0, 0, 0, 1)
    fast, p = paired_bootstrap(m.roc_auc, labels, scores + labels, scores, who, resamplings=50)
    slow, q = paired_bootstrap(
        lambda y, s: m.roc_auc(y, s), labels, scores + labels, scores, who, resamplings=50
    )
    assert (fast.value, fast.low, fast.high, p) == pytest.approx((slow.value, slow.low, slow.high, q))
    assert p == 1 / 50

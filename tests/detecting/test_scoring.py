"""The one scorer: the grid decides, native slices are shown; thin slices make no exam more suspicious."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichor.detecting.rules import ExamRule, ScoringRules, SliceRule
from ichor.detecting.scoring import Prediction, interpolated, score, sigmoid, top_k_mean
from ichor.preparing.grid import SliceDistances

GRAPH = ScoringRules(SliceRule(kind="graph"), ExamRule(), 12.0)


def of_slices(values: np.ndarray) -> Prediction:
    return Prediction(None, np.asarray(values, np.float32))


def distances(grid: np.ndarray, native: np.ndarray) -> SliceDistances:
    return SliceDistances(np.asarray(grid, float), np.asarray(native, float))


def bleed(m: int = 28) -> np.ndarray:
    """One small bleed: two slices of the grid stand out."""
    logits = np.full((m, 6), -5.0)
    logits[12], logits[13] = 2.0, 1.0
    return logits


def test_the_exam_is_the_mean_of_the_top_slices_of_the_grid() -> None:
    grid = 5.0 * np.arange(28)
    scores = score(of_slices(bleed()), distances(grid, grid), GRAPH)
    np.testing.assert_array_equal(scores.exam, np.full(6, 1.5))
    np.testing.assert_array_equal(scores.rule, bleed())
    np.testing.assert_array_equal(scores.grid, bleed())
    np.testing.assert_array_equal(scores.native, bleed())


@pytest.mark.parametrize("step", [0.6, 1.25, 2.5])
def test_thin_slices_get_values_between_and_decide_nothing(step: float) -> None:
    """Counted in native slices the same bleed was worth up to 0.5 more: both of the top two lie near its middle."""
    grid = 5.0 * np.arange(28)
    native = np.arange(-5.0, grid[-1] + 5, step)
    scores = score(of_slices(bleed()), distances(grid, native), GRAPH)
    np.testing.assert_array_equal(scores.exam, np.full(6, 1.5))
    assert scores.native.shape == (len(native), 6)
    expected = np.interp(native, grid, bleed()[:, 0])
    np.testing.assert_allclose(scores.native[:, 3], expected, atol=1e-12)
    assert top_k_mean(scores.native, 2)[0] > 1.5 + 0.1, "what counting native slices would have given"


@given(
    logits=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=12),
    native=st.lists(st.floats(-20, 80), min_size=1, max_size=200),
    k=st.integers(1, 4),
)
@settings(deadline=None)
def test_the_exam_never_depends_on_the_native_slices(
    logits: list[float], native: list[float], k: int
) -> None:
    values = np.repeat(np.array(logits)[:, None], 6, axis=1)
    grid = 5.0 * np.arange(len(logits))
    rules = ScoringRules(SliceRule(kind="graph"), ExamRule(slices=k), 12.0)
    alone = score(of_slices(values), distances(grid, grid), rules)
    many = score(of_slices(values), distances(grid, np.sort(native)), rules)
    np.testing.assert_array_equal(many.exam, alone.exam)
    np.testing.assert_array_equal(many.grid, alone.grid)
    assert many.native.shape == (len(native), 6)
    assert values.min() - 1e-9 <= many.native.min() and many.native.max() <= values.max() + 1e-9
    np.testing.assert_allclose(
        alone.exam[0], np.mean(sorted(np.float32(logits))[-k:], dtype=np.float64), atol=1e-6
    )


def test_a_single_slice_stands_for_itself_and_is_not_stacked() -> None:
    def stacking(rule: np.ndarray, prediction: Prediction) -> np.ndarray:
        raise AssertionError("a single slice has no others to be weighed with")

    for native in ([0.0], [0.0, 1.0, 2.0]):
        scores = score(of_slices(np.full((1, 6), 0.7)), distances([0.0], native), GRAPH, stacking)
        np.testing.assert_allclose(scores.exam, 0.7, atol=1e-6)
        np.testing.assert_allclose(scores.native, np.full((len(native), 6), 0.7), atol=1e-6)


def test_the_pooled_head_counts_by_its_share_where_a_slice_is_alone() -> None:
    rules = ScoringRules(SliceRule(pixels=1, pooled_share=0.25), ExamRule(), 12.0)
    many = Prediction(np.ones((3, 6, 2, 2), np.float32), np.ones((3, 6)), np.full((3, 6), 5.0))
    one = Prediction(*(part[:1] for part in many[:3]))
    np.testing.assert_allclose(score(one, distances([0.0], [0.0]), rules).exam, 2.0)
    np.testing.assert_allclose(score(many, distances([0, 5, 10], [0, 5, 10]), rules).grid, 1.0)
    without = Prediction(one.maps, one.slices)
    np.testing.assert_allclose(score(without, distances([0.0], [0.0]), rules).exam, 1.0)


def test_stacking_decides_and_the_rule_is_kept_beside_it() -> None:
    given: list[object] = []

    def stacking(rule: np.ndarray, prediction: Prediction) -> np.ndarray:
        given.extend([rule, prediction])
        return rule + np.arange(len(rule))[:, None]

    prediction, grid = of_slices(np.zeros((5, 6))), 5.0 * np.arange(5)
    scores = score(prediction, distances(grid, np.array([2.5, 17.5])), GRAPH, stacking)
    assert given[1] is prediction
    np.testing.assert_array_equal(scores.rule, 0)
    np.testing.assert_array_equal(scores.grid[:, 0], np.arange(5))
    np.testing.assert_array_equal(scores.exam, np.full(6, 3.5))
    np.testing.assert_allclose(scores.native[:, 0], [0.5, 3.5])


def test_maps_are_smoothed_along_the_stack_but_over_no_gap() -> None:
    rules = ScoringRules(SliceRule(weights=(1.0, 2.0, 1.0), pixels=2), ExamRule(slices=1), 12.0)
    maps = np.zeros((4, 6, 2, 3), np.float32)
    maps[1, :, 0, :2] = [4.0, 8.0]
    slices = np.full((4, 6), -9.0, np.float32)
    near = score(Prediction(maps, slices), distances([0, 5, 10, 15], [0, 5, 10, 15]), rules)
    np.testing.assert_allclose(near.rule[:, 0], [1.5, 3.0, 1.5, 0.0])
    np.testing.assert_allclose(near.exam, 3.0)
    # The slice above lies 30 mm away: each stands in for the other side itself.
    far = score(Prediction(maps, slices), distances([0, 5, 35, 40], [0, 5, 35, 40]), rules)
    np.testing.assert_allclose(far.rule[:, 0], [1.5, 4.5, 0.0, 0.0])


def test_outputs_of_another_exam_are_refused() -> None:
    with pytest.raises(ValueError, match="outputs: found 3 slices; expected 2, as the grid has"):
        score(of_slices(np.zeros((3, 6))), distances([0, 5], [0, 5]), GRAPH)


def test_values_are_carried_flat_beyond_the_ends() -> None:
    found = interpolated(np.array([[1.0], [3.0]]), distances([0, 5], [-20, 0, 2.5, 5, 99]))
    np.testing.assert_allclose(found[:, 0], [1, 1, 2, 3, 3])


def test_sigmoid_is_that_of_scipy() -> None:
    from scipy.special import expit

    x = np.concatenate([np.linspace(-60, 60, 4001), [-1e4, 1e4, 0.0]])
    np.testing.assert_allclose(sigmoid(x), expit(x), rtol=1e-14, atol=0)
    assert sigmoid(x.astype(np.float32)).dtype == np.float32

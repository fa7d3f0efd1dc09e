"""A window that is moved over a volume: every voxel is scored as it would be at once, wherever windows meet."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ichor.detecting.sliding_window import SlidingWindow, slide


@pytest.mark.parametrize("placed", ["even", "steps", "tiles"])
@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(20, 31, 17), (5, 9, 40)])
def test_windows_with_context_give_what_the_whole_does(
    placed: str, weights: str, shape: tuple[int, int, int]
) -> None:
    volume = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    plan = SlidingWindow(
        size=(8, 10, 12), context=(2, 2, 2), overlap=0.3, placed=placed, weights=weights, beyond="edge"
    )
    windows = []

    def run(part: np.ndarray) -> np.ndarray:
        windows.append(part.shape)
        mean = ndimage.uniform_filter(part[0], 5, mode="constant")
        return np.stack([mean, -mean])[:, 2:-2, 2:-2, 2:-2]

    found = slide(volume, plan, run)
    np.testing.assert_allclose(found[0], ndimage.uniform_filter(volume[0], 5, mode="nearest"), atol=1e-5)
    np.testing.assert_array_equal(found[1], -found[0])
    assert set(windows) == {(1, 12, 14, 16)}


def test_a_window_of_one_value_is_scored_once() -> None:
    volume = np.zeros((1, 40, 40, 40), np.float32)
    volume[:, :10, :10, :10] = np.random.default_rng(0).normal(size=(10, 10, 10))
    volume[:, 20:] = 1
    calls = []
    plan = SlidingWindow(size=(10, 10, 10), overlap=0, placed="steps", weights="uniform")
    found = slide(volume, plan, lambda part: calls.append(1) or part * 2)
    np.testing.assert_array_equal(found, volume * 2)
    assert len(calls) == 3  # of 64 windows: what differs, air, and the one value


def test_places_and_weights_are_those_of_the_publishers() -> None:
    even = SlidingWindow(size=(8, 48, 40), middle="upper")
    # As nnU-Net moves a window of 48 voxels over 133 of them, half a window at most at a time.
    assert even.starts(133, 1) == [0, 21, 42, 64, 85]
    assert even.starts(8, 0) == [0]
    steps = SlidingWindow(size=(48, 48, 48), overlap=0.25, placed="steps", weights="gaussian", least=1e-3)
    assert steps.starts(133, 0) == [0, 36, 72, 85]  # as MONAI does: the last one moved back
    weight = even.weight()
    assert weight.argmax() == np.ravel_multi_index((4, 24, 20), weight.shape)
    assert steps.weight().min() == pytest.approx(1e-3)
    with pytest.raises(ValueError, match="1 or more"):
        SlidingWindow(size=(0, 1, 1))

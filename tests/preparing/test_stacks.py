from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ichor.exam import Picture, Source
from ichor.preparing import BRAIN, Channel, Preparation, prepare
from ichor.preparing.stacks import neighbour_indices


def plain_neighbour(distances: list[float], k: int, offset: int, max_gap: float) -> int:
    """One step at a time, staying where it cannot go on."""
    step = 1 if offset > 0 else -1
    for _ in range(abs(offset)):
        if 0 <= k + step < len(distances) and abs(distances[k + step] - distances[k]) <= max_gap:
            k += step
    return k


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize(
    "distances",
    [[0.0], [0, 5, 10, 15, 20.0], [0, 5, 30, 35, 40, 60.0], [0, 20.0]],
    ids=["one", "even", "holes", "far"],
)
def test_neighbours_are_those_of_the_plain_walk(distances: list[float], offset: int) -> None:
    found = neighbour_indices(np.array(distances), offset, 12.0)
    assert found.tolist() == [plain_neighbour(distances, k, offset, 12.0) for k in range(len(distances))]


def test_stack_is_windows_of_neighbours() -> None:
    rng = np.random.default_rng(5)
    hu = rng.normal(30, 40, (4, 6, 5)).astype(np.float32)
    preparation = Preparation(
        rows=6,
        columns=5,
        channels=(Channel(offset=-1, level=40, width=80), Channel(offset=2, level=80, width=200)),
    )
    stack = preparation.stack(hu, np.array([0.0, 5, 10, 30]))
    assert stack.shape == (4, 2, 6, 5)
    assert stack.dtype == np.float32
    for k, (below, above) in enumerate([(0, 2), (0, 2), (1, 2), (3, 3)]):
        np.testing.assert_allclose(stack[k, 0], np.clip(hu[below] / 80, 0, 1), atol=1e-6)
        np.testing.assert_allclose(stack[k, 1], np.clip((hu[above] + 20) / 200, 0, 1), atol=1e-6)


def test_prepare_an_exam(head_in: Callable[[str], Any]) -> None:
    exam = head_in("tilted").exam
    prepared = prepare(exam, Preparation())
    assert prepared.stack.shape == (exam.n_slices, 4, 320, 256)
    assert 0 <= prepared.stack.min() <= prepared.stack.max() <= 1
    np.testing.assert_array_equal(prepared.stack[:, 1], BRAIN.apply(prepared.hu))
    np.testing.assert_array_equal(prepared.stack[1:, 0], prepared.stack[:-1, 1])
    np.testing.assert_array_equal(prepared.stack[:-1, 2], prepared.stack[1:, 1])


def test_prepare_a_picture() -> None:
    """A picture is one slice in the brain window; its neighbours are itself."""
    rows, columns = np.mgrid[:400, :300]
    radius = np.hypot((rows - 200) / 180, (columns - 150) / 140)
    grey = np.where(radius < 0.9, 100, np.where(radius < 1, 255, 0)).astype(np.uint8)
    prepared = prepare(Picture(grey, Source("p.png", "picture"), (0, 0, 400, 300), (400, 300)), Preparation())
    assert prepared.stack.shape == (1, 4, 320, 256)
    np.testing.assert_array_equal(prepared.stack[0, 0], prepared.stack[0, 1])
    assert prepared.stack[0, 1, 160, 128] == pytest.approx(100 / 255, abs=0.01)


def test_training_windows_as_detection_does() -> None:
    """One code path in effect: the network is trained on what it is asked about."""
    torch = pytest.importorskip("torch")
    from ichor.training.module import channels_of

    rng = np.random.default_rng(8)
    hu = rng.normal(35, 60, (5, 8, 7)).astype(np.float32)
    preparation = Preparation(rows=8, columns=7)
    expected = preparation.stack(hu, 5.0 * np.arange(5))
    at = np.clip(np.arange(5)[:, None] + [-1, 0, 1], 0, 4)
    found = channels_of(torch.from_numpy(hu[at]), preparation).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@st.composite
def _exams(draw: st.DrawFn) -> list[np.ndarray]:
    """Distances of the slices of some exams: even or not, with gaps about as wide as the widest that counts."""
    gaps = st.lists(st.sampled_from([0.6, 2.5, 5.0, 11.99, 12.0, 12.01, 30.0]), min_size=0, max_size=5)
    return [np.concatenate([[0.0], np.cumsum(draw(gaps))]) for _ in range(draw(st.integers(1, 3)))]


@given(
    exams=_exams(),
    channels=st.lists(
        st.tuples(st.integers(-1, 1), st.sampled_from([(40, 80), (80, 200), (50, 130)])),
        min_size=1,
        max_size=5,
    ),
    max_gap=st.sampled_from([0.5, 5.0, 12.0, 100.0]),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_training_sees_what_detection_sees(
    exams: list[np.ndarray], channels: list[tuple[int, tuple[int, int]]], max_gap: float, seed: int
) -> None:
    """Whatever the offsets, their order and the gaps: a store's slices become the stack of their exam, bit for bit."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from ichor.datasets.store import Store
    from ichor.training.module import channels_of

    preparation = Preparation(
        rows=4,
        columns=3,
        max_gap_mm=max_gap,
        channels=tuple(Channel(offset=o, level=level, width=width) for o, (level, width) in channels),
    )
    rng = np.random.default_rng(seed)
    sizes = [len(distances) for distances in exams]
    hu = rng.normal(40, 60, (sum(sizes), 4, 3)).astype(np.float32)
    ends = np.cumsum(sizes)
    whole = [hu[end - n : end] for end, n in zip(ends, sizes, strict=True)]
    expected = np.concatenate([preparation.stack(h, d) for h, d in zip(whole, exams, strict=True)])
    number = np.repeat(np.arange(len(exams)), sizes)
    nothing = np.zeros((len(hu), 6), np.float32)
    patients = tuple(str(k) for k in range(len(exams)))
    ranges = np.tile([-1024.0, 3071.0], (len(exams), 1))
    store = Store(
        "made", hu, hu, nothing, np.concatenate(exams), number, patients, ranges, ("measured",) * len(exams)
    )
    index = rng.permutation(len(hu))
    planes = torch.from_numpy(store.hu[store.neighbours(index, preparation.max_gap_mm)])
    np.testing.assert_array_equal(channels_of(planes, preparation).numpy(), expected[index])


@pytest.mark.parametrize("offset", [-2, 2, 3])
def test_training_refuses_neighbours_that_it_does_not_hold(offset: int) -> None:
    """An offset of -2 was taken from the slice above without a word."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from pydantic import ValidationError

    from ichor.training.module import channels_of
    from ichor.training.recipe import Recipe

    preparation = Preparation(channels=(Channel(offset=offset, level=40, width=80),))
    with pytest.raises(ValueError, match=f"found 3 planes a slice; expected {2 * abs(offset) + 1}"):
        channels_of(torch.zeros(1, 3, 4, 4), preparation)
    with pytest.raises(ValidationError, match=rf"offset of {abs(offset)} places; expected -1, 0 or 1"):
        Recipe(name="far", description="", preparation=preparation)

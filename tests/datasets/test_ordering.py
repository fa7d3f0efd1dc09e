"""Slices stored without positions: stacks that reach the vertex and go on from lower down are merged back."""

import numpy as np
import pytest

from ichor.datasets.ordering import spatial_order
from ichor.datasets.registry import open_dataset

HEIGHTS = 18


def head(height):
    """A slice of a made head: an ellipse that shrinks to the vertex, with a structure that moves on the way."""
    rows, columns = np.mgrid[:192, :192] - 96
    size = 80 * np.sqrt(1 - (height / HEIGHTS) ** 2) + 2
    picture = np.where(np.hypot(rows, columns * 1.2) < size, 90, 0)
    picture[np.hypot(rows - 50 + 4 * height, columns - 10) < 14] = 200
    return picture.astype(np.uint8)


def test_a_stack_that_ascends_stays_as_it_is():
    np.testing.assert_array_equal(spatial_order([head(k) for k in range(HEIGHTS)]), np.arange(HEIGHTS))


@pytest.mark.parametrize("later", [(3,), (0, 5, 6, 12), (8, 17), (1, 2, 3)])
def test_slices_that_follow_the_vertex_go_back_to_their_places(later):
    stored = [k for k in range(HEIGHTS) if k not in later] + list(later)
    order = spatial_order([head(k) for k in stored])
    assert [stored[k] for k in order] == list(range(HEIGHTS))


def test_no_slice_is_lost_where_nothing_is_alike():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 64), np.uint8) for _ in range(12)]
    assert sorted(spatial_order(pictures)) == list(range(12))


def test_every_bleed_of_phe_sich_is_in_one_piece(shared_data):
    """The order is found without labels: that each exam's positive slices follow each other confirms it."""
    dataset = open_dataset("phe-sich", shared_data)
    for patient in sorted(dataset.patients())[::8]:
        positive = dataset.slice_labels(patient)[:, 0] == 1
        assert np.abs(np.diff(np.pad(positive.astype(int), 1))).sum() == 2

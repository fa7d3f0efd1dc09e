from __future__ import annotations

import numpy as np
import pytest

from ichor.preparing.head import head_boxes, robust_box


def _disc(side: int, row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(rows - row, columns - column) <= radius


def test_box_of_a_disc_without_the_table() -> None:
    volume = np.full((3, 512, 512), -1000, np.int16)
    volume[:, _disc(512, 240, 260, 150)] = 35
    volume[:, 470:474, 60:460] = 200  # a thin table under the head
    boxes, areas = head_boxes(volume)
    np.testing.assert_allclose(boxes, np.tile([90, 110, 391, 411], (3, 1)), atol=9)
    np.testing.assert_allclose(areas, np.pi * 150**2, rtol=0.05)


def test_no_tissue_no_box() -> None:
    boxes, areas = head_boxes(np.full((2, 128, 128), -1000, np.int16))
    assert np.isnan(boxes).all()
    assert (areas == 0).all()
    assert robust_box(boxes, areas) is None


def test_a_hand_on_a_few_slices_does_not_widen_the_box() -> None:
    volume = np.full((20, 256, 256), -1000, np.int16)
    volume[:, _disc(256, 128, 128, 70)] = 35
    volume[:2, 100:150, 60:250] = 35
    boxes, areas = head_boxes(volume)
    box = robust_box(boxes, areas)
    assert box is not None
    np.testing.assert_allclose(box, [58, 58, 199, 199], atol=6)


def test_small_slices_at_the_vertex_do_not_count() -> None:
    volume = np.full((12, 256, 256), -1000, np.int16)
    for k in range(12):
        volume[k, _disc(256, 128, 128, 80 if k < 8 else 20)] = 35
    box = robust_box(*head_boxes(volume))
    assert box is not None
    np.testing.assert_allclose(box, [48, 48, 209, 209], atol=6)


@pytest.mark.parametrize("shape", [(96, 125), (512, 512), (257, 300), (276, 217)])
def test_a_mirrored_slice_gets_the_mirrored_box(shape):
    rows, columns = shape
    rng = np.random.default_rng(rows)
    yy, xx = np.mgrid[:rows, :columns]
    step = max(1, round(max(shape) / 128))
    for _ in range(8):
        top, left = rng.uniform(0.3, 0.7, 2) * shape
        head = np.hypot((yy - top) / (0.25 * rows), (xx - left) / (0.2 * columns)) < 1
        volume = np.where(head, 35, -1000).astype(np.int16)[None]
        (plain,), (area,) = head_boxes(volume)
        (mirrored,), (same,) = head_boxes(volume[:, ::-1, ::-1])
        np.testing.assert_allclose(mirrored, np.array([rows, columns, rows, columns]) - plain[[2, 3, 0, 1]])
        assert area == same
        ends = [np.flatnonzero(head.any(axis))[[0, -1]] + [0, 1] for axis in (1, 0)]
        np.testing.assert_allclose(plain, np.array(ends).T.ravel(), atol=3 * step)

"""Overlap and pointing, on masks and maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.evaluating.locating import (
    Overlap,
    Point,
    mean_dice,
    overlap,
    peak_point,
    pointing_accuracy,
    pooled_dice,
)


def test_overlap_counts_pixels() -> None:
    a, b = np.zeros((2, 10, 10), bool)
    a[2:6, 2:6] = True
    b[4:8, 2:6] = True
    found = overlap("p", a, b)
    assert (found.shared, found.outlined, found.drawn) == (8, 16, 16)
    assert found.dice == pytest.approx(0.5)
    assert overlap("p", a & False, b & False).dice == 1
    assert overlap("p", a, b & False).dice == 0


def test_pooled_and_mean_dice_weigh_slices_differently() -> None:
    some = [Overlap("a", 900, 1000, 1000), Overlap("b", 0, 10, 10)]
    assert pooled_dice(some).value == pytest.approx(1800 / 2020)
    assert mean_dice(some).value == pytest.approx(0.45)
    interval = mean_dice(some)
    assert (interval.low, interval.high, interval.patients) == (0.0, pytest.approx(0.9), 2)


def test_intervals_draw_patients_not_slices() -> None:
    one = [Point("a", True, 0.1)] * 50 + [Point("b", False, 0.1)] * 50
    many = [Point(str(k), k % 2 == 0, 0.1) for k in range(100)]
    wide, narrow = pointing_accuracy(one), pointing_accuracy(many)
    assert wide.value == narrow.value == 0.5
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert 0.35 < narrow.low < 0.5 < narrow.high < 0.65


@pytest.mark.parametrize(
    ("place", "hit"), [((20, 30), True), ((19, 30), True), ((18, 30), False), ((60, 12), True)]
)
def test_peak_point_in_any_box(place: tuple[int, int], hit: bool) -> None:
    plane = np.random.default_rng(3).random((100, 80)).astype(np.float32) / 2
    plane[place] = 0.9
    point = peak_point("p", plane, [(25.0, 19.4, 35.0, 40.0), (10.0, 55.0, 15.0, 65.0)])
    assert point.hit is hit
    # x 25..35 and y 20..40, x 10..15 and y 55..65: pixels whose centre lies within.
    assert point.area == pytest.approx((11 * 21 + 6 * 11) / 8000)


def test_area_is_of_the_head() -> None:
    head = np.zeros((100, 100), bool)
    head[:50] = True
    assert peak_point("p", np.eye(100), [(0, 0, 99, 24)], head).area == pytest.approx(0.5)

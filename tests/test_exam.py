"""Geometry of a stack, where no file is needed to know the answer."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.exam import Geometry, interpolate


def test_interpolation_goes_on_in_a_straight_line_beyond_both_ends():
    xp, fp = [0.0, 1.0, 3.0], [10.0, 20.0, 0.0]
    assert interpolate([0.5, 2.0, 1.0], xp, fp) == pytest.approx(np.interp([0.5, 2.0, 1.0], xp, fp))
    assert interpolate([-1.0, 4.0], xp, fp) == pytest.approx([0.0, -10.0])


def test_through_one_point_the_slope_given_is_taken():
    assert interpolate([[3.0, 5.0]], [4.0], [7.0], slope=2.0) == pytest.approx(np.array([[5.0, 9.0]]))
    assert interpolate(9.0, [4], [7]) == pytest.approx(7.0)


def test_coordinates_are_known_only_with_positions_and_orientation():
    known = {
        (p, o): Geometry(
            np.zeros((1, 3)),
            np.array([1.0, 0, 0]),
            np.array([0, 1.0, 0]),
            (1.0, 1.0),
            positions_known=p,
            orientation_known=o,
        ).coordinates_known
        for p in (True, False)
        for o in (True, False)
    }
    assert known == {(True, True): True, (True, False): False, (False, True): False, (False, False): False}

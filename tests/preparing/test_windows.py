from __future__ import annotations

import numpy as np
import pytest

from ichor.preparing import BONE, BRAIN, SUBDURAL, WIDE, WINDOWS, Window
from ichor.preparing.windows import combine, from_grey


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_window_is_the_plain_formula(window: Window) -> None:
    hu = np.arange(-1100, 3100, dtype=np.int16).reshape(2, 3, -1)
    found = window.apply(hu)
    assert found.dtype == np.float32
    assert found.shape == hu.shape
    for value, shown in zip(hu.ravel()[::7].tolist(), found.ravel()[::7].tolist(), strict=True):
        low = window.level - window.width / 2
        expected = min(max((value - low) / window.width, 0.0), 1.0)
        assert shown == pytest.approx(expected, abs=1e-6)


def test_the_named_windows_are_those_of_the_design() -> None:
    assert (BRAIN.low, BRAIN.high) == (0, 80)
    assert (SUBDURAL.low, SUBDURAL.high) == (-20, 180)
    assert (BONE.level, BONE.width) == (400, 1800)
    assert (WIDE.level, WIDE.width) == (40, 380)


def test_apply_leaves_its_input_alone() -> None:
    hu = np.array([-10.0, 40.0, 95.0], np.float32)
    BRAIN.apply(hu)
    assert hu.tolist() == [-10.0, 40.0, 95.0]


def test_grey_comes_back_within_half_a_grey_value() -> None:
    hu = np.arange(0, 81)
    assert np.abs(from_grey(BRAIN.to_grey(hu)) - hu).max() <= 1
    grey = np.arange(256)
    assert np.abs(WIDE.to_grey(from_grey(grey, WIDE)).astype(int) - grey).max() <= 1


def test_combine_puts_windows_in_channels() -> None:
    hu = np.random.default_rng(0).integers(-1000, 2000, (2, 4, 5))
    found = combine(hu, (BRAIN, BONE))
    assert found.shape == (2, 2, 4, 5)
    np.testing.assert_array_equal(found[:, 0], BRAIN.apply(hu))
    np.testing.assert_array_equal(found[:, 1], BONE.apply(hu))

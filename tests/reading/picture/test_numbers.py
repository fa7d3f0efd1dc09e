"""Numbers of 16 and 32 bits are HU where air, brain and bone say so, whatever was added; else they are stretched."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.exam import GreyWindow
from ichor.reading.picture.numbers import greys_of_numbers


def head(air: float = -1000.0) -> np.ndarray:
    """A head in HU: air, skull, brain of 33 with noise, fluid."""
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[-1:1:200j, -1:1:200j]
    radius = np.hypot(rows / 0.9, columns / 0.75)
    hu = np.where(radius < 1, 900.0, air)
    hu[radius < 0.92] = 33
    hu[radius < 0.15] = 8
    return hu + rng.normal(0, 3, hu.shape)


@pytest.mark.parametrize("offset", [0, 1000, 1024, 32768, 1500, 8192])
def test_hu_with_anything_added_are_found(offset: int) -> None:
    hu = head()
    greys, window = greys_of_numbers((hu + offset).astype(np.float32))
    assert window == GreyWindow(40, 80, "file", 0.0)
    expected = np.clip(hu * 255 / 80, 0, 255)
    # An offset that only air shows is as exact as air is.
    most = 1.1 if offset in (0, 1000, 1024, 32768) else 4 * 255 / 80
    assert abs(greys.astype(float) - expected).max() <= most


@pytest.mark.parametrize(("stored_air", "offset"), [(-1000, 1000), (-1024, 1024), (-1000, 1024)])
def test_padding_does_not_hide_which_offset_it_was(stored_air: float, offset: int) -> None:
    """Both 1000 and 1024 may leave air at 0; brain is known by its own HU."""
    greys, window = greys_of_numbers((head(stored_air) + offset).astype(np.float32))
    assert window is not None
    assert np.median(greys[90:110, 40:60].astype(float)) * 80 / 255 == pytest.approx(33, abs=1.5)


@pytest.mark.parametrize("scale", [1, 16, 257])
def test_stretched_greys_are_no_hu(scale: int) -> None:
    grey = np.clip(head() * 255 / 80, 0, 255).round()
    greys, window = greys_of_numbers((grey * scale).astype(np.float32))
    assert window is None
    assert abs(greys - grey).max() <= 3


def test_what_is_not_finite_is_dark() -> None:
    values = (head() + 1000).astype(np.float32)
    values[:20] = np.nan
    greys, window = greys_of_numbers(values)
    assert window is not None
    assert not greys[:20].any()
    assert greys_of_numbers(np.full((9, 9), np.nan, np.float32))[1] is None

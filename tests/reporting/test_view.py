"""The way of a slice to the screen: turned, square, marked."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ichor.exam import Exam, Geometry, Picture, Source
from ichor.reporting.figures import slice_figures
from ichor.reporting.outline import outlines
from ichor.reporting.view import View

from .cases import findings_on, phantom

AXES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)]
ORIENTATIONS = [(a, b) for a, b in itertools.product(AXES, AXES) if np.dot(a, b) == 0]


@pytest.mark.parametrize(("row", "column"), ORIENTATIONS)
@pytest.mark.parametrize("spacing", [(0.9, 0.9), (0.7, 1.3)])
def test_left_front_is_upper_right_however_the_pixels_lie(row, column, spacing) -> None:
    exam, mask = phantom(row, column, spacing=spacing)
    (figure,) = slice_figures(findings_on(exam, mask), exam, [5])
    assert (figure.marks.top, figure.marks.right, figure.marks.bottom, figure.marks.left) == (
        "A",
        "L",
        "P",
        "R",
    )
    # Brain window: the bleed (70 HU) is 0.875 of white, brain (35 HU) 0.44; bone and its rim are brighter.
    grey = figure.panels[0].grey
    blood = (grey > 210) & (grey < 236)
    inner = np.zeros_like(blood)
    inner[grey.shape[0] // 8 : -grey.shape[0] // 8, grey.shape[1] // 8 : -grey.shape[1] // 8] = True
    blood &= inner
    y, x = np.median(np.argwhere(blood), axis=0)  # a few pixels of the rim do not move it
    assert x > 0.6 * figure.width
    assert y < 0.4 * figure.height
    # Square pixels: the head is 140 mm x 180 mm.
    head = np.argwhere(figure.panels[2].grey > 100)
    height, width = head.max(axis=0) - head.min(axis=0) + 1
    assert height / width == pytest.approx(180 / 140, rel=0.03)
    # The outline lies about the blood that is seen, one pixel away from it.
    (outline,) = figure.outlines
    low, high = outline.points.min(axis=0), outline.points.max(axis=0)
    assert (low + high) / 2 == pytest.approx([x + 0.5, y + 0.5], abs=3)
    pixel_mm = 50 / figure.bar.pixels
    expected = 2 * 12 / pixel_mm
    assert np.all(high - low > expected - 1)
    assert np.all(high - low < expected + 2 * (2.5 * max(spacing) / pixel_mm))


def test_scale_bar_measures_the_head() -> None:
    exam, mask = phantom()
    (figure,) = slice_figures(findings_on(exam, mask), exam, [8])
    rows = np.flatnonzero((figure.panels[2].grey > 100).any(axis=1))
    assert figure.bar.label == "5 cm"
    assert (rows[-1] - rows[0] + 1) / figure.bar.pixels * 50 == pytest.approx(180, rel=0.02)


def test_the_bar_fits_a_small_thing() -> None:
    exam, mask = phantom(n=5)
    small = Exam(exam.volume, replace(exam.geometry, spacing=(0.18, 0.18)), exam.source)  # 28 mm wide
    (figure,) = slice_figures(findings_on(small, 0 * mask), small, [2])
    assert figure.bar.label == "1 cm"
    assert figure.bar.pixels < 0.36 * figure.width


def test_no_scale_and_no_sides_where_they_are_not_known() -> None:
    exam, mask = phantom()
    g = exam.geometry
    unknown = Geometry(
        g.positions,
        g.row_direction,
        g.column_direction,
        g.spacing,
        spacing_known=False,
        orientation_known=False,
    )
    bare = Exam(exam.volume, unknown, exam.source)
    (figure,) = slice_figures(findings_on(bare, mask), bare, [5])
    assert figure.marks is None
    assert figure.bar is None


def test_oblique_slices_name_both_axes() -> None:
    angle = np.radians(30)
    exam, mask = phantom((1, 0, 0), (0, np.cos(angle), -np.sin(angle)))
    (figure,) = slice_figures(findings_on(exam, mask), exam, [5])
    assert (figure.marks.top, figure.marks.bottom) == ("AH", "PF")


def test_a_picture_is_shown_whole_as_it_is() -> None:
    grey = np.arange(120 * 80, dtype=np.int64).reshape(120, 80) % 251
    picture = Picture(grey.astype(np.uint8), Source("a.png", "picture"), (0, 0, 120, 80), (120, 80))
    view = View.of(picture, [0], side=120)
    assert view.size == (120, 80)
    assert np.array_equal(view.picture(picture.grey), picture.grey)
    assert view.marks is None
    assert view.pixel_mm is None


def test_outlines_of_known_shapes() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:9, 10:16] = True
    (line,) = outlines(mask, away=0)
    assert line.min(axis=0) == pytest.approx([5, 10], abs=0.3)
    assert line.max(axis=0) == pytest.approx([9, 16], abs=0.3)
    (line,) = outlines(mask, away=1)
    assert line.min(axis=0) == pytest.approx([4, 9], abs=0.3)
    assert line.max(axis=0) == pytest.approx([10, 17], abs=0.3)
    assert outlines(np.zeros((4, 4), bool)) == []


def test_outlines_of_holes_touching_corners_and_the_edge() -> None:
    ring = np.ones((12, 12), bool)
    ring[4:8, 4:8] = False
    assert len(outlines(ring, away=0)) == 2
    assert len(outlines(np.eye(2, dtype=bool), away=0)) in (1, 2)
    lines = outlines(ring, away=2)
    for line in lines:
        assert line.min() >= 0
        assert line.max() <= 12
    # Every edge between set and not set is walked once: the lines' lengths add up.
    random = np.random.default_rng(3).random((25, 25)) > 0.5
    edges = sum(int(np.abs(np.diff(np.pad(random, 1).astype(int), axis=axis)).sum()) for axis in (0, 1))
    assert sum(len(line) for line in outlines(random, away=0)) == edges


def test_an_outline_leaves_the_region_clear() -> None:
    yy, xx = np.mgrid[:60, :60]
    mask = np.hypot(yy - 30, xx - 25) < 11
    (line,) = outlines(mask)
    radius = np.hypot(line[:, 0] - 30.5, line[:, 1] - 25.5)
    assert radius.min() > 11
    assert radius.max() < 13.5

"""Sides of regions on heads that lie straight, turned, and sampled any way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ichor.results.sides import region_sides
from reporting.cases import phantom

WAYS = {
    "as usual": ((1, 0, 0), (0, 1, 0)),
    "rows run to the right": ((-1, 0, 0), (0, 1, 0)),
    "on its side": ((0, 1, 0), (1, 0, 0)),
    "tilted": ((1, 0, 0), (0, 0.95, 0.3122)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_bleed_on_the_left_is_on_the_left(way):
    exam, mask = phantom(*WAYS[way])
    assert region_sides(exam, mask, 1) == ["left"]


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_head_that_is_turned(degrees):
    """The head lies turned in the scanner: a bleed close to its middle keeps its side of the head."""
    a = np.radians(degrees)
    turned = ((np.cos(a), np.sin(a), 0), (-np.sin(a), np.cos(a), 0))
    exam, _ = phantom(*turned)
    s, r, c = np.meshgrid(*(np.arange(n) for n in exam.volume.shape), indexing="ij")
    x, y, _ = np.moveaxis(exam.geometry.voxel_to_patient(np.stack([s, r, c], axis=-1)), -1, 0)
    mask = np.zeros(exam.volume.shape, np.uint8)
    for number, (at, to) in enumerate(((10, -60), (-10, 60), (0, 0)), start=1):
        mask[4:7][(np.hypot(x - at, y - to) < 8)[4:7]] = number
    usual = phantom()[0].geometry
    straight = replace(
        exam,
        geometry=replace(
            exam.geometry,
            row_direction=usual.row_direction,
            column_direction=usual.column_direction,
            positions=usual.positions,
        ),
    )
    assert region_sides(straight, mask, 3) == ["left", "right", "both"]


def test_no_side_without_an_orientation_or_a_head():
    exam, mask = phantom()
    unknown = replace(exam, geometry=replace(exam.geometry, orientation_known=False))
    assert region_sides(unknown, mask, 1) == [None]
    empty = replace(exam, volume=np.full_like(exam.volume, -1024))
    assert region_sides(empty, mask, 1) == [None]
    assert region_sides(exam, np.zeros_like(mask), 0) == []

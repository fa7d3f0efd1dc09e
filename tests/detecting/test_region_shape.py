"""The subtype of a region by its place and shape."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
from numpy.typing import NDArray

from ichor.detecting.region_shape import FEATURES, SlicePart, shape_probabilities, slice_features
from ichor.labels import SUBTYPE_NAMES

HALF_MM = (88.0, 70.0)


def part(kind: str, pixel: float = 0.65) -> SlicePart:
    """Draw a bleed into an oval head whose brain is 35 HU: a lens, a crescent, a deep clot, a filled ventricle."""
    side = np.arange(-110, 110, pixel)
    y, x = np.meshgrid(side, side, indexing="ij")
    off = np.hypot(y / HALF_MM[0], x / HALF_MM[1])
    space = off < 1
    depth = (1 - off) * np.hypot(*HALF_MM) / np.sqrt(2)
    hu = np.where(space, 35, 900)
    fluid = (np.abs(y) < 25) & (np.hypot(x - 8, (y / 3)) < 8)
    hu[fluid] = 8
    mask: NDArray[np.bool_] = {
        "epidural": space & (np.hypot(y - 5, x - 66) < 24) & (depth < 16),
        "subdural": space & (depth < 6) & (x > 15) & (np.abs(y) < 60),
        "intraparenchymal": np.hypot(y + 8, x + 34) < 15,
        "intraventricular": fluid & (y > 0),
    }[kind]
    hu[mask] = 65
    return SlicePart(mask, space, hu.astype(np.int16), (pixel, pixel))


@pytest.mark.parametrize("kind", ["epidural", "subdural", "intraparenchymal", "intraventricular"])
def test_a_drawn_bleed_is_told_whatever_its_pixels(kind: str) -> None:
    found = [shape_probabilities([part(kind, pixel)] * 3) for pixel in (0.45, 0.65, 0.9)]
    for p in found:
        assert p.sum() == pytest.approx(1) and p.min() > 0
        assert SUBTYPE_NAMES[int(p.argmax())] == kind, dict(zip(SUBTYPE_NAMES, p.round(2), strict=True))
    assert np.ptp(found, axis=0).max() < 0.2


def test_large_slices_count_for_more_and_mirrored_ones_are_the_same() -> None:
    large, small = part("intraparenchymal"), part("epidural")
    few = SlicePart(small.mask & (np.arange(small.mask.shape[1])[None] % 2 == 0), *small[1:])
    both = shape_probabilities([large, few])
    assert both[SUBTYPE_NAMES.index("intraparenchymal")] > shape_probabilities([few])[1]
    mirrored = SlicePart(large.mask[:, ::-1], large.space[:, ::-1], large.hu[:, ::-1], large.pixel_mm)
    np.testing.assert_allclose(shape_probabilities([mirrored]), shape_probabilities([large]), atol=0.02)


def test_the_file_says_where_it_comes_from_and_fits_the_features() -> None:
    found = json.loads(resources.files("ichor.detecting").joinpath("region_subtypes.json").read_text())
    assert "CC BY" in found["learned_from"]
    assert tuple(found["features"]) == FEATURES
    assert np.shape(found["weights"]) == (len(SUBTYPE_NAMES), len(FEATURES))
    assert slice_features(part("epidural")).shape == (len(FEATURES),)


def test_a_single_voxel_and_a_slice_without_bone_have_an_answer() -> None:
    one = part("epidural")
    speck = np.zeros_like(one.mask)
    speck[150, 150] = True
    for given in (SlicePart(speck, *one[1:]), SlicePart(one.mask, np.zeros_like(one.space), *one[2:])):
        assert np.isfinite(shape_probabilities([given])).all()

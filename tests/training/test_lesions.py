"""Simulated bleeds: where their subtype lies, exactly outlined, with what surrounds them left as it was."""

import numpy as np
import pytest
from scipy import ndimage

from ichor.datasets.labelled import UNKNOWN
from ichor.labels import LABEL_NAMES
from ichor.training.lesions import draw_bleed, draw_distraction, draw_partial_volume, intracranial

ROWS, COLUMNS = 320, 256
WHOLE, BRAIN, WIDE = (-1024.0, 3071.0), (0.0, 80.0), (-60.0, 140.0)


def head(limits=WHOLE):
    """Three slices of a head: skin, bone, brain with its noise, sulci, two ventricles."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:ROWS, :COLUMNS] - np.array([ROWS / 2, COLUMNS / 2])[:, None, None]
    radius = np.hypot(y / 145, x / 115)
    plane = np.where(radius < 1, 20.0, -1000.0)
    plane[radius < 0.96] = 900
    plane[radius < 0.9] = 34
    for side in (-1, 1):
        plane[np.hypot(y / 45, (x - 22 * side) / 12) < 1] = 6
    folds = (np.abs(np.sin(14 * np.arctan2(y, x))) < 0.12) & (radius > 0.7) & (radius < 0.88)
    plane[folds] = 8
    hu = np.repeat(plane[None], 3, axis=0) + rng.normal(0, 4, (3, ROWS, COLUMNS))
    return np.clip(hu, *limits).astype(np.float32)


@pytest.fixture(scope="module")
def drawn():
    """Some hundred bleeds in one head."""
    rng = np.random.default_rng(1)
    return [b for b in (draw_bleed(head(), WHOLE, rng) for _ in range(120)) if b is not None]


def test_the_space_within_the_bone_is_found():
    for limits in (WHOLE, BRAIN, WIDE):
        inside = intracranial(head(limits)[1], limits)
        assert 0.85 < inside.sum() / (np.pi * 145 * 115 * 0.81) <= 1


def test_an_open_skull_gives_no_space():
    plane = head()[1]
    plane[:, COLUMNS // 2 - 20 : COLUMNS // 2 + 20] = np.where(
        plane[:, COLUMNS // 2 - 20 : COLUMNS // 2 + 20] > 300,
        -1000,
        plane[:, COLUMNS // 2 - 20 : COLUMNS // 2 + 20],
    )
    assert not intracranial(plane, WHOLE).any()


def test_blood_is_brighter_and_the_rest_stays(drawn):
    assert len(drawn) > 60
    for bleed in drawn:
        before, after = head(), bleed.hu
        marked = bleed.blood == bleed.subtype
        assert marked.sum() >= 8
        assert (after - before)[1][marked].mean() >= 8
        assert 30 < np.median(after[1][marked]) < 90
        if LABEL_NAMES[bleed.subtype] != "intraparenchymal":  # an edema may lie around
            far = ndimage.binary_dilation(bleed.blood > 0, iterations=6)
            np.testing.assert_allclose(
                after[1][~far], before[1][~far], atol=4
            )  # less than what counts as its edge


def test_blood_lies_where_its_subtype_does(drawn):
    plane = head()[1]
    inside = ndimage.binary_fill_holes((plane > 300) | (plane < -300)) & (plane < 300) & (plane > -300)
    depth = ndimage.distance_transform_edt(inside)
    fluid = ndimage.binary_dilation(ndimage.gaussian_filter(plane, 1) < 20, iterations=2)
    seen = set()
    for bleed in drawn:
        name = LABEL_NAMES[bleed.subtype]
        marked = bleed.blood == bleed.subtype
        seen.add(name)
        if name in ("epidural", "subdural"):
            assert depth[marked].min() <= 4, "blood along the bone touches it"
        if name in ("intraventricular", "subarachnoid"):
            assert fluid[marked].mean() > 0.7
        if name == "intraventricular":
            assert depth[marked].min() > 10
    assert seen == set(LABEL_NAMES[1:])


def test_the_edge_is_unknown(drawn):
    assert sum((b.blood == UNKNOWN).any() for b in drawn) > 0.8 * len(drawn)


def test_the_same_chance_gives_the_same_bleed():
    a, b = (draw_bleed(head(), WHOLE, np.random.default_rng(5)) for _ in range(2))
    assert (a is None) == (b is None)
    if a is not None:
        np.testing.assert_array_equal(a.hu, b.hu)


def test_a_slice_without_a_head_gets_none():
    air = np.full((3, ROWS, COLUMNS), -1000, np.float32)
    assert draw_bleed(air, WHOLE, np.random.default_rng(0)) is None


@pytest.mark.parametrize("limits", [WHOLE, BRAIN, WIDE])
def test_distractions_leave_the_brain_without_blood(limits):
    plane = head(limits)
    inside = intracranial(plane[1], limits)
    changed = 0
    for seed in range(30):
        after = draw_distraction(plane, limits, np.random.default_rng(seed))
        difference = np.abs(after - plane)[1]
        changed += bool((difference > 5).any())
        within = ndimage.binary_erosion(inside, iterations=3) & (difference > 5)
        # What is drawn in the brain is denser than any blood.
        assert not within.any() or after[1][within].max() > 100
    assert changed > 15


@pytest.mark.parametrize("limits", [WHOLE, BRAIN, WIDE])
def test_partial_volume_is_a_fading_rim_on_one_side_of_the_skull(limits):
    plane = head(limits)
    inside = intracranial(plane[1], limits)
    depth = ndimage.distance_transform_edt(inside)
    changed = 0
    for seed in range(20):
        after = draw_partial_volume(plane, limits, np.random.default_rng(seed))
        rise = (after - plane)[1]
        assert (rise >= 0).all() and rise.max() <= 55 and after.max() <= max(plane.max(), limits[1])
        assert not (rise[depth > 8] > 0.5).any()
        changed += bool((rise[inside] > 5).sum() > 30)
        low, high = (rise[: ROWS // 2] > 3).mean(), (rise[ROWS // 2 :] > 3).mean()
        left, right = (rise[:, : COLUMNS // 2] > 3).mean(), (rise[:, COLUMNS // 2 :] > 3).mean()
        assert max(abs(low - high), abs(left - right)) > 0.3 * max(low, high, left, right)
    assert changed > 10

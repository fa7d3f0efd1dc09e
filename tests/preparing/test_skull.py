"""Scalp is told from what lies within the skull, also where the bone is open."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.preparing.skull import bone_hu, intracranial, white_within, within_skull

SIDE = 400
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
RADIUS = np.hypot((ROWS - 200) / 150, (COLUMNS - 200) / 120)
ANGLE = np.degrees(np.arctan2(ROWS - 200, COLUMNS - 200))


def head(bone: int = 900) -> np.ndarray:
    hu = np.where(RADIUS < 0.93, 35, np.where(RADIUS < 1, bone, np.where(RADIUS < 1.12, 60, -1000)))
    hu[388:391, 40:360] = bone  # the table
    return hu.astype(np.int16)


def check(plane: np.ndarray, bone: float = 250) -> None:
    inside = within_skull(plane, bone)
    assert inside[RADIUS < 0.92].all()
    assert not inside[RADIUS > 1.04].any()


def test_closed_bone() -> None:
    check(head())


@pytest.mark.parametrize(
    "gaps", [(20, 60, 10), (-170, -100, 60), (0, 90, 180)], ids=["sutures", "craniotomy", "plates"]
)
def test_open_bone(gaps: tuple[int, ...]) -> None:
    plane = head()
    width = 34 if gaps == (-170, -100, 60) else 12
    for at in gaps:
        plane[(np.abs(ANGLE - at) < width / 2) & (RADIUS >= 0.93) & (RADIUS < 1)] = 40
    inside = within_skull(plane, 250)
    assert inside[RADIUS < 0.88].all()
    assert not inside[RADIUS > 1.05].any()


def test_earrings_do_not_widen_the_skull() -> None:
    plane = head()
    plane[200:204, 332:334] = 3000
    check(plane)


def test_a_thick_bruise_is_outside() -> None:
    plane = head()
    plane[(np.abs(ANGLE) < 40) & (RADIUS >= 1) & (RADIUS < 1.35)] = 65
    check(plane)


def test_through_a_brain_window_white_is_bone() -> None:
    plane = np.clip(head(), 0, 80)
    assert bone_hu(plane) < 80
    check(plane, bone_hu(plane))
    assert bone_hu(head()) == 250


def test_without_bone_everything_counts() -> None:
    assert within_skull(np.full((64, 64), 30, np.int16), 250).all()
    assert within_skull(np.full((64, 64), -1000, np.int16), 250).all()


def check_space(plane: np.ndarray, bone: float = 250) -> None:
    space = intracranial(plane, bone)
    assert space[RADIUS < 0.92].all()
    assert not space[(RADIUS > 0.94) & (RADIUS < 0.99) & (plane >= bone)].any()
    assert not space[RADIUS > 1.02].any()


def test_space_ends_at_the_inner_table() -> None:
    check_space(head())
    check_space(np.clip(head(), 0, 80), 74)


def test_space_holds_a_bleed_on_the_bone() -> None:
    plane = head()
    rim = (RADIUS >= 0.88) & (RADIUS < 0.93) & (np.abs(ANGLE - 30) < 30)
    plane[rim] = 65
    assert intracranial(plane, 250)[rim].all()


def test_space_does_not_leak_through_a_suture() -> None:
    plane = head()
    plane[(np.abs(ANGLE - 60) < 0.8) & (RADIUS >= 0.93) & (RADIUS < 1)] = 40
    assert not intracranial(plane, 250)[RADIUS > 1.02].any()


def test_muscle_between_hull_and_bone_is_outside() -> None:
    plane = head()
    # The temple: bone dented inwards by 20 mm, muscle in the dent.
    dent = (np.abs(ANGLE) < 25) & (RADIUS > 0.68) & (RADIUS < 1.12)
    wall = (RADIUS < 0.75) | ((np.abs(ANGLE) > 20) & (RADIUS < 1))
    plane[dent] = np.where(wall[dent], 900, 60)
    muscle = (np.abs(ANGLE) < 19) & (RADIUS > 0.77) & (RADIUS < 0.86)
    assert within_skull(plane, 250)[muscle].mean() > 0.5
    assert not intracranial(plane, 250)[muscle].any()
    assert intracranial(plane, 250)[RADIUS < 0.66].all()


def test_space_without_bone_is_everything() -> None:
    assert intracranial(np.full((64, 64), 30, np.int16), 250).all()


def test_white_blood_within_the_brain_is_no_bone() -> None:
    plane = head()
    bleed = np.hypot(ROWS - 180, COLUMNS - 230) < 30
    plane[bleed] = 78
    plane = np.clip(plane, 0, 80)
    assert bone_hu(plane) < 78
    space = intracranial(plane, bone_hu(plane))
    assert space[bleed].all()
    check_space(plane, bone_hu(plane))


def test_a_grey_skull_around_white_blood_hides_nothing() -> None:
    plane = head(68)
    bleed = np.hypot(ROWS - 180, COLUMNS - 230) < 60
    plane[bleed] = 80
    plane = np.clip(plane, 0, 80)
    assert intracranial(plane, bone_hu(plane))[bleed].all()


@pytest.mark.parametrize("scale", [1, 3])
def test_white_apart_from_the_skull_is_found_and_what_lies_on_it_is_not(scale: int) -> None:
    apart = np.hypot(ROWS - 180, COLUMNS - 230) < 30
    on_bone = (np.hypot(ROWS - 200, COLUMNS - 90) < 25) & (RADIUS < 0.93)
    plane = head()
    plane[apart | on_bone] = 300
    plane = np.clip(plane, 0, 80).repeat(scale, 0).repeat(scale, 1)
    found = white_within(plane, bone_hu(plane))
    assert (found == apart.repeat(scale, 0).repeat(scale, 1)).all()

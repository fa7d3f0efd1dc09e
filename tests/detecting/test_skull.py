"""Scalp is told from what lies within the skull, also where the bone is open."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.detecting.skull import bone_hu, within_skull

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


@pytest.mark.parametrize("gaps", [(20, 60, 10), (-170, -100, 60), (0, 90, 180)], ids=["sutures", "craniotomy", "plates"])
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

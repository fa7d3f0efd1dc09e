"""Inputs unlike the training data: each trait moves as the thing it stands for, and only then speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

import ichor
from ichor.detecting.bundle import load_bundle
from ichor.detecting.out_of_distribution import QUANTITIES, outside_ranges, quantities, reference_ranges
from ichor.exam import Exam, Picture, Source
from ichor.preparing import Preparation, prepare

Make = Callable[..., Exam]


def of(exam: Exam) -> dict[str, float]:
    return quantities(exam, prepare(exam, Preparation()))


def changed(exam: Exam, change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> dict[str, float]:
    planes = [np.rint(change(plane.astype(np.float32))) for plane in exam.volume]
    return of(replace(exam, volume=np.stack(planes).astype(np.int16)))


@pytest.fixture(scope="module")
def plain(make_exam: Make) -> Exam:
    return make_exam()


@pytest.fixture(scope="module")
def usual(plain: Exam) -> dict[str, float]:
    return of(plain)


@pytest.fixture(scope="module")
def profile(usual: dict[str, float]) -> dict[str, tuple[float, float]]:
    return reference_ranges({name: [value] * 20 for name, value in usual.items()})


def codes(found: dict[str, float], profile: dict[str, tuple[float, float]]) -> str:
    return " ".join(n.message for n in outside_ranges(found, profile))


def test_every_trait_is_told_of_an_exam_with_scale(usual: dict[str, float]) -> None:
    assert set(usual) == set(QUANTITIES) - {"thickness_mm"}  # the made head tells no thickness
    assert usual["slice_step_mm"] == pytest.approx(5)
    assert usual["covered_mm"] == pytest.approx(140)
    assert usual["head_mm"] == pytest.approx(190, abs=12)
    assert 28 < usual["brain_hu"] < 36


def test_the_same_head_again_is_nothing_new(
    usual: dict[str, float], profile: dict[str, tuple[float, float]]
) -> None:
    assert outside_ranges(usual, profile) == []
    assert outside_ranges(usual, {}) == [] and outside_ranges({}, profile) == []
    assert outside_ranges(usual, {"of a later version": (0.0, 0.0)}) == []


def test_thin_slices(make_exam: Make, profile: dict[str, tuple[float, float]]) -> None:
    said = codes(of(make_exam(gaps=(2.5,) * 40)), profile)
    assert "distance between slices 2.5 mm (trained on 4.2 to 5.8 mm: thin slices?)" in said


def test_a_childs_head(plain: Exam, profile: dict[str, tuple[float, float]]) -> None:
    small = replace(plain, geometry=replace(plain.geometry, spacing=(0.6, 0.6)))
    assert "size of the head in the slices 1" in codes(of(small), profile)
    assert "a child" in codes(of(small), profile)


def test_kernels_and_dose(
    plain: Exam, usual: dict[str, float], profile: dict[str, tuple[float, float]]
) -> None:
    rng = np.random.default_rng(0)
    noisy = changed(plain, lambda p: p + rng.normal(0, 6, p.shape))
    assert noisy["noise_hu"] > 1.5 * usual["noise_hu"]
    assert "noise of brain" in codes(noisy, profile)
    soft = changed(plain, lambda p: ndimage.gaussian_filter(p, 1.2))
    assert soft["noise_hu"] < usual["noise_hu"] and soft["grain"] > usual["grain"] + 0.06
    assert "coarseness of the noise" in codes(soft, profile)


def test_contrast_in_the_vessels(plain: Exam, profile: dict[str, tuple[float, float]]) -> None:
    yy, xx = np.mgrid[:256, :256]
    vessels = np.zeros((256, 256), bool)
    for row, column in ((100, 128), (128, 100), (128, 156), (156, 128)):
        vessels |= np.hypot(yy - row, xx - column) < 5
    enhanced = changed(
        plain, lambda p: np.where(vessels & (p > 0) & (p < 85), 180, p + 4 * ((p > 0) & (p < 85)))
    )
    said = codes(enhanced, profile)
    assert "contrast in the vessels" in said and "density of brain" in said


def test_saved_through_a_window(plain: Exam, profile: dict[str, tuple[float, float]]) -> None:
    assert "saved through a window" in codes(changed(plain, lambda p: np.clip(p, 0, 80)), profile)


def test_what_has_no_scale_says_nothing_of_it(plain: Exam) -> None:
    lost = replace(plain.geometry, spacing_known=False, positions_known=False)
    assert set(of(replace(plain, geometry=lost))) == {
        "densest_hu",
        "brain_hu",
        "noise_hu",
        "grain",
        "bright_percent",
    }
    picture = Picture(np.full((64, 64), 90, np.uint8), Source("p", "picture"), (0, 0, 64, 64), (64, 64))
    assert quantities(picture, prepare(picture, Preparation())) == {}
    empty = replace(plain, volume=np.full_like(plain.volume, -1000))
    assert "noise_hu" not in of(empty)


def test_cuts_are_widened_by_what_is_nothing() -> None:
    found = reference_ranges(
        {"slice_step_mm": [5.0] * 10, "brain_hu": list(np.linspace(20, 40, 101)), "noise_hu": []}
    )
    assert found["slice_step_mm"] == (pytest.approx(4.2), pytest.approx(5.8))
    assert found["brain_hu"] == (pytest.approx(20.2 - 4.9), pytest.approx(39.8 + 4.9))
    assert "noise_hu" not in found


def test_detection_tells_it(plain: Exam, make_exam: Make) -> None:
    """With the shipped bundle, where it has a profile: the made head in thin slices."""
    if not load_bundle().manifest.input_profile:
        pytest.skip("the shipped bundle has no input profile")
    warnings = {w.code: w.message for w in ichor.detect(make_exam(gaps=(2.5,) * 40)).warnings}
    assert "distance between slices 2.5 mm" in warnings["unlike_training"]


def test_another_source(shared_data: Path) -> None:
    """CQ500: every fourth slice of a thin helical exam, 2.5 mm apart."""
    exam = ichor.read(shared_data / "cq500" / "CQ500-CT-0")
    assert isinstance(exam, Exam)
    said = codes(of(exam), {"slice_step_mm": (4.2, 5.8), "thickness_mm": (4.2, 5.8)})
    assert "distance between slices 2.5 mm" in said and "slice thickness 0.6 mm" in said

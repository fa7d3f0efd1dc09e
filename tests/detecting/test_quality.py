"""Heads are taken, everything else is refused before a probability is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.phe_sich import PheSich
from ichor.detecting.quality import assess
from ichor.exam import Exam, Picture, Source
from ichor.notices import NOTICES
from ichor.preparing import Preparation, prepare
from ichor.preparing.stacks import picture_geometry


def codes(subject: Exam | Picture) -> list[str]:
    return [n.code for n in assess(subject, prepare(subject, Preparation()))]


def refused(subject: Exam | Picture) -> list[str]:
    return [c for c in codes(subject) if NOTICES[c].decision == "refuse"]


def as_picture(grey: np.ndarray) -> Picture:
    grey = np.ascontiguousarray(np.clip(grey, 0, 255), np.uint8)
    return Picture(grey, Source("p.png", "picture"), (0, 0, *grey.shape), grey.shape)


def shown(exam: Exam, k: int, level: float = 40, width: float = 80) -> Picture:
    return as_picture(((exam.volume[k] - level) / width + 0.5) * 255)


# -- heads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("patient", ["049", "055", "070", "085", "097", "128"])
def test_trauma_exams_are_taken(shared_data: Path, patient: str) -> None:
    data = CtIch(shared_data / "ct-ich")
    if patient not in data.patients():
        pytest.skip(f"{patient} is not in the shared part")
    assert refused(data.load(patient).exam) == []


def test_exams_saved_through_a_brain_window_are_taken(shared_data: Path) -> None:
    data = PheSich(shared_data / "phe-sich")
    for patient in sorted(data.patients())[::16]:
        assert refused(data.load(patient).exam) == []


def test_pictures_of_heads_are_taken(shared_data: Path) -> None:
    files = sorted((shared_data / "head-ct-hemorrhage" / "head_ct").glob("*.png"))[::5]
    assert len(files) >= 25
    wrong = []
    for file in files:
        with Image.open(file) as image:
            if refused(as_picture(np.asarray(image.convert("L")))):
                wrong.append(file.name)
    assert wrong == []


def test_a_plain_head_has_nothing_to_note(head_exam: Exam) -> None:
    assert codes(head_exam) == []
    assert codes(shown(head_exam, head_exam.n_slices // 2)) == []


# -- everything else -----------------------------------------------------------------------------


def planes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:384, :384]
    radius, angle = np.hypot(rows - 192, columns - 192), np.arctan2(rows - 192, columns - 192)
    smooth = ndimage.gaussian_filter(rng.normal(size=(384, 384)), 12)
    coarse = ndimage.gaussian_filter(rng.normal(size=(384, 384)), 30)
    return {
        "black": np.zeros((384, 384)),
        "grey": np.full((384, 384), 0.5),
        "white": np.ones((384, 384)),
        "noise": rng.random((384, 384)),
        "clouds": np.clip(0.5 + smooth / smooth.std() / 4, 0, 1),
        "large clouds on black": np.where(radius < 180, np.clip(0.5 + coarse / coarse.std() / 3, 0, 1), 0),
        "gradient": columns / 383,
        "disc": np.where(radius < 150, 0.5, 0),
        "empty ring": np.where((radius > 135) & (radius < 150), 1.0, 0),
        "drawn ring": np.where(radius < 135, 0.4, np.where(radius < 150, 1.0, 0)),
        "star": np.where(radius < 100 + 45 * np.cos(7 * angle), 0.6, 0),
        "frame": np.where(np.maximum(abs(rows - 192), abs(columns - 192)) < 160, 0.4, 1.0),
        "stripes": (columns // 16) % 2,
        "checks": (columns // 24 + rows // 24) % 2,
    }


@pytest.mark.parametrize("name", planes())
def test_made_up_pictures_are_refused(name: str) -> None:
    assert refused(as_picture(planes()[name] * 255)) == ["not_a_head"]


@pytest.mark.parametrize("name", planes())
def test_made_up_volumes_are_refused(name: str) -> None:
    hu = np.repeat((planes()[name] * 2000 - 1000)[None], 12, axis=0).astype(np.int16)
    assert refused(Exam(hu, picture_geometry(12), Source("made", "nifti"))) == ["not_a_head"]


@pytest.mark.parametrize(
    "name",
    [
        "abdomen/CT000002.dcm",
        "transfer_syntaxes_chest/CTImage.dcm",
        "transfer_syntaxes_chest/CT1_J2KR",
        "wg04_ct/RLE_CT1_RLE",
        "mr/2.dcm",
    ],
)
def test_other_parts_of_the_body_are_refused_by_their_pixels(shared_data: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(shared_data / "dicom-oddities" / name)
        pixels = data.pixel_array.astype(np.float32)
    hu = pixels * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    spacing = float(data.PixelSpacing[0])
    geometry = replace(picture_geometry(6), spacing=(spacing, spacing), spacing_known=True)
    stack = np.repeat(np.clip(hu, -1024, 3000).astype(np.int16)[None], 6, axis=0)
    assert refused(Exam(stack, geometry, Source("raw", "dicom"))) == ["not_a_head"]
    for level, width in ((40, 80), (40, 380)):
        assert refused(as_picture(((hu - level) / width + 0.5) * 255)) == ["not_a_head"]


def test_a_body_with_a_little_head_on_top_is_refused(head_exam: Exam) -> None:
    """Most of the exam would be judged on what the model never saw."""
    body = np.where(head_exam.volume[13] > -500, 45, -1000).astype(np.int16)
    volume = np.concatenate([np.repeat(body[None], 60, axis=0), head_exam.volume[10:18]])
    geometry = replace(
        head_exam.geometry, positions=np.array([0.0, 0, 0]) + 5.0 * np.arange(68)[:, None] * [0, 0, 1.0]
    )
    assert refused(Exam(volume, geometry, Source("trunk", "dicom"))) == ["too_few_slices"]


# -- what is told, not refused ----------------------------------------------------------------------


def test_metal_is_told_with_its_slices(head_exam: Exam) -> None:
    volume = head_exam.volume.copy()
    volume[12:14, 120:132, 120:132] = 3071
    found = assess(
        replace(head_exam, volume=volume), prepare(replace(head_exam, volume=volume), Preparation())
    )
    assert [(n.code, n.slices) for n in found] == [("metal", (12, 13))]


def test_a_head_cut_by_the_edge_is_told(make_exam: Callable[..., Exam]) -> None:
    cut = make_exam(shift=(-44.0, 0.0), shape=(256, 216))
    assert codes(cut) == ["head_clipped"]


def test_half_a_head_is_refused(head_exam: Exam) -> None:
    volume = head_exam.volume.copy()
    volume[:, :, :150] = -1000
    assert refused(replace(head_exam, volume=volume)) != []


def test_a_jump_between_slices_is_told(head_exam: Exam) -> None:
    volume = head_exam.volume.copy()
    volume[15:] = np.roll(volume[15:], 14, axis=2)
    found = assess(
        replace(head_exam, volume=volume), prepare(replace(head_exam, volume=volume), Preparation())
    )
    assert [n.code for n in found] == ["motion"]
    assert found[0].slices == (15,)


def test_tilt_is_not_taken_for_motion(make_exam: Callable[..., Exam]) -> None:
    assert codes(make_exam(tilt=0.33)) == []


def test_messages_hold_figures_only(head_exam: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 300, head_exam.volume.shape).astype(np.int16)
    exam = replace(head_exam, volume=noise)
    (found,) = assess(exam, prepare(exam, Preparation()))
    assert found.message == (
        "This exam does not look like an axial head CT: brain within closed bone in 0 of 28 slices; "
        "at least 4 are needed."
    )

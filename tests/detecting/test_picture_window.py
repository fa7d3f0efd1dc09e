"""The window of a picture is measured from real slices, taken where it is sure and another, and named where it is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ichor
from ichor.datasets.aisd import Aisd
from ichor.datasets.ct_ich import CtIch
from ichor.detecting import picture_estimate
from ichor.detecting.picture_estimate import Estimator, PictureEstimate, shared_estimator
from ichor.detecting.picture_window import measured, with_window
from ichor.detecting.quality import assess
from ichor.errors import BundleError
from ichor.exam import Exam, GreyWindow, Picture, Source
from ichor.findings import PictureWindow
from ichor.preparing import Preparation, prepare
from ichor.preparing.stacks import picture_volume
from ichor.preparing.windows import Window

SHIPPED = Path(picture_estimate.__file__).parent / "picture"
SURE = PictureEstimate(
    width=80, level=40, width_error=0.05, error_hu=2, linear=0.99, head=0.99, brain=0.99, white=0.2
)


def as_picture(grey: np.ndarray) -> Picture:
    return Picture(grey, Source("p.png", "picture"), (0, 0, *grey.shape), grey.shape)


def plain(**values: float) -> tuple[Picture, list[str]]:
    """What an estimate makes of a picture."""
    picture, notices = with_window(as_picture(np.zeros((64, 64), np.uint8)), replace(SURE, **values))
    return picture, [n.code for n in notices]


# -- what an estimate leads to -------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "width"), [(40, 80), (38, 84), (43, 75), (36, 80), (46, 88)])
def test_a_picture_near_the_brain_window_stays_in_it(level: float, width: float) -> None:
    picture, codes = plain(level=level, width=width)
    assert picture.window == GreyWindow(40, 80, "assumed", 2)
    assert codes == ["picture_window"]


@pytest.mark.parametrize(("level", "width"), [(75, 215), (80, 200), (40, 380), (35, 40), (110, 200)])
def test_another_window_is_taken(level: float, width: float) -> None:
    picture, codes = plain(level=level, width=width)
    assert picture.window is not None and picture.window.source == "measured"
    assert picture.window.level == pytest.approx(level, abs=2)
    assert picture.window.width == pytest.approx(width, rel=0.02)
    assert codes == ["picture_window"]


@pytest.mark.parametrize("values", [{"linear": 0.1}, {"width_error": 0.9}, {"error_hu": 60}])
def test_what_cannot_be_measured_is_said(values: dict[str, float]) -> None:
    picture, codes = plain(level=75, width=215, **values)
    assert picture.window == GreyWindow(40, 80, "assumed", None)
    assert codes == ["picture_window_unknown"]


def test_the_width_of_a_common_window_is_better_than_an_unsure_one() -> None:
    """Brain's grey lies at the same place in both; the measured width is within its error of the common one."""
    picture, _ = plain(level=110, width=400, width_error=0.45, error_hu=9)
    assert picture.window is not None
    assert (picture.window.level, picture.window.width) == (75, 215)
    assert picture.window.error_hu == pytest.approx(9 * 215 / 400, abs=0.1)


def test_wider_than_any_window_of_soft_tissue_is_taken_as_the_widest() -> None:
    """Brain's grey stays at its place where it is not surely a bone window."""
    picture, codes = plain(level=-200, width=900, width_error=0.5, error_hu=10)
    assert codes == ["picture_window_unknown"] and picture.window is not None
    assert picture.window.width == 400
    place = 0.5 + (33 - -200) / 900
    assert picture.window.level == pytest.approx(33 + (0.5 - place) * 400, abs=0.1)


def test_a_bone_window_is_refused() -> None:
    assert plain(level=500, width=2000)[1] == ["picture_window_too_wide"]


def test_what_the_file_says_is_not_measured() -> None:
    known = replace(as_picture(np.zeros((64, 64), np.uint8)), window=GreyWindow(40, 80, "file", 0.0))
    assert with_window(known, replace(SURE, level=75, width=215)) == (known, [])


# -- greys into HU -------------------------------------------------------------------------------------


def test_greys_are_turned_back_by_the_window() -> None:
    grey = np.tile(np.array([0, 51, 102, 255], np.uint8), (4, 1))
    picture = replace(as_picture(grey), window=GreyWindow(80, 200, "measured"))
    assert picture_volume(picture)[0, 0].tolist() == [-20, 20, 60, 180]
    assert picture_volume(as_picture(grey))[0, 0].tolist() == [0, 16, 32, 80]


def test_what_a_narrow_window_clips_lies_at_the_ends_of_the_brain_window() -> None:
    """Bone and blood that are white from 55 HU on must not be taken for tissue of 55 HU."""
    grey = np.tile(np.array([0, 102, 255, 254], np.uint8), (4, 1))
    picture = replace(as_picture(grey), window=GreyWindow(35, 40, "measured"))
    assert picture_volume(picture)[0, 0].tolist() == [0, 31, 80, 80]


# -- real slices ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices(shared_data: Path) -> list[np.ndarray]:
    """Slices through brain of an exam that the network did not learn from, and of two that it did."""
    cq500 = ichor.read(shared_data / "cq500" / "CQ500-CT-0")
    assert isinstance(cq500, Exam)
    trauma, stroke = CtIch(shared_data / "ct-ich"), Aisd(shared_data / "aisd")
    of_stroke = stroke.load(sorted(stroke.patients())[0]).exam.volume
    return [*cq500.volume[24:48:6], trauma.load("070").exam.volume[18], of_stroke[len(of_stroke) // 2]]


def shown(hu: np.ndarray, level: float, width: float, tmp_path: Path) -> Picture:
    path = tmp_path / "p.png"
    Image.fromarray(Window(level, width).to_grey(hu)).save(path)
    found = ichor.read(path)
    assert isinstance(found, Picture)
    return found


@pytest.mark.parametrize(
    ("level", "width", "off_hu", "ratio"),
    [(40, 80, 8, 1.3), (40, 120, 8, 1.6), (80, 200, 10, 1.6), (75, 215, 10, 1.6), (40, 380, 14, 1.6)],
)
def test_brain_and_width_of_real_slices(
    slices: list[np.ndarray], tmp_path: Path, level: float, width: float, off_hu: float, ratio: float
) -> None:
    true = Window(level, width)
    off, ratios = [], []
    for hu in slices:
        picture, _, estimate = measured(shown(hu, level, width, tmp_path))
        assert isinstance(picture, Picture) and estimate is not None
        assert picture.window is not None
        taken = Window(picture.window.level, picture.window.width)
        off.append(abs(taken.low + (33 - true.low) / true.width * taken.width - 33))
        ratios.append(max(taken.width / width, width / taken.width))
    assert np.median(off) < off_hu
    assert np.median(ratios) < ratio


def test_findings_say_which_window_was_taken(slices: list[np.ndarray], tmp_path: Path) -> None:
    findings = ichor.detect(shown(slices[0], 80, 200, tmp_path))
    assert findings.window is not None and findings.window.source == "measured"
    assert [w.code for w in findings.warnings if w.code.startswith("picture_window")] == ["picture_window"]
    assert PictureWindow(**findings.to_dict()["window"]) == findings.window


def test_an_exam_has_no_window(head_exam: Exam) -> None:
    assert ichor.detect(head_exam).to_dict()["window"] is None


def test_curves_and_bone_windows_give_no_plain_negative(slices: list[np.ndarray], tmp_path: Path) -> None:
    """What cannot be told is said or refused, for each of them."""
    refusing = 0
    for hu in slices:
        codes = {w.code for w in ichor.detect(shown(hu, 500, 2000, tmp_path)).warnings}
        refusing += bool(codes & {"picture_window_too_wide", "picture_window_unknown", "not_a_head"})
    assert refusing == len(slices)


# -- what shows a head ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "white", "brain", "codes"),
    [
        (0.99, 0.2, 0.99, []),
        (0.99, 0.2, 0.1, ["no_brain"]),
        (0.5, 0.2, 0.99, ["not_a_head"]),
        (0.99, 0.02, 0.99, ["not_a_head"]),  # no bone is white: MR
    ],
)
def test_a_slice_without_closed_bone_counts_by_the_estimate(
    head: float, white: float, brain: float, codes: list[str]
) -> None:
    picture = as_picture(np.full((128, 128), 90, np.uint8))
    prepared = prepare(picture, Preparation())
    found = assess(picture, prepared, replace(SURE, head=head, white=white, brain=brain))
    assert [n.code for n in found] == codes


def test_slices_of_the_base_and_the_posterior_fossa_are_assessed(shared_data: Path, tmp_path: Path) -> None:
    """The rules find no closed bone in most of them."""
    data = CtIch(shared_data / "ct-ich")
    assessed = by_rules = shown_n = 0
    for patient in ("051", "070", "085", "097"):
        volume = data.load(patient).exam.volume
        for k in range(3, 12, 2):
            picture = shown(volume[k], 40, 80, tmp_path)
            by_rules += not assess(picture, prepare(picture, Preparation()))
            assessed += ichor.detect(picture).assessable
            shown_n += 1
    assert assessed >= 0.9 * shown_n
    assert assessed > by_rules


# -- the file ------------------------------------------------------------------------------------------


def test_the_network_is_small_and_whole() -> None:
    manifest = json.loads((SHIPPED / "estimate.json").read_text())
    assert (SHIPPED / manifest["file"]).stat().st_size < 1_000_000
    card = (SHIPPED / "card.md").read_text()
    assert "CT-ICH" in card and "licence" in card.lower()


@pytest.mark.parametrize("wrong", ["altered", "missing", "manifest"])
def test_an_altered_network_is_refused(tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "picture"
    shutil.copytree(SHIPPED, folder)
    graph = folder / "estimate.onnx"
    if wrong == "altered":
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
    elif wrong == "missing":
        graph.unlink()
    else:
        (folder / "estimate.json").write_text("{}")
    with pytest.raises(BundleError, match="install ichor again"):
        Estimator(folder)


def test_the_network_is_opened_once() -> None:
    assert shared_estimator() is shared_estimator()

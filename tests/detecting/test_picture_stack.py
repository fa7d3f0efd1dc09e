"""Pictures of one exam as one exam: drawn from a real one, whose own verdict is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ichor
from ichor.cli import run
from ichor.datasets.ct_ich import CtIch
from ichor.detecting import Detection
from ichor.detecting.picture_stack import stacked
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.findings import Findings

PATIENT, EMPTY = "081", 27
STACK = ichor.PictureStack(step_mm=5, spacing_mm=0.355)
Pictures = list[Exam | Picture | RefusedInput]


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of a bleed in the publisher's brain window, numbered without zeros; the 27th shows nothing."""
    home = tmp_path_factory.mktemp("pictures") / "exam"
    home.mkdir()
    for k, path in enumerate(sorted((shared_data / "ct-ich" / "brain" / PATIENT).glob("*.jpg")), start=1):
        (home / f"slice {k}.jpg").write_bytes(path.read_bytes())
    Image.new("L", (512, 512)).save(home / f"slice {EMPTY}.jpg")
    return home


@pytest.fixture(scope="module")
def read(folder: Path) -> Pictures:
    return list(ichor.read_all(folder))


@pytest.fixture(scope="module")
def put_together(folder: Path, read: Pictures) -> Callable[..., list[Exam | RefusedInput]]:
    """Stack what was read, or what a test made of it."""

    def stack(results: Pictures = read, how: ichor.PictureStack = STACK) -> list[Exam | RefusedInput]:
        return list(stacked(results, str(folder), how, 700_000_000))

    return stack


def assessed(exam: Exam) -> Findings:
    return ichor.detect(exam)


def test_a_stack_has_the_verdict_of_its_exam(
    put_together: Callable[..., list[Exam | RefusedInput]], shared_data: Path
) -> None:
    [exam] = put_together()
    assert isinstance(exam, Exam)
    found = assessed(exam)
    own = assessed(CtIch(shared_data / "ct-ich").load(PATIENT).exam)
    assert found.kind == "exam"
    assert found.n_slices == own.n_slices - 1 == exam.n_slices
    assert found.positive.any
    assert own.positive.any
    assert found.volume_ml == pytest.approx(own.volume_ml, rel=0.5)
    # The same slices are suspicious: the order is that of numbers, not of letters.
    by_slice = [[s.probabilities.any for s in f.slices[: EMPTY - 1]] for f in (found, own)]
    assert np.corrcoef(by_slice)[0, 1] > 0.8
    # Whatever was noticed of 29 pictures is noticed once.
    codes = Counter(w.code for w in found.warnings)
    assert set(codes.values()) == {1}
    assert {"picture_stack", "picture_window", "slice_unreadable"} <= set(codes)
    gaps = exam.geometry.gaps
    assert gaps[EMPTY - 2] == pytest.approx(10)
    assert np.delete(gaps, EMPTY - 2) == pytest.approx(5)


def test_the_first_may_be_the_highest_and_a_size_may_be_unknown(
    put_together: Callable[..., list[Exam | RefusedInput]],
) -> None:
    [up], [down] = put_together(), put_together(how=ichor.PictureStack(5, top_first=True))
    assert isinstance(up, Exam)
    assert isinstance(down, Exam)
    assert (down.volume == up.volume[::-1]).all()
    assert down.geometry.gaps == pytest.approx(up.geometry.gaps[::-1])
    assert not down.geometry.spacing_known


def test_one_picture_of_the_other_polarity_is_turned_back(
    put_together: Callable[..., list[Exam | RefusedInput]], read: Pictures
) -> None:
    from ichor.notices import notice

    odd = replace(
        read[12],
        grey=(255 - read[12].grey).astype(np.uint8),
        notices=(*read[12].notices, notice("picture_inverted", "")),
    )
    [plain], [turned] = put_together(), put_together([*read[:12], odd, *read[13:]])
    assert isinstance(plain, Exam)
    assert isinstance(turned, Exam)
    assert (plain.volume == turned.volume).all()


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (
            lambda p: [replace(p[0], file_shape=(600, 512)), *p[1:]],
            "pictures_no_stack",
            "pictures of 2 sizes",
        ),
        (lambda p: [replace(p[0], grey=p[0].grey[:80]), *p[1:]], "pictures_no_stack", "seen from the side"),
        (lambda p: p[:4], "too_few_slices", "4 slices over 20 mm"),
    ],
)
def test_what_is_no_stack_is_refused_in_a_sentence(
    put_together: Callable[..., list[Exam | RefusedInput]],
    read: Pictures,
    change: Callable[[Pictures], Pictures],
    code: str,
    sentence: str,
) -> None:
    pictures = [p for p in read if isinstance(p, Picture)]
    [refusal] = put_together(change(pictures))
    assert isinstance(refusal, RefusedInput)
    assert refusal.code == code
    assert sentence in refusal.sentence
    assert "--as-exam" in refusal.sentence


def test_each_folder_is_an_exam_and_what_ends_the_reading_ends_the_exam(
    put_together: Callable[..., list[Exam | RefusedInput]], folder: Path, read: Pictures
) -> None:
    def within(result: Picture, name: str) -> Picture:
        inside = result.source.input.replace(str(folder), f"{folder}/{name}")
        return replace(result, source=replace(result.source, input=inside))

    pictures = [p for p in read if isinstance(p, Picture)]
    two = [within(p, "a") for p in pictures] + [within(p, "b") for p in pictures]
    names = [e.source.input for e in put_together(two) if isinstance(e, Exam)]
    assert names == [f"{folder}/a", f"{folder}/b"]
    ended = RefusedInput(str(folder), "limit_exceeded", found="too long", expected="less", remedy="wait")
    assert put_together([*pictures, ended]) == [ended]


def test_the_command(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", str(folder), "--as-exam"]) == 2
    assert "--as-exam without --step" in capfd.readouterr().err
    assert run(["detect", str(folder), "--step", "5"]) == 2
    assert "add --as-exam" in capfd.readouterr().err
    assert run(["detect", str(folder), "--as-exam", "--step", "0"]) == 2
    assert "step: found 0 mm" in capfd.readouterr().err
    few = folder.parent / "few"
    few.mkdir()
    for k in (10, 9):
        (few / f"{k}.jpg").write_bytes((folder / f"slice {k}.jpg").read_bytes())
    assert run(["detect", str(few), "--as-exam", "--step", "5", "--json"]) == 3
    out, err = capfd.readouterr()
    assert Findings.model_validate_json(out).warnings[0].code == "too_few_slices"
    assert err.count("\n") == 1
    with pytest.raises(UsageError, match="spacing: found -1 mm"):
        ichor.PictureStack(5, -1)
    [detection] = ichor.detect_all(few, stack=STACK)
    assert isinstance(detection, Detection)
    assert not detection.findings.assessable

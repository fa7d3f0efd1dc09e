"""Limits: said once, overridden in three ways, and each named where it bites."""

from __future__ import annotations

import random
import time
from dataclasses import fields

import pytest
from pydicom.uid import ExplicitVRLittleEndian

import ichor
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam
from ichor.reading.limits import Deadline, Limits

from . import hostile
from .phantoms import enhanced
from .test_inputs import slice_picture, study

NAMES = [f.name for f in fields(Limits)]


@pytest.fixture(autouse=True)
def no_limits_around(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(f"ICHOR_LIMIT_{name.upper()}", raising=False)


def refusal(path, **limits) -> RefusedInput:
    (result,) = ichor.read_all(path, limits=Limits(**limits))
    assert isinstance(result, RefusedInput), "it was read"
    (name,) = limits
    assert result.code == "limit_exceeded"
    assert f"({name})" in result.expected and f"--limit {name}=VALUE" in result.remedy
    assert str(path) in str(result) and len(str(result).splitlines()) == 1
    return result


# -- where they come from --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_then_the_call(monkeypatch, name):
    assert getattr(Limits.from_environment(), name) == getattr(Limits(), name)
    monkeypatch.setenv(f"ICHOR_LIMIT_{name.upper()}", "41")
    assert getattr(Limits.from_environment(), name) == 41
    assert getattr(Limits.from_environment(**{name: 42}), name) == 42
    others = [n for n in NAMES if n != name]
    assert all(getattr(Limits.from_environment(), n) == getattr(Limits(), n) for n in others)


def test_whole_numbers_stay_whole(monkeypatch):
    monkeypatch.setenv("ICHOR_LIMIT_PIXELS", "1e6")
    limits = Limits.from_environment(seconds=2.5)
    assert limits.pixels == 1_000_000 and isinstance(limits.pixels, int) and limits.seconds == 2.5


@pytest.mark.parametrize("value", ["", "many", "0", "-3", "nan", "inf", "-inf"])
def test_a_value_that_is_none(monkeypatch, value):
    monkeypatch.setenv("ICHOR_LIMIT_FILES", value)
    with pytest.raises(UsageError, match="ICHOR_LIMIT_FILES"):
        Limits.from_environment()
    monkeypatch.delenv("ICHOR_LIMIT_FILES")
    with pytest.raises(UsageError, match=r"limit depth: found .* expected a number above 0, 1 or more"):
        Limits.from_environment(depth=value, files=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.4, 0.999])
def test_less_than_one_of_what_is_counted(value):
    """It would become nought, below everything."""
    with pytest.raises(UsageError, match="files"):
        Limits.from_environment(files=value)
    assert Limits.from_environment(seconds=value).seconds == value


def test_a_name_that_is_none():
    with pytest.raises(
        UsageError, match=r"'pixel': found no such limit; expected one of file_bytes, .*seconds"
    ):
        Limits.from_environment(pixel=3)


def test_the_environment_is_heeded_by_reading(tmp_path, monkeypatch):
    folder = study(tmp_path / "s")
    assert isinstance(ichor.read(folder), Exam)
    monkeypatch.setenv("ICHOR_LIMIT_FILES", "3")
    with pytest.raises(RefusedInput) as caught:
        ichor.read(folder)
    assert caught.value.code == "limit_exceeded" and "at most 3 (files)" in str(caught.value)
    assert isinstance(ichor.read(folder, limits=Limits()), Exam)


def test_all_of_them_have_words():
    assert all(f"    {name}\n" in str(Limits.__doc__) for name in NAMES)


# -- each bites; those on folders, archives and volumes are tested beside these ------------------------------


def test_one_file(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(hostile.series()[3])
    size = path.stat().st_size
    assert f"{size:,} bytes" in refusal(path, file_bytes=size - 1).found
    assert isinstance(ichor.read(path, limits=Limits(file_bytes=size)), Exam)
    assert "64 x 72 pixels" in refusal(path, pixels=64 * 72 - 1).found
    assert isinstance(ichor.read(path, limits=Limits(pixels=64 * 72)), Exam)
    assert refusal(path, voxels=64 * 72 - 1)


def test_frames(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(hostile.encoded(enhanced(hostile.PLAN), ExplicitVRLittleEndian))
    assert "8 frames" in refusal(path, frames=7).found
    assert isinstance(ichor.read(path, limits=Limits(frames=8)), Exam)


def test_nested_sequences(tmp_path):
    raw = hostile.series()[3]
    opened = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    where = raw.find(b"\x10\x00\x10\x00PN")
    for depth in (3, 16, 17, 200, 5000):
        path = tmp_path / f"{depth}.dcm"
        path.write_bytes(raw[:where] + opened * depth + closed * depth + raw[where:])
        began = time.perf_counter()
        if depth <= Limits().sequence_depth:
            assert isinstance(ichor.read(path), Exam)
            assert refusal(path, sequence_depth=depth - 1)
        else:
            assert refusal(path, sequence_depth=Limits().sequence_depth)
        assert time.perf_counter() - began < 5


def test_a_deflated_data_set(tmp_path):
    path = tmp_path / "a.dcm"
    for seed in range(3):
        path.write_bytes(hostile.inflating(random.Random(seed)))
        assert path.stat().st_size < 400_000
        (result,) = ichor.read_all(path)
        assert isinstance(result, RefusedInput) and result.code == "limit_exceeded"
        assert "(archive_ratio)" in result.expected


def test_pictures(tmp_path):
    path = slice_picture(tmp_path / "p.png")
    assert "160 x 160 pixels" in refusal(path, pixels=25_599).found
    assert refusal(path, file_bytes=path.stat().st_size - 1)


def test_time(tmp_path):
    folder = study(tmp_path / "s")
    assert "s of reading" in refusal(folder, seconds=1e-6).found
    limits = Limits(seconds=0.05)
    deadline = Deadline(limits, "x.zip")
    deadline.check()
    time.sleep(0.06)
    with pytest.raises(RefusedInput) as caught:
        deadline.check()
    assert caught.value.source == "x.zip" and "(seconds)" in caught.value.expected
    deadline.begin_again()
    deadline.check()

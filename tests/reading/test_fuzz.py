"""Two thousand broken or hostile files through disposable readers: each is read or refused by name, within bounds."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zlib
from collections import Counter

import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.notices import NOTICES

from . import hostile, read_hostile
from .fuzzing import lines, public_data, run_cases
from .phantoms import SECRETS

CASES = int(os.environ.get("ICHOR_FUZZ_CASES", "2000"))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    names, answers = run_cases(folder / "report", folder / "log", public_data(), CASES)
    codes = Counter(code for row in answers.values() for code in row["codes"] or ["read"])
    print(f"\n{len(answers)} of {CASES} hostile files answered:", dict(codes.most_common()))
    print(
        f"slowest {max(r['seconds'] for r in answers.values()):.2f} s,",
        f"peak {max(r['peak'] for r in answers.values()) / 1e6:.0f} MB",
    )
    return names, answers, (folder / "log").read_text(errors="replace"), folder / "report"


def test_nothing_crashes_or_hangs(outcome):
    names, answers, log, report = outcome
    lost = {n: name for n, name in names.items() if n not in answers}
    assert not lost, (
        f"no answer for {lost}\n{log[-2000:]}\n"
        + "\n".join(line for line in report.read_text().splitlines() if not line.startswith("{"))[-2000:]
    )
    assert sorted(answers) == list(range(CASES))
    assert max(row["seconds"] for row in answers.values()) < read_hostile.MOST_SECONDS + 2


def test_each_is_read_or_refused_by_name_in_one_line_without_a_patient(outcome):
    names, answers, _, _ = outcome
    assert not [(n, names[n], row["faults"]) for n, row in answers.items() if row["faults"]]
    assert {code for row in answers.values() for code in row["codes"]} <= set(NOTICES)


def test_memory_stays_below_a_gigabyte(outcome):
    names, answers, _, _ = outcome
    over = [(names[n], row["peak"]) for n, row in answers.items() if row["peak"] > read_hostile.MOST_BYTES]
    assert not over


def test_nothing_is_printed(outcome):
    _, _, log, _ = outcome
    assert not [secret for secret in SECRETS if secret in log]
    assert log == ""


def test_the_cases_are_of_every_kind(outcome):
    """A test of refusals alone would pass with a reader that refuses all."""
    names, answers, _, _ = outcome
    codes = Counter(code for row in answers.values() for code in row["codes"])
    share_read = sum(bool(row["read"]) for row in answers.values()) / len(answers)
    assert 0.1 < share_read < 0.6
    assert {"unreadable", "limit_exceeded", "unsafe_archive", "no_image"} <= set(codes)
    kinds = {name.rpartition("-")[2] for name in names.values()}
    forms = {name.rpartition(".")[2] for name in names.values()}
    assert {"dcm", "zip", "png", "jpg", "bmp", "tif", "gif", "webp", "nii", "gz", "tar"} <= forms
    for maker in (*hostile.BUILT_DICOM, *hostile.BUILT_ZIP):
        assert any(kind.startswith(maker.__name__) for kind in kinds), maker.__name__


def test_the_sound_ones_are_read(tmp_path):
    for name, raw in hostile.sound(None).items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(raw)
        (result,) = ichor.read_all(path)
        assert isinstance(result, Exam), f"{name}: {result}"
        assert result.n_slices == (hostile.PLAN.n if "frames" in name or name == "enhanced" else 1)
    for name in ("deflated", "stored"):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(hostile.sound_zips()[name])
        (result,) = ichor.read_all(path)
        assert isinstance(result, Exam) and result.n_slices == hostile.PLAN.n


def test_a_stream_without_an_end_is_refused_at_once(tmp_path):
    """CharLS goes on reading beyond it for four seconds a slice."""
    data = pydicom.dcmread(io.BytesIO(hostile.sound(None)["jpeg-ls"]))
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    endless = frame[: frame.rfind(b"\xff\xd9") - 30]
    data.PixelData = encapsulate([endless])
    data.save_as(tmp_path / "endless.dcm")
    began = time.perf_counter()
    (result,) = ichor.read_all(tmp_path / "endless.dcm")
    assert isinstance(result, RefusedInput) and result.code == "unreadable"
    assert time.perf_counter() - began < 1


def test_a_text_that_swallowed_the_patient_is_not_shown(tmp_path):
    """A forged length makes the manufacturer reach into the elements behind it."""
    raw = bytearray(hostile.series()[3])
    name = SECRETS[0].encode()
    start = raw.find(b"\x08\x00\x60\x00CS")  # the modality, before the patient
    raw[start + 2 : start + 6] = struct.pack("<H", 0x70) + b"LO"
    end = raw.find(name) + len(name)
    struct.pack_into("<H", raw, start + 6, end - start - 8 + (end - start) % 2)
    path = tmp_path / "swallowed.dcm"
    path.write_bytes(raw)
    for result in ichor.read_all(path):
        told = str(result) if isinstance(result, RefusedInput) else str(result.source.details)
        assert SECRETS[0] not in told and SECRETS[0] not in str([n.message for n in result.notices])


def test_the_same_number_gives_the_same_file_in_every_process(outcome):
    _, _, _, report = outcome
    crcs = {row["number"]: row["crc"] for row in map(json.loads, lines(report)) if "crc" in row}
    for number in range(0, CASES, max(1, CASES // 60)):
        assert zlib.crc32(hostile.case(number, public_data())[1]) == crcs[number]

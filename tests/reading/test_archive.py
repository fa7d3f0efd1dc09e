"""Zip archives: the sound ones are read, each attack has its code, and nothing is left behind."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.archive import is_zip, unpack
from ichor.reading.context import ReadContext
from ichor.reading.limits import Limits

from . import hostile

SLICES = {f"study/series 1/{k}": raw for k, raw in enumerate(hostile.series())}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """A folder for temporary files that must be empty afterwards, and an empty one around it."""
    inner = tmp_path / "around" / "temporary"
    inner.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(inner))
    yield inner
    assert list(inner.parent.rglob("*")) == [inner], "something was left behind"


def entry(name: str, *, mode: int = 0, flags: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    info.flag_bits |= flags
    return info


def write(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, raw in members:
            archive.writestr(name, raw, how)
    return path


def read(path: Path, **limits: float) -> list[object]:
    return list(ichor.read_all(path, limits=Limits(**limits)))  # type: ignore[arg-type]


def refusal(path: Path, **limits: float) -> RefusedInput:
    (result,) = read(path, **limits)
    assert isinstance(result, RefusedInput), "it was read"
    assert str(path) in str(result) and len(str(result).splitlines()) == 1
    return result


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_series_in_an_archive_is_the_series_in_a_folder(tmp_path, how):
    path = write(tmp_path / "study.zip", *SLICES.items(), how=how)
    folder = tmp_path / "study"
    folder.mkdir()
    for k, raw in enumerate(SLICES.values()):
        (folder / str(k)).write_bytes(raw)
    packed, plain = ichor.read(path), ichor.read(folder)
    assert isinstance(packed, Exam) and isinstance(plain, Exam)
    assert np.array_equal(packed.volume, plain.volume)
    assert np.array_equal(packed.geometry.positions, plain.geometry.positions)
    assert packed.source.input == str(path)


def test_what_is_no_image_in_an_archive_is_told(tmp_path):
    junk = {"__MACOSX/._0": b"x", "a/.DS_Store": b"x", "README.txt": b"hello", "empty/": b""}
    exam = ichor.read(write(tmp_path / "study.zip", *SLICES.items(), *junk.items()))
    assert [n.message for n in exam.notices if n.code == "not_an_image"] == ["1 file is no image; left out."]


def test_one_file_in_an_archive_is_that_file_named(tmp_path):
    path = write(tmp_path / "one.zip", ("slice.dcm", hostile.series()[3]))
    exam = ichor.read(path)
    assert exam.n_slices == 1 and "single_slice" in {n.code for n in exam.notices}


def test_the_name_of_an_entry_is_told_on_one_line(tmp_path):
    path = write(tmp_path / "study.zip", ("bad\n\x1b[31m.png", b"\x89PNG and no more"))
    (result,) = read(path)
    assert isinstance(result, RefusedInput)
    assert result.source == f"{path}:bad??[31m.png"


@pytest.mark.parametrize(
    "name", ["../up.dcm", "a/../../up.dcm", "/up.dcm", "..\\up.dcm", "C:\\up.dcm", "\\\\host\\up.dcm"]
)
def test_traversal(tmp_path, name):
    result = refusal(write(tmp_path / "a.zip", *SLICES.items(), (name, b"x")))
    assert result.code == "unsafe_archive" and "leaves the archive's folder" in result.found


@pytest.mark.parametrize("target", ["/etc/passwd", "../../up", "study/series 1/0"])
def test_links(tmp_path, target):
    link = entry("link.dcm", mode=0o120777)
    result = refusal(write(tmp_path / "a.zip", *SLICES.items(), (link, target.encode())))
    assert result.code == "unsafe_archive" and "link" in result.found


@pytest.mark.parametrize("n", [2, 3000])
def test_entries_over_the_same_bytes(tmp_path, n):
    raw = hostile.zipped({"a.dcm": bytes(4 << 20)})
    start, end = raw.rfind(b"PK\x01\x02"), raw.rfind(b"PK\x05\x06")
    entries = b"".join(raw[start:end].replace(b"a.dcm", b"%05d" % k) for k in range(n))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(entries), start, 0)
    path = tmp_path / "quine.zip"
    path.write_bytes(raw[:start] + entries + tail)
    # Newer versions of zipfile refuse it themselves while unpacking; the check comes before either way.
    assert refusal(path).code == "unsafe_archive"


def test_a_bomb_stops_at_the_ratio(tmp_path):
    path = write(tmp_path / "bomb.zip", *((f"{k}.dcm", bytes(60 << 20)) for k in range(2)))
    assert path.stat().st_size < 200_000
    result = refusal(path)
    assert result.code == "limit_exceeded" and "archive_ratio" in result.expected


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_bounded(tmp_path, how):
    result = refusal(write(tmp_path / "a.zip", *SLICES.items(), how=how))
    assert result.code == "unreadable" and f"method {how}" in result.found and "deflate" in result.expected


def test_encrypted(tmp_path):
    raw = bytearray(hostile.zipped(SLICES))
    at = raw.find(b"PK\x01\x02")
    raw[at + 8] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(raw)
    result = refusal(path)
    assert result.code == "unreadable" and "encrypted" in result.found and "password" in result.expected


def test_a_wrong_checksum(tmp_path):
    raw = bytearray(hostile.zipped(SLICES))
    at = raw.find(b"PK\x01\x02")
    raw[at + 16] ^= 0xFF
    path = tmp_path / "a.zip"
    path.write_bytes(raw)
    assert refusal(path).code == "unreadable"


def test_an_archive_within_is_named(tmp_path):
    inner = hostile.zipped(SLICES)
    result = refusal(write(tmp_path / "outer.zip", ("inner.zip", inner)))
    assert result.code == "no_image" and "archives within" in result.found and "unpack" in result.remedy


def test_an_archive_beside_images_is_told(tmp_path):
    exam = ichor.read(write(tmp_path / "a.zip", *SLICES.items(), ("inner.zip", hostile.zipped(SLICES))))
    assert any("archive" in n.message for n in exam.notices if n.code == "file_left_out")


@pytest.mark.parametrize("members", [{}, {"__MACOSX/._a": b"x"}, {"readme.txt": b"hello"}])
def test_nothing_in_it(tmp_path, members):
    path = tmp_path / "a.zip"
    path.write_bytes(hostile.zipped(members))
    assert refusal(path).code == "no_image"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("files", 3, "8 entries"),
        ("file_bytes", 9000, "an entry of more than 9,000 bytes"),
        ("total_bytes", 50_000, "more than 50,000 bytes unpacked"),
        ("depth", 1, "folders 2 deep"),
    ],
)
def test_a_limit_bites_and_is_named(tmp_path, name, value, found):
    path = write(tmp_path / "a.zip", *SLICES.items())
    result = refusal(path, **{name: value})
    assert result.code == "limit_exceeded"
    assert found in result.found and f"({name})" in result.expected and f"--limit {name}=" in result.remedy


def test_limits_that_suffice_do_not_bite(tmp_path):
    raw = [*SLICES.values()]
    path = write(tmp_path / "a.zip", *SLICES.items())
    enough = {"files": 8, "file_bytes": max(map(len, raw)), "total_bytes": sum(map(len, raw)), "depth": 2}
    (result,) = read(path, **enough)
    assert isinstance(result, Exam)


def test_an_archive_larger_than_all_it_may_unpack_to(tmp_path):
    path = write(tmp_path / "a.zip", *SLICES.items(), how=zipfile.ZIP_STORED)
    result = refusal(path, total_bytes=20_000)
    assert "an archive of" in result.found


def test_time_runs_out_while_unpacking(tmp_path):
    result = refusal(write(tmp_path / "a.zip", *SLICES.items()), seconds=1e-6)
    assert result.code == "limit_exceeded" and "(seconds)" in result.expected


def test_a_directory_of_very_many_entries_is_not_even_parsed(tmp_path):
    head = hostile.zipped({"a": b"x"})
    one = head[head.find(b"PK\x01\x02") : head.find(b"PK\x05\x06")]
    n = 60_000
    path = tmp_path / "a.zip"
    start = head.find(b"PK\x01\x02")
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n & 0xFFFF, n & 0xFFFF, n * len(one), start, 0)
    path.write_bytes(head[:start] + one * n + tail)
    result = refusal(path, files=1000)
    assert result.code == "limit_exceeded" and "very many entries" in result.found


def test_files_get_names_of_our_own(tmp_path, temporary):
    target = tmp_path / "target"
    target.mkdir()
    path = write(tmp_path / "a.zip", ("deep/x.NII.GZ", b"1"), ("y", b"2"))
    files = unpack(path, target, ReadContext.begin("a.zip", Limits()))
    assert [(f.path.name, f.name) for f in files] == [
        ("000000.nii.gz", "a.zip:deep/x.NII.GZ"),
        ("000001", "a.zip:y"),
    ]


def test_is_zip(tmp_path):
    path = write(tmp_path / "a", ("x", b"1"))
    assert is_zip(path)
    path.write_bytes(io.BytesIO(b"PK").read())
    assert not is_zip(path) and not is_zip(tmp_path / "none")

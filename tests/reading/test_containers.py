"""Containers and forms: tar, gzip and more are read within the limits of zip; what is not read is named."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.reading.forms import known_form
from ichor.reading.limits import Limits

from . import hostile
from .test_inputs import slice_picture

SLICES = {f"study/series 1/{k}": raw for k, raw in enumerate(hostile.series())}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """A folder for temporary files that must be empty afterwards."""
    inner = tmp_path / "temporary"
    inner.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(inner))
    yield inner
    assert not list(inner.iterdir()), "something was left behind"


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:
        for name, raw in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return path


def only(path: Path, **limits: float) -> Exam | Picture | RefusedInput:
    (result,) = ichor.read_all(path, limits=Limits(**limits))  # type: ignore[arg-type]
    assert str(path) in (str(result) if isinstance(result, RefusedInput) else result.source.input)
    return result


def refused(path: Path, code: str, **limits: float) -> RefusedInput:
    result = only(path, **limits)
    assert isinstance(result, RefusedInput), "it was read"
    assert result.code == code and len(str(result).splitlines()) == 1
    return result


# -- tar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["study.tar.gz", "study.tgz", "study.tar", "STUDY", "study.dcm"])
def test_a_tar_archive(tmp_path, mode, form, name):
    long = {f"{'d' * 90}/{'e' * 60}/{Path(k).name}": raw for k, raw in SLICES.items()}
    exam = only(tar(tmp_path / name, long if form != tarfile.USTAR_FORMAT else SLICES, mode, form))
    assert isinstance(exam, Exam) and exam.n_slices == hostile.PLAN.n


def test_an_old_tar_archive_is_known_by_its_name(tmp_path):
    raw = bytearray(
        tar(tmp_path / "new.tar", {"a": hostile.series()[3]}, "w", tarfile.USTAR_FORMAT).read_bytes()
    )
    raw[257:265] = bytes(8)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    (tmp_path / "old.tar").write_bytes(raw)
    assert isinstance(only(tmp_path / "old.tar"), Exam)


def test_folders_and_what_file_managers_leave_do_not_count(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("study")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, raw in {"study/a": hostile.series()[3], "study/._a": b"x", "__MACOSX/b": b"y"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    result = only(path)
    assert isinstance(result, Exam) and "not_an_image" not in {n.code for n in result.notices}


@pytest.mark.parametrize("name", ["../up.dcm", "a/../../up.dcm", "/etc/up.dcm", "..\\up.dcm", "C:\\up.dcm"])
def test_an_entry_that_leaves(tmp_path, name):
    refused(tar(tmp_path / "a.tar", {"a": hostile.series()[0], name: b"x"}), "unsafe_archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_entry_that_is_no_file(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    refused(tmp_path / "a.tar", "unsafe_archive")


def test_limits_of_tar(tmp_path):
    path = tar(tmp_path / "a.tar.gz", SLICES)
    assert "(files)" in refused(path, "limit_exceeded", files=3).expected
    assert "(depth)" in refused(path, "limit_exceeded", depth=1).expected
    assert "(file_bytes)" in refused(path, "limit_exceeded", file_bytes=5_000).expected
    assert "(total_bytes)" in refused(path, "limit_exceeded", total_bytes=path.stat().st_size + 1).expected
    assert "(seconds)" in refused(path, "limit_exceeded", seconds=1e-6).expected
    bomb = tar(tmp_path / "bomb.tgz", {"a.dcm": bytes(30 << 20)})
    assert "(archive_ratio)" in refused(bomb, "limit_exceeded").expected


def test_a_name_of_two_gigabytes(tmp_path):
    """tarfile reads it at once, whatever its header claims."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        entry = tarfile.TarInfo("././@LongLink")
        entry.type, entry.size = kind, 2 << 30
        path = tmp_path / "a.tar.gz"
        path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20)))
        refused(path, "unreadable")


def test_a_thousand_headers_in_each_other(tmp_path):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 0
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.USTAR_FORMAT) * 5000)
    refused(tmp_path / "a.tar", "unreadable")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_tar_cut_short(tmp_path, keep):
    path = tar(tmp_path / "a.tar.gz", SLICES)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(path, "unreadable")


# -- gzip ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slice.dcm.gz", "slice.gz", "slice"])
def test_one_packed_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(hostile.series()[3]))
    exam = only(path)
    assert isinstance(exam, Exam) and "single_slice" in {n.code for n in exam.notices}


def test_a_folder_of_packed_files(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for k, raw in enumerate(hostile.series()):
        (folder / f"{k}.dcm.gz").write_bytes(gzip.compress(raw) if k else raw)
    exam = only(folder)
    assert isinstance(exam, Exam) and exam.n_slices == hostile.PLAN.n


def test_a_packed_picture_keeps_its_name(tmp_path):
    path = tmp_path / "p.png.gz"
    path.write_bytes(gzip.compress(slice_picture(tmp_path / "p.png").read_bytes()))
    assert isinstance(only(path), Picture)


def test_gzip_of_many_members_and_padding(tmp_path):
    raw = hostile.series()[3]
    pieces = b"".join(gzip.compress(raw[k : k + 1000]) for k in range(0, len(raw), 1000))
    (tmp_path / "a.dcm.gz").write_bytes(pieces + bytes(700))
    assert isinstance(only(tmp_path / "a.dcm.gz"), Exam)


@pytest.mark.parametrize(
    "raw",
    [
        gzip.compress(b"no image"),
        gzip.compress(hostile.series()[3])[:-2000],
        b"\x1f\x8b\x08\x08" + b"name" * 3_000_000,
        gzip.compress(b"") * 200_000,
    ],
    ids=["text", "cut short", "a name of 12 MB", "empty members"],
)
def test_gzip_that_holds_nothing(tmp_path, raw):
    (tmp_path / "a.gz").write_bytes(raw)
    refused(tmp_path / "a.gz", "no_image")


def test_a_gzip_bomb(tmp_path):
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(bytes(60 << 20)))
    assert "(archive_ratio)" in refused(tmp_path / "a.dcm.gz", "limit_exceeded").expected


# -- pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "options"), [("webp", {"lossless": True}), ("gif", {}), ("webp", {"quality": 90})]
)
@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_webp_and_gif(tmp_path, form, options, suffix):
    with Image.open(slice_picture(tmp_path / "p.png")) as image:
        image.convert("L" if form == "gif" else "RGB").save(tmp_path / f"x.{form}", **options)
    path = (tmp_path / f"x.{form}").rename(tmp_path / f"x{suffix or '.' + form}")
    plain, other = ichor.read(tmp_path / "p.png"), only(path)
    assert isinstance(other, Picture) and other.grey.shape == plain.grey.shape
    assert np.abs(other.grey.astype(int) - plain.grey).mean() < (3 if "quality" in options else 0.5)


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_frames_of_an_animation_are_pages(tmp_path, form):
    with Image.open(slice_picture(tmp_path / "p.png")) as image:
        frame = image.convert("L")
        darker = frame.point(lambda v: v * 0.9)
        frame.save(tmp_path / f"a.{form}", save_all=True, append_images=[darker], duration=100)
    results = list(ichor.read_all(tmp_path / f"a.{form}"))
    assert [type(r) for r in results] == [Picture, Picture]
    assert all("picture_multipage" in {n.code for n in r.notices} for r in results)
    assert "(frames)" in refused(tmp_path / f"a.{form}", "limit_exceeded", frames=1).expected


# -- what is named ------------------------------------------------------------------------------------------------

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(4000)
FORMS = {
    "study.7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(200), "a 7z archive", "unpack"),
    "study.rar": (b"Rar!\x1a\x07\x01\0" + bytes(200), "a RAR archive", "unpack"),
    "study.tar.bz2": (b"BZh91AY&SY" + bytes(200), "bzip2", "unpack"),
    "study.tar.xz": (b"\xfd7zXZ\x00" + bytes(200), "xz", "unpack"),
    "study.zst": (b"\x28\xb5\x2f\xfd" + bytes(200), "zstd", "unpack"),
    "slice.pdf": (b"%PDF-1.7\n" + bytes(200), "PDF", "PNG or JPEG"),
    "photo.heic": (HEIC, "HEIC", "JPEG"),
    "photo.jpg": (HEIC, "HEIC", "JPEG"),
    "photo.avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200), "AVIF", "JPEG"),
    "clip.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(200), "video", "PNG or JPEG"),
    "clip.mov": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(200), "video", "PNG or JPEG"),
    "clip.webm": (b"\x1a\x45\xdf\xa3" + bytes(200), "video", "PNG or JPEG"),
    "scan.mha": (b"ObjectType = Image\nNDims = 3\n" + bytes(200), "MetaImage", "NIfTI"),
    "scan.mhd": (b"NDims = 3\nObjectType = Image\n", "MetaImage", "NIfTI"),
    "scan.nrrd": (b"NRRD0004\ntype: short\n" + bytes(200), "NRRD", "NIfTI"),
    "scan.mnc": (b"\x89HDF\r\n\x1a\n" + bytes(200), "HDF5", "NIfTI"),
    "scan.npy": (b"\x93NUMPY\1\0" + bytes(200), "NumPy", "NIfTI"),
    "slice.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200), "JPEG 2000", "PNG or JPEG"),
    "slice.jxl": (b"\xff\x0a" + bytes(200), "JPEG XL", "PNG or JPEG"),
    "study.lz4": (b"\x04\x22\x4d\x18" + bytes(200), "lz4", "unpack"),
    "slice.Z": (b"\x1f\x9d\x90" + bytes(200), "compress", "unpack"),
    "slice.pgm": (b"P5\n64 64\n255\n" + bytes(4096), "PNM", "PNG or JPEG"),
    "slice.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(200), "PostScript", "PNG or JPEG"),
    "slice.svg": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "PNG or JPEG"),
    "study.zip": (b"\xef\xbb\xbf\r\n<!DOCTYPE html><html><body>404</body></html>", "web page", "again"),
    "scan.mgh": (b"\0\0\0\1\0\0\1\0" + bytes(400), "FreeSurfer", "NIfTI"),
    "report.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "Office", "PNG or JPEG"),
    "report.docx": (
        hostile.zipped({"[Content_Types].xml": b"<Types/>", "word/media/image1.png": b"\x89PNG"}),
        "Office",
        "PNG or JPEG",
    ),
    "slice.dcm": (b"", "an empty file", "again"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_not_read_is_named_with_what_to_do(tmp_path, name):
    raw, what, remedy = FORMS[name]
    (tmp_path / name).write_bytes(raw)
    result = refused(tmp_path / name, "no_image")
    assert what in result.found and remedy in result.remedy


def test_a_folder_of_such_forms(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "a.heic").write_bytes(HEIC)
    (folder / "b.heic").write_bytes(HEIC)
    result = refused(folder, "no_image")
    assert "2 files" in result.found and "HEIC" in result.found and "JPEG" in result.remedy
    (folder / "c.dcm").write_bytes(hostile.series()[3])
    assert "HEIC" in next(n.message for n in only(folder).notices if n.code == "not_an_image")


def test_archives_within_the_input(tmp_path):
    inner = tar(tmp_path / "inner.tar.gz", SLICES).read_bytes()
    result = refused(tar(tmp_path / "outer.tar", {"inner.tar.gz": inner}, "w"), "no_image")
    assert "archives within" in result.found


def test_what_is_read_has_no_such_form():
    starts = (
        b"",
        b"PK\x03\x04",
        b"\x89PNG",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"\x1f\x8b\x08",
        b"text",
    )
    assert not any(map(known_form, starts))

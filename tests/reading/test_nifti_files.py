"""NIfTI as it comes: under any name, packed or not, in pairs, in metres, with an offset and no rescale."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ichor
from ichor.errors import RefusedInput
from ichor.reading.files import InputFile
from ichor.reading.nifti import NiftiPart, nifti_part, to_nifti_space

from .phantoms import codes, expected_volume
from .test_nifti import PLAIN, SHAPE, affine_of, hu_of, read, refusal


def packed(raw: bytes, pack: bool) -> bytes:
    return gzip.compress(raw, 1) if pack else raw


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "V.NII.GZ", "v", "v.gz", "v.dat"])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_what_a_file_holds_tells_and_not_its_name(tmp_path, name, pack, kind):
    path = tmp_path / name
    path.write_bytes(packed(kind(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN).to_bytes(), pack))
    exam = ichor.read(path)
    assert exam.source.format == "nifti" and np.array_equal(exam.volume, expected_volume(exam))


def save_pair(folder: Path, stem: str, kind=nib.Nifti1Pair, *, pack: bool = False) -> tuple[Path, Path]:
    image = kind(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    image.to_filename(folder / "made.img")
    out = []
    for suffix in (".hdr", ".img"):
        out.append(folder / f"{stem}{suffix}{'.gz' if pack else ''}")
        out[-1].write_bytes(packed((folder / f"made{suffix}").read_bytes(), pack))
        (folder / f"made{suffix}").unlink()
    return out[0], out[1]


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("given", ["header", "voxels", "folder", "zip"])
def test_a_pair(tmp_path, kind, pack, given):
    folder = tmp_path / "f"
    folder.mkdir()
    header, voxels = save_pair(folder, "Exam.1", kind, pack=pack)
    path = {"header": header, "voxels": voxels, "folder": folder, "zip": tmp_path / "z.zip"}[given]
    if given == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(voxels, "deep/Exam.1" + "".join(voxels.suffixes[1:]))
            archive.write(header, "deep/Exam.1" + "".join(header.suffixes[1:]))
    exam = ichor.read(path)
    assert np.array_equal(exam.volume, expected_volume(exam)) and exam.notices == ()
    array, affine = to_nifti_space(np.ones(exam.volume.shape, np.uint8), exam)
    assert array.shape == (56, 62, 26) and np.allclose(affine, PLAIN)


def test_two_pairs_are_not_mixed(tmp_path):
    a, _ = save_pair(tmp_path, "a")
    b, other = save_pair(tmp_path, "b")
    shifted = (hu_of(PLAIN, (56, 62, 26)) + 3).astype("<i2")
    other.write_bytes(shifted.tobytes(order="F"))
    first, second = ichor.read_all(tmp_path)
    assert (first.source.input, second.source.input) == (str(a), str(b))
    assert np.array_equal(first.volume + 3, second.volume)


@pytest.mark.parametrize("missing", [0, 1])
def test_half_a_pair(tmp_path, missing):
    pair = save_pair(tmp_path, "a")
    pair[missing].unlink()
    (result,) = ichor.read_all(pair[1 - missing])
    assert isinstance(result, RefusedInput)
    if missing == 1:
        assert result.code == "unreadable" and "without the file of its voxels" in result.found
    else:
        assert result.code == "no_image"


def test_a_whole_file_with_the_magic_of_a_pair(tmp_path):
    raw = bytearray(nib.Nifti1Image(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN).to_bytes())
    raw[344:347] = b"ni1"
    (tmp_path / "v.nii").write_bytes(raw)
    exam = ichor.read(tmp_path / "v.nii")
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_an_analyze_pair_is_named(tmp_path):
    image = nib.AnalyzeImage(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    image.to_filename(tmp_path / "a.img")
    (result,) = ichor.read_all(tmp_path / "a.hdr")
    assert result.code == "unreadable" and "Analyze" in result.found


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("mm", 1), ("micron", 1e3), ("unknown", 1)])
@pytest.mark.parametrize("order", ["xyz", "zxy"])
def test_units(tmp_path, unit, factor, order):
    affine = affine_of(order, (1, 1, 1))
    scaled = affine.copy()
    scaled[:3] *= factor
    shape = tuple(SHAPE[name] for name in order)
    image = nib.Nifti1Image(hu_of(affine, shape).astype(np.int16), scaled)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "v.nii.gz")
    exam = read(tmp_path / "v.nii.gz")
    assert exam.geometry.slice_step == pytest.approx(7) and np.array_equal(exam.volume, expected_volume(exam))
    _, back = to_nifti_space(np.ones(exam.volume.shape, np.uint8), exam)
    assert np.allclose(back, affine, rtol=1e-5), "masks are written in millimetres"


def test_a_unit_that_no_head_fits(tmp_path):
    """Some converters say metre, and mean millimetre."""
    image = nib.Nifti1Image(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "v.nii")
    assert read(tmp_path / "v.nii").geometry.slice_step == pytest.approx(7)


def raw_file(path: Path, data: np.ndarray, **fields: float) -> Path:
    """A file of exactly these stored values and header fields: nibabel rescales when it saves."""
    header = nib.Nifti1Image(data, PLAIN).header
    header.set_data_dtype(data.dtype)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"] = header["scl_inter"] = 0
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + b"\0" * 4 + data.tobytes(order="F"))
    return path


@pytest.mark.parametrize("offset", [1024, 1000, 32768])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("scale", [{}, {"scl_slope": 1}, {"scl_slope": np.nan, "scl_inter": np.nan}])
def test_an_offset_is_told_by_air_brain_and_bone(tmp_path, offset, dtype, scale):
    data = (hu_of(PLAIN, (56, 62, 26)) + offset).clip(0).astype(dtype)
    exam = read(raw_file(tmp_path / "v.nii", data, **scale))
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert codes(exam) == {"rescale_assumed"} and f"-{offset}" in exam.notices[0].message


@pytest.mark.parametrize("intercept", [-1024, -1000, -8192])
def test_a_scale_that_is_given_holds(tmp_path, intercept):
    data = (hu_of(PLAIN, (56, 62, 26)) - intercept).astype(np.uint16)
    exam = read(raw_file(tmp_path / "v.nii", data, scl_slope=1, scl_inter=intercept))
    assert np.array_equal(exam.volume, expected_volume(exam)) and exam.notices == ()


def test_an_intercept_that_is_no_number_beside_a_slope(tmp_path):
    data = hu_of(PLAIN, (56, 62, 26)).astype(np.int16)
    assert refusal(raw_file(tmp_path / "v.nii", data, scl_slope=1, scl_inter=np.nan)).code == "unreadable"


def test_intent_and_extensions_change_nothing(tmp_path):
    image = nib.Nifti1Image(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    image.header.set_intent("estimate", name="HU")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100_000))
    nib.save(image, tmp_path / "v.nii.gz")
    exam = read(tmp_path / "v.nii.gz")
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_the_parts_by_name_and_content(tmp_path):
    def part(name: str, raw: bytes) -> NiftiPart | None:
        (tmp_path / "x").write_bytes(raw)
        return nifti_part(InputFile(tmp_path / "x", name))

    assert part("a.nii", b"") is part("x.zip:A.NII.GZ", b"") is NiftiPart.whole
    assert part("a.img", b"") is part("A.IMG.gz", b"") is NiftiPart.voxels
    assert part("a.hdr", b"ENVI description") is part("a.png", b"\x89PNG") is part("a", b"") is None

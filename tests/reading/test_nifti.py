"""NIfTI volumes: wherever the axes run, a point of the patient keeps its coordinates, and a mask goes back."""

from __future__ import annotations

import gzip
import io
import itertools
import random
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.nifti import NiftiFile, read_nifti, to_nifti_space

from .phantoms import BEAD, BEAD_CENTRE, codes, expected_volume, head_hu

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = {"x": 56, "y": 62, "z": 26}
STEP = {"x": 3.2, "y": 3.4, "z": 7.0}


def affine_of(
    order: str, signs: tuple[int, int, int], shear_mm: float = 0.0, turn: float = 0.0
) -> np.ndarray:
    """RAS affine of a volume whose axes are ``order``, running the ways of ``signs``, centred on the head."""
    matrix = np.zeros((4, 4))
    for axis, (name, sign) in enumerate(zip(order, signs, strict=True)):
        matrix["xyz".index(name), axis] = sign * STEP[name]
        if name == "z":
            matrix[1, axis] += sign * shear_mm
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ matrix[:3, :3]
    shape = np.array([SHAPE[name] for name in order])
    matrix[:3, 3] = -matrix[:3, :3] @ ((shape - 1) / 2)
    matrix[3, 3] = 1
    return matrix


def hu_of(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The phantom at the file's own voxels."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    ras = grid @ affine[:3, :3].T + affine[:3, 3]
    return head_hu(ras * [-1, -1, 1])


def save(path: Path, affine: np.ndarray, data: np.ndarray | None = None, kind=nib.Nifti1Image) -> Path:
    if data is None:
        order = [int(np.abs(affine[:3, axis]).argmax()) for axis in range(3)]
        data = hu_of(affine, tuple(SHAPE["xyz"[k]] for k in order)).astype(np.int16)
    nib.save(kind(data, affine), path)
    return path


def read(path: Path, **limits: float) -> Exam:
    return read_nifti(NiftiFile(InputFile(path, path.name)), ReadContext.begin(path.name, Limits(**limits)))  # type: ignore[arg-type]


def refusal(path: Path, **limits: float) -> RefusedInput:
    with pytest.raises(RefusedInput) as caught:
        read(path, **limits)
    assert path.name in str(caught.value) and str(caught.value).isprintable()
    return caught.value


PLAIN = affine_of("xyz", (1, 1, 1))


@pytest.mark.parametrize("order", ["".join(p) for p in itertools.permutations("xyz")])
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_any_axes_and_any_way(tmp_path, order, signs):
    affine = affine_of(order, signs)
    path = save(tmp_path / "v.nii", affine)
    exam = read(path)
    assert exam.volume.shape == (SHAPE["z"], SHAPE["y"], SHAPE["x"]) and exam.volume.dtype == np.int16
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert exam.geometry.row_direction == pytest.approx([1, 0, 0])
    assert exam.geometry.column_direction == pytest.approx([0, 1, 0])
    assert (exam.geometry.gaps > 0).all()
    assert exam.geometry.spacing == pytest.approx((STEP["y"], STEP["x"])) and exam.geometry.slice_step == 7
    assert exam.notices == ()
    # Each voxel of the exam has the coordinates that the file gives it, and finds its way back there.
    bead = np.argwhere(exam.volume == BEAD)
    assert exam.geometry.voxel_to_patient(bead).mean(axis=0) == pytest.approx(BEAD_CENTRE, abs=3)
    mask = (exam.volume == BEAD).astype(np.uint8)
    back, back_affine = to_nifti_space(mask, exam)
    image = nib.load(path)
    assert back.shape == image.shape and np.array_equal(back_affine, image.affine)
    assert np.array_equal(back == 1, np.asarray(image.dataobj) == BEAD)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
@pytest.mark.parametrize("shear_mm", [1.5, -2.5])
def test_a_sheared_volume(tmp_path, signs, shear_mm):
    exam = read(save(tmp_path / "v.nii", affine_of("xyz", signs, shear_mm)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert exam.geometry.tilt_degrees == pytest.approx(np.degrees(np.arctan(abs(shear_mm) / 7)), abs=0.01)
    assert codes(exam) == {"gantry_tilt"}


@pytest.mark.parametrize(("turn", "expected"), [(4.0, set()), (-18.0, {"oblique"}), (30.0, {"oblique"})])
def test_an_oblique_volume(tmp_path, turn, expected):
    exam = read(save(tmp_path / "v.nii", affine_of("xyz", (-1, 1, 1), turn=turn)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert exam.geometry.normal[2] == pytest.approx(np.cos(np.radians(turn)))
    assert codes(exam) == expected


def test_a_point_survives_within_half_a_voxel(tmp_path):
    """From the patient to the exam, to the file's own voxel, and by the file's affine to the patient."""
    for order, signs, shear in (
        ("xyz", (1, 1, 1), 0.0),
        ("zxy", (-1, 1, -1), 0.0),
        ("yxz", (1, -1, -1), 2.0),
    ):
        exam = read(save(tmp_path / "v.nii", affine_of(order, signs, shear)))
        rng = np.random.default_rng(3)
        for point in rng.uniform(-50, 50, (20, 3)):
            voxel = np.rint(exam.geometry.patient_to_voxel(point)).astype(int)
            mask = np.zeros(exam.volume.shape, np.uint8)
            mask[tuple(voxel)] = 1
            array, affine = to_nifti_space(mask, exam)
            (found,) = np.argwhere(array)
            lps = (RAS_TO_LPS @ affine @ [*found, 1])[:3]
            steps = np.abs(exam.geometry.patient_to_voxel(lps) - exam.geometry.patient_to_voxel(point))
            assert (steps <= 0.5 + 1e-6).all()


def test_a_mask_of_a_dicom_exam(tmp_path):
    from .phantoms import Plan, head_series, write
    from .phantoms import read_one as read_dicom_exam

    exam = read_dicom_exam(write(tmp_path / "s", head_series(Plan(n=22, shear=(0, 1.0, 0)))))
    array, affine = to_nifti_space((exam.volume == BEAD).astype(np.uint8), exam)
    assert array.shape == exam.volume.shape[::-1]
    lps = np.argwhere(array) @ (RAS_TO_LPS @ affine)[:3, :3].T + (RAS_TO_LPS @ affine)[:3, 3]
    assert lps.mean(axis=0) == pytest.approx(BEAD_CENTRE, abs=3)


# -- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_types_of_voxels(tmp_path, dtype, suffix):
    exam = read(save(tmp_path / f"v{suffix}", PLAIN, hu_of(PLAIN, (56, 62, 26)).astype(dtype)))
    assert np.array_equal(exam.volume, expected_volume(exam))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_versions_and_byte_orders(tmp_path, kind, byte_order):
    image = kind(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    header = image.header.as_byteswapped(byte_order)
    nib.save(kind(image.dataobj, PLAIN, header), tmp_path / "v.nii")
    exam = read(tmp_path / "v.nii")
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_the_scale_of_the_header(tmp_path):
    image = nib.Nifti1Image((hu_of(PLAIN, (56, 62, 26)) + 1024).astype(np.uint16), PLAIN)
    image.header.set_slope_inter(1, -1024)
    raw = image.to_bytes()
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(raw))
    assert header["scl_slope"] == 1 and header["scl_inter"] == -1024
    # nibabel rescales on saving: what is stored are HU + 1024 only if the header is written around the data.
    stored = np.asarray(image.dataobj).astype("<u2").tobytes(order="F")
    path = tmp_path / "v.nii"
    path.write_bytes(raw[: int(header["vox_offset"])] + stored)
    exam = read(path)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_a_coarse_scale_is_none(tmp_path):
    data = np.rint((hu_of(PLAIN, (56, 62, 26)) + 1024) / 12).astype(np.uint8)
    image = nib.Nifti1Image(data, PLAIN)
    image.header.set_slope_inter(12, -1024)
    raw = image.to_bytes()
    path = tmp_path / "v.nii"
    path.write_bytes(raw[: int(image.header["vox_offset"]) or 352] + data.tobytes(order="F"))
    result = refusal(path)
    assert result.code == "no_hounsfield" and "12.0 HU a step" in result.found


@pytest.mark.parametrize(
    ("low", "high"), [(0, 255), (0, 80), (0.0, 1.0), (0, 4000), (-1.0, 1.0)], ids=lambda v: str(v)
)
def test_what_are_no_hounsfield_units(tmp_path, low, high):
    hu = hu_of(PLAIN, (56, 62, 26))
    data = np.interp(hu, [-1000, 1500], [low, high]).astype(np.float32)
    assert refusal(save(tmp_path / "v.nii", PLAIN, data)).code == "no_hounsfield"


def test_what_is_not_a_number_becomes_air(tmp_path):
    hu = hu_of(PLAIN, (56, 62, 26)).astype(np.float32)
    hu[:5], hu[5], hu[6, :3], hu[7, :3] = np.nan, -np.inf, 1e30, -5000
    exam = read(save(tmp_path / "v.nii", PLAIN, hu))
    # x runs to the right in the file, and to the left in the exam.
    assert (exam.volume[:, :, -6:] == -1024).all()
    assert (exam.volume[:, -3:, -7] == 30_000).all() and (exam.volume[:, -3:, -8] == -1024).all()


def test_further_axes_of_length_one(tmp_path):
    data = hu_of(PLAIN, (56, 62, 26)).astype(np.int16)[..., None, None]
    exam = read(save(tmp_path / "v.nii", PLAIN, data))
    assert np.array_equal(exam.volume, expected_volume(exam))
    array, _ = to_nifti_space(np.zeros(exam.volume.shape, np.uint8), exam)
    assert array.shape == nib.load(tmp_path / "v.nii").shape


# -- what is refused or told ------------------------------------------------------------------------------


def test_without_a_word_on_orientation(tmp_path):
    image = nib.Nifti1Image(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), None)
    image.header["pixdim"][1:4] = 3.2, 3.4, 7.0
    nib.save(image, tmp_path / "v.nii")
    exam = read(tmp_path / "v.nii")
    assert codes(exam) == {"orientation_missing"} and exam.geometry.spacing == pytest.approx((3.4, 3.2))
    assert not exam.geometry.coordinates_known


def test_two_words_on_orientation_that_differ_give_no_side(tmp_path):
    affine = affine_of("xyz", (-1, -1, 1))
    mirrored = np.diag([-1.0, 1, 1, 1]) @ affine
    for name, other, known in (("same", affine, True), ("mirrored", mirrored, False)):
        path = save(tmp_path / f"{name}.nii", affine)
        image = nib.load(path)
        image.set_sform(affine, 1)
        image.set_qform(other, 1)
        nib.save(image, tmp_path / f"{name}-twice.nii")
        (exam,) = ichor.read_all(tmp_path / f"{name}-twice.nii")
        assert exam.geometry.orientation_known is known
        assert ("orientation_missing" in {n.code for n in exam.notices}) is not known


def test_thick_slices(tmp_path):
    affine = PLAIN.copy()
    affine[:3, 2] *= 10 / 7
    assert codes(read(save(tmp_path / "v.nii", affine, hu_of(affine, (56, 62, 18)).astype(np.int16)))) == {
        "slices_thick"
    }


@pytest.mark.parametrize("n", [1, 4, 5])
def test_too_few_slices(tmp_path, n):
    result = refusal(
        save(tmp_path / "v.nii", PLAIN, hu_of(PLAIN, (56, 62, 26)).astype(np.int16)[..., 10 : 10 + n])
    )
    assert result.code == "too_few_slices" and f"{n} slices over {7 * n} mm" in result.found


def test_coronal_cuts_are_not_axial(tmp_path):
    affine = np.diag([0.5, 12.0, 0.5, 1])
    data = hu_of(np.diag([3.2, 12.0, 3.2, 1]), (56, 16, 56)).astype(np.int16)
    assert refusal(save(tmp_path / "v.nii", affine, data)).code == "orientation_not_axial"


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.__setitem__((slice(3), 1), a[:3, 0]),
        lambda a: a.__setitem__((slice(3), 2), 0),
        lambda a: a.__setitem__((0, 0), np.nan),
        lambda a: a.__setitem__((0, 3), np.inf),
        lambda a: a.__setitem__((0, 1), 2.0),
        lambda a: a.__setitem__((0, 0), 1e30),
    ],
)
def test_affines_that_are_none(tmp_path, change):
    image = nib.Nifti1Image(hu_of(PLAIN, (56, 62, 26)).astype(np.int16), PLAIN)
    affine = PLAIN.copy()
    change(affine)
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = affine[:3]
    image.header["sform_code"] = 1
    raw = bytearray(nib.Nifti1Image(image.dataobj, PLAIN).to_bytes())
    raw[: image.header.structarr.nbytes] = image.header.binaryblock
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    header["vox_offset"] = 352
    raw[:348] = header.binaryblock
    path = tmp_path / "v.nii"
    path.write_bytes(raw)
    assert refusal(path).code == "unreadable"


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((40, 40), np.int16),
        np.zeros((40, 40, 10, 3), np.int16),
        np.zeros((40, 40, 10), np.complex64),
        np.zeros((40, 40, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")]),
    ],
)
def test_what_is_no_volume(tmp_path, data):
    assert refusal(save(tmp_path / "v.nii", PLAIN, data)).code == "unreadable"


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"\x1f\x8b\x08", gzip.compress(b"hello"), b"\0" * 1000, b"\xff" * 400], ids=len
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_no_nifti(tmp_path, raw, suffix):
    path = tmp_path / f"v{suffix}"
    path.write_bytes(raw)
    assert refusal(path).code == "unreadable"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_cut_short(tmp_path, suffix):
    path = save(tmp_path / f"v{suffix}", PLAIN)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert refusal(path).code == "unreadable"


def test_a_wrong_checksum_or_rubbish_in_the_middle(tmp_path):
    path = save(tmp_path / "v.nii.gz", PLAIN)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 :] = bytes(255 - b for b in raw[len(raw) // 2 :])
    path.write_bytes(raw)
    assert refusal(path).code == "unreadable"


def test_a_bomb(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((600, 600, 600))
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=9) as out:
        out.write(header.binaryblock + b"\0" * 4)
        for _ in range(60):
            out.write(bytes(1 << 20))
    assert path.stat().st_size < 100_000
    result = refusal(path)
    assert result.code == "limit_exceeded" and "(archive_ratio)" in result.expected


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("voxels", 50_000, "90,272 voxels"),
        ("frames", 60, "an axis of 62"),
        ("file_bytes", 100_000, "bytes"),
        ("archive_ratio", 1, "bytes of voxels in"),
    ],
)
def test_a_limit_bites_and_is_named(tmp_path, name, value, found):
    shape = (120, 100, 60) if name == "archive_ratio" else (56, 62, 26)
    path = save(tmp_path / "v.nii.gz", PLAIN, hu_of(PLAIN, shape).astype(np.int16))
    result = refusal(path, **{name: value if name != "file_bytes" else path.stat().st_size - 1})
    assert result.code == "limit_exceeded" and found in result.found and f"({name})" in result.expected
    unpacked = refusal(path, file_bytes=path.stat().st_size + 1)
    assert "bytes of voxels" in unpacked.found


def test_broken_headers_are_refused_or_read(tmp_path, caplog):
    """Five hundred of them; none does anything else, and none says a word to the log."""
    path = tmp_path / "v.nii"
    sound = save(path, PLAIN).read_bytes()
    rng = random.Random(5)
    read_well = 0
    for _ in range(500):
        raw = bytearray(sound)
        for _ in range(rng.choice((1, 2, 8))):
            raw[rng.randrange(348 if rng.random() < 0.9 else 400)] = rng.randrange(256)
        path.write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (result,) = ichor.read_all(path)
        assert isinstance(result, Exam | RefusedInput)
        read_well += isinstance(result, Exam)
    assert 100 < read_well < 500
    assert not caplog.records

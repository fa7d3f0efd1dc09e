"""What is shown is what was measured, where it was measured, whatever the gantry did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import nibabel
import numpy as np
from numpy.typing import NDArray

from ichor.exam import AIR_HU, Exam, Geometry, Picture, Source
from ichor.jobs.display import Display, display_of
from ichor.jobs.volumes import read_plane, write_volume

RAS = np.diag([-1.0, -1.0, 1.0])


def stack(
    *,
    z: NDArray[np.float64],
    row: tuple[float, float, float] = (1, 0, 0),
    column: tuple[float, float, float] = (0, 1, 0),
    tilt: float = 0.0,
    spacing: tuple[float, float] = (0.8, 0.6),
    shape: tuple[int, int] = (40, 50),
) -> Exam:
    """Slices whose every voxel is a number of its own; ``tilt`` moves each along its columns, mm by mm of ``z``."""
    across, along = np.array(row, float), np.array(column, float)
    normal = np.cross(across, along)
    normal = -normal if normal[2] < 0 else normal
    positions = np.array([5.0, -7.0, 3.0]) + z[:, None] * (normal + tilt * along)
    geometry = Geometry(positions, across, along, spacing)
    n = len(z)
    volume = np.arange(n * shape[0] * shape[1]).reshape(n, *shape) % 3001 - 1000
    return Exam(volume.astype(np.int16), geometry, Source("x", "dicom"))


EVEN = np.arange(12) * 5.0
CASES = {
    "plain": {"z": EVEN},
    "tilted": {"z": EVEN, "tilt": 0.33},
    "tilted the other way": {"z": EVEN, "tilt": -0.2},
    "uneven": {"z": np.concatenate([np.arange(6) * 4.0, 20 + np.arange(1, 6) * 7.0])},
    "uneven and tilted": {"z": np.concatenate([np.arange(6) * 4.0, 20 + np.arange(1, 6) * 7.0]), "tilt": 0.3},
    "columns the other way": {"z": EVEN, "row": (-1, 0, 0)},
    "upside down": {"z": EVEN, "column": (0, -1, 0), "tilt": 0.25},
    "turned by a quarter": {"z": EVEN, "row": (0, 1, 0), "column": (-1, 0, 0), "tilt": 0.25},
    "in the gantry's plane": {"z": EVEN, "column": (0, np.cos(0.3), np.sin(0.3)), "tilt": -np.tan(0.3)},
    "one slice": {"z": np.zeros(1)},
}


@pytest.mark.parametrize("case", CASES)
def test_every_shown_voxel_is_the_native_one_at_its_place(case: str) -> None:
    exam = stack(**CASES[case])
    plan, volume = display_of(exam)
    g = exam.geometry
    rng = np.random.default_rng(1)
    seen = 0
    for shown, native in enumerate(plan.source):
        plane = plan.plane(volume, shown, AIR_HU)
        assert plane.shape == plan.shape
        for _ in range(60):
            r, c = rng.integers(plan.shape[0]), rng.integers(plan.shape[1])
            patient = RAS @ (plan.affine @ [c, r, shown, 1])[:3]
            from_corner = patient - g.positions[native]
            i = float(from_corner @ g.column_direction) / g.spacing[0]
            j = float(from_corner @ g.row_direction) / g.spacing[1]
            # Nearest by distance along the normal, within half of the widest gap that is no hole.
            assert native == np.abs(g.distances - patient @ g.normal).argmin()
            assert abs(from_corner @ g.normal) <= max(g.gaps, default=0) / 2 + 1e-6
            if not (0.5 < i < exam.volume.shape[1] - 1.5 and 0.5 < j < exam.volume.shape[2] - 1.5):
                continue
            near = exam.volume[native][int(i) : int(i) + 2, int(j) : int(j) + 2]
            assert plane[r, c] in near, (shown, r, c)  # shifted by half a pixel at most
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("case", CASES)
def test_the_shown_grid_is_rectangular_even_and_upright(case: str) -> None:
    plan, _ = display_of(stack(**CASES[case]))
    matrix = RAS @ plan.affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    axes = matrix / spacing
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert axes[0, 0] > 0.9  # columns to the patient's left
    assert axes[1, 1] > 0.9  # rows to the back
    assert axes[2, 2] > 0.9  # slices to the vertex


@pytest.mark.parametrize("case", CASES)
def test_every_native_slice_is_shown_whole(case: str) -> None:
    exam = stack(**CASES[case])
    plan, volume = display_of(exam)
    for native in range(exam.n_slices):
        shown = plan.shown_of(native)
        assert shown is not None
        assert plan.source[shown] == native
        plane = plan.plane(volume, shown, AIR_HU)
        assert np.array_equal(np.sort(plane[plane > AIR_HU]), np.sort(exam.volume[native].ravel()))


def test_a_hole_in_the_stack_is_shown_as_air() -> None:
    exam = stack(z=np.concatenate([np.arange(5) * 5.0, 60 + np.arange(5) * 5.0]))
    plan, volume = display_of(exam)
    holes = np.flatnonzero(plan.source < 0)
    assert 4 <= len(holes) <= 8
    assert (plan.plane(volume, int(holes[0]), AIR_HU) == AIR_HU).all()
    assert plan.as_dict()["source"][int(holes[0])] is None


def test_an_even_upright_exam_is_shown_as_it_is() -> None:
    exam = stack(z=EVEN)
    plan, volume = display_of(exam)
    assert np.array_equal([plan.plane(volume, k, 0) for k in range(12)], exam.volume)
    assert np.allclose(plan.affine, np.diag([-1.0, -1, 1, 1]) @ exam.geometry.affine())


def test_a_huge_exam_is_thinned_for_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ichor.jobs.display._MOST_VOXELS", 3000)
    exam = stack(z=EVEN)
    plan, volume = display_of(exam)
    assert plan.step > 1
    assert len(plan.source) * plan.shape[0] * plan.shape[1] <= 3000 * 1.5
    plane = plan.plane(volume, 1, AIR_HU)
    assert np.array_equal(plane, exam.volume[plan.source[1], :: plan.step, :: plan.step])
    point = (plan.affine @ [3, 2, 1, 1])[:3]
    assert np.allclose(
        exam.geometry.patient_to_voxel(RAS @ point), [plan.source[1], 2 * plan.step, 3 * plan.step], atol=1e-6
    )


def test_a_picture_is_shown_as_one_slice() -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    plan, volume = display_of(Picture(grey, Source("x", "picture"), (0, 0, 10, 20), (10, 20)))
    shown = plan.plane(volume, 0, 0)
    assert shown.shape == (10, 20)
    assert np.abs(shown / 80 * 255 - grey).max() <= 2
    assert plan.as_dict()["spacing_mm"] is None


@pytest.mark.parametrize("kind", [np.int16, np.uint8])
def test_a_volume_is_ordinary_nifti_and_each_slice_can_be_read_alone(tmp_path: Path, kind: type) -> None:
    rng = np.random.default_rng(2)
    planes = rng.integers(0, 200, (7, 30, 41)).astype(kind)
    affine = np.array([[-0.5, 0, 0, 10], [0, -0.6, 0.1, 20], [0, 0.1, 4, -30], [0, 0, 0, 1.0]])
    path = tmp_path / "volume.nii.gz"
    write_volume(path, iter(planes), 7, affine, "a test")
    image = nibabel.load(path)
    assert image.get_data_dtype() == kind
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), planes)
    assert np.allclose(image.affine, affine, atol=1e-5)
    for k in range(7):
        assert np.array_equal(read_plane(path, k), planes[k])
    for wrong in (-1, 7):
        with pytest.raises(IndexError):
            read_plane(path, wrong)


def test_a_shift_of_half_a_pixel_at_most() -> None:
    exam = stack(z=EVEN, tilt=0.33)
    plan, _ = display_of(exam)
    assert isinstance(plan, Display)
    places = exam.geometry.positions @ exam.geometry.column_direction / exam.geometry.spacing[0]
    moved = plan.shifts[:, 0] - plan.shifts[0, 0]
    assert np.abs(moved - (places - places[0])).max() <= 0.5
    assert plan.shape[0] == exam.volume.shape[1] + moved.max()


def test_no_side_is_claimed_where_the_orientation_is_not_known() -> None:
    known = stack(z=EVEN)
    unknown = replace(known, geometry=replace(known.geometry, orientation_known=False))
    assert display_of(known)[0].as_dict()["orientation_known"] is True
    assert display_of(unknown)[0].as_dict()["orientation_known"] is False
    picture = Picture(np.zeros((64, 64), np.uint8), Source("x", "picture"), (0, 0, 64, 64), (64, 64))
    assert display_of(picture)[0].as_dict()["orientation_known"] is False

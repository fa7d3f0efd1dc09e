"""A point's patient coordinates survive the way to the network's grid and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ichor.exam import AIR_HU, Exam, Geometry
from ichor.preparing import GridSpec, GridTransform, plan_grid

SPEC = GridSpec(rows=320, columns=256, margin=0.06, slab_mm=5.0)
CENTRE = np.array([6.0, -14.0, 40.0])
INSIDE = CENTRE + np.array(
    [[0, 0, 0], [38, 5, -10], [-41, 12, 22], [10, 61, 0], [-8, -58, 14], [25, -30, -28]], float
)


def centroid(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Row and column of a bright spot's middle."""
    weights = np.where(plane > 0.2 * plane.max(), plane, 0).astype(np.float64)
    rows, columns = np.indices(plane.shape)
    return np.array([(weights * rows).sum(), (weights * columns).sum()]) / weights.sum()


def round_trip(transform: GridTransform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in native voxels between points and their way over the grid."""
    geometry = transform.geometry
    grid = transform.patient_to_grid(points)
    back = geometry.patient_to_voxel(transform.grid_to_patient(grid))
    return np.abs(back - geometry.patient_to_voxel(points)).max(axis=0)


def test_points_go_to_the_grid_and_back(head: Any) -> None:
    transform = plan_grid(head.exam.volume, head.exam.geometry, SPEC)
    assert round_trip(transform, INSIDE).max() < 1e-6
    grid = transform.patient_to_grid(INSIDE)
    assert (grid[:, 1:] > 0).all()
    assert (grid[:, 1:] < [SPEC.rows, SPEC.columns]).all()


def test_a_dot_shows_where_its_coordinates_say(head: Any) -> None:
    exam = head.exam
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    plain = transform.native_to_grid(exam.volume)
    assert plain.shape == (transform.n_slices, SPEC.rows, SPEC.columns)
    for point in INSIDE:
        shown = transform.native_to_grid(head.with_dot(point)) - plain
        expected = transform.patient_to_grid(point)
        k = int(shown.max(axis=(1, 2)).argmax())
        assert abs(k - expected[0]) <= 0.51
        native_pixel = min(transform.scale)  # native pixels a grid pixel: half of either is allowed
        assert np.abs(centroid(shown[k]) - expected[1:]).max() <= max(0.5, 0.5 / native_pixel)


def test_the_grid_is_upright(head: Any) -> None:
    """Face up, the patient's left on the right, the vertex last."""
    exam = head.exam
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    plain = transform.native_to_grid(exam.volume)
    left, back, up = (
        transform.native_to_grid(head.with_dot(CENTRE + np.array(step))) - plain
        for step in ([40.0, 0, 0], [0, 40.0, 0], [0, 0, 35.0])
    )
    middle = transform.patient_to_grid(CENTRE)
    at = [np.unravel_index(int(shown.argmax()), shown.shape) for shown in (left, back, up)]
    assert at[0][2] > middle[2] + 20
    assert at[1][1] > middle[1] + 20
    assert at[2][0] > middle[0] + 2


def test_a_map_comes_back_to_where_it_was_drawn(head: Any) -> None:
    """A spot on a map of stride 2 lands on the native voxel that has its patient coordinates."""
    exam, geometry = head.exam, head.exam.geometry
    transform = plan_grid(exam.volume, geometry, SPEC)
    rows, columns = np.mgrid[: SPEC.rows // 2, : SPEC.columns // 2]
    for point in INSIDE:
        expected = transform.patient_to_grid(point)
        k = int(np.clip(np.rint(expected[0]), 0, transform.n_slices - 1))
        row, column = (expected[1:] - 0.5) / 2  # a map pixel covers two grid pixels
        maps = np.zeros((transform.n_slices, SPEC.rows // 2, SPEC.columns // 2), np.float32)
        maps[k] = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2 / 2.5**2)
        native = transform.grid_to_native(maps)
        assert native.shape == exam.volume.shape
        hot = int(native.max(axis=(1, 2)).argmax())
        found = geometry.voxel_to_patient([hot, *centroid(native[hot])])
        # In the plane: within half a native or half a map pixel; along the normal: within half a slab.
        there = transform.grid_to_patient([k, *expected[1:]])
        along = (found - there) @ geometry.normal
        across = np.linalg.norm(found - there - along * geometry.normal)
        assert across <= 0.5 * max(*geometry.spacing, 2 * transform.pixel_mm)
        assert abs(along) <= 0.51 * max(SPEC.slab_mm, float(geometry.gaps.max()))


def test_only_the_wanted_slices_are_carried_back(head_in: Callable[[str], Any]) -> None:
    exam = head_in("thin and tilted").exam
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    maps = np.random.default_rng(3).random((transform.n_slices, 160, 128), np.float32)
    whole = transform.grid_to_native(maps)
    np.testing.assert_allclose(transform.grid_to_native(maps, [5, 33, 2]), whole[[5, 33, 2]], atol=1e-6)


def test_the_head_fills_the_grid_with_its_margin(head: Any) -> None:
    transform = plan_grid(head.exam.volume, head.exam.geometry, SPEC)
    middle = transform.native_to_grid(head.exam.volume)[transform.n_slices // 2]
    tissue = middle > 0
    height = np.ptp(np.flatnonzero(tissue.any(axis=1))) / SPEC.rows
    width = np.ptp(np.flatnonzero(tissue.any(axis=0))) / SPEC.columns
    assert 0.8 < max(height, width) <= 1.0


def test_values_and_constant_volumes_are_kept(head: Any) -> None:
    """Neither slabs nor resizing change what is even."""
    exam = head.exam
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    even = np.full_like(exam.volume, 37)
    inside = transform.patient_to_grid(INSIDE).astype(int)
    planes = transform.native_to_grid(even)
    for _, row, column in inside:
        np.testing.assert_allclose(planes[:, row, column], 37, atol=1e-3)
    np.testing.assert_allclose(transform.to_grid_weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(transform.to_native_weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        transform.grid_values_to_native(np.full((transform.n_slices, 6), 0.3)), 0.3, atol=1e-6
    )


def test_thick_slices_are_not_mixed(head_in: Callable[[str], Any]) -> None:
    for name in ("upright", "tilted", "uneven"):
        exam = head_in(name).exam
        transform = plan_grid(exam.volume, exam.geometry, SPEC)
        assert transform.n_slices == exam.n_slices
        np.testing.assert_array_equal(transform.to_grid_weights, np.eye(exam.n_slices))


def test_thin_slices_become_slabs_of_the_stated_thickness(head_in: Callable[[str], Any]) -> None:
    exam = head_in("thin").exam
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    assert np.diff(transform.distances) == pytest.approx(5.0, rel=0.05)
    # A lamp in one 1.25 mm slice gives a quarter of its light to the 5 mm slab around it.
    ramp = np.zeros(exam.n_slices)
    ramp[exam.n_slices // 2] = 1
    assert (transform.to_grid_weights @ ramp).max() == pytest.approx(0.25, abs=0.05)


def test_an_empty_volume_gets_a_grid_over_the_whole_slice() -> None:
    geometry = Geometry(
        positions=np.array([[0.0, 0, 0], [0, 0, 5]]),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing=(0.5, 0.5),
    )
    volume = np.full((2, 300, 200), AIR_HU, np.int16)
    transform = plan_grid(volume, geometry, SPEC)
    corners = transform.patient_to_grid(geometry.voxel_to_patient([[0, 0, 0], [1, 299, 199]]))
    assert (corners[:, 1:] >= 0).all()
    assert (corners[:, 1:] <= [319, 255]).all()
    assert (transform.native_to_grid(volume) == AIR_HU).all()


# -- two real exams with gantry tilt -----------------------------------------------------------------


def _voxels(exam: Exam, n: int = 40) -> NDArray[np.intp]:
    """Voxels well within the head."""
    rng = np.random.default_rng(11)
    inside = np.argwhere((exam.volume > 15) & (exam.volume < 60))
    return inside[rng.choice(len(inside), n, replace=False)]


def test_real_points_survive_within_half_a_voxel(tilted_exam: Exam) -> None:
    transform = plan_grid(tilted_exam.volume, tilted_exam.geometry, SPEC)
    points = tilted_exam.geometry.voxel_to_patient(_voxels(tilted_exam))
    assert round_trip(transform, points).max() < 1e-6
    assert abs(tilted_exam.geometry.tilt_degrees) > 8


def test_real_dots_go_to_the_grid_and_back_within_half_a_voxel(tilted_exam: Exam) -> None:
    """Light one voxel's neighbourhood, follow it over the grid and back, and find it where it was."""
    exam, geometry = tilted_exam, tilted_exam.geometry
    transform = plan_grid(exam.volume, geometry, SPEC)
    plain = transform.native_to_grid(exam.volume)
    size = 9
    spot = np.hypot(*np.mgrid[-size : size + 1, -size : size + 1])
    spot = np.rint(800 * np.exp(-(spot**2) / 2 / 3.0**2)).astype(np.int16)
    rows, columns = exam.volume.shape[1:]
    checked = 0
    for k, row, column in _voxels(exam, 60):
        if not (size < row < rows - size - 1 and size < column < columns - size - 1):
            continue
        lit = exam.volume.copy()
        lit[k, row - size : row + size + 1, column - size : column + size + 1] += spot
        shown = transform.native_to_grid(lit) - plain
        expected = transform.patient_to_grid(geometry.voxel_to_patient([k, row, column]))
        if not ((expected[1:] > 12) & (expected[1:] < [SPEC.rows - 13, SPEC.columns - 13])).all():
            continue  # at the grid's edge part of the spot is cut away
        hot = int(shown.max(axis=(1, 2)).argmax())
        assert abs(hot - expected[0]) <= 0.51
        assert np.abs(centroid(shown[hot]) - expected[1:]).max() <= 0.5 / max(transform.scale)
        back = transform.grid_to_native(shown)
        again = int(back.max(axis=(1, 2)).argmax())
        # A slab may give its light back to the slice beside: with tilt, another row there is the same place.
        error = geometry.voxel_to_patient([again, *centroid(back[again])]) - geometry.voxel_to_patient(
            [k, row, column]
        )
        along = error @ geometry.normal
        assert np.linalg.norm(error - along * geometry.normal) <= 0.5 * min(geometry.spacing)
        assert abs(along) <= 0.51 * max(SPEC.slab_mm, geometry.gaps.max())
        checked += 1
        if checked == 12:
            break
    assert checked == 12

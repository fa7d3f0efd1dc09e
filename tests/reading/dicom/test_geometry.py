"""Synthetic series of known geometry: every voxel must lie where the phantom has its value."""

from __future__ import annotations

import numpy as np
import pytest

from ..phantoms import (
    Plan,
    codes,
    enhanced,
    expected_volume,
    head_series,
    read_one,
    refusal,
    write,
)

ORDINARY: set[str] = set()


def turned(degrees: float, axis: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return (1, 0, 0), (0, c, s)
    if axis == "y":
        return (c, 0, s), (0, 1, 0)
    return (c, s, 0), (-s, c, 0)


def tilted(degrees: float, step: float = 6.5) -> Plan:
    """Slices turned about x, but stacked along the table: a tilted gantry."""
    row, column = turned(degrees, "x")
    normal = np.cross(row, column)
    along = np.array([0, 0, step / normal[2]])
    return Plan(step=step, row=row, column=column, shear=tuple(along - step * normal))


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(Plan(), ORDINARY, id="standard"),
        pytest.param(Plan(row=(-1, 0, 0)), {"orientation_flipped"}, id="rows run to the right"),
        pytest.param(Plan(column=(0, -1, 0)), {"orientation_flipped"}, id="columns run to the front"),
        pytest.param(Plan(row=(-1, 0, 0), column=(0, -1, 0)), {"orientation_flipped"}, id="half a turn"),
        pytest.param(Plan(row=(0, 1, 0), column=(-1, 0, 0)), {"orientation_flipped"}, id="quarter turn"),
        pytest.param(
            Plan(row=turned(20, "x")[0], column=turned(20, "x")[1]), {"oblique"}, id="oblique about x"
        ),
        pytest.param(
            Plan(row=turned(-25, "y")[0], column=turned(-25, "y")[1]), {"oblique"}, id="oblique about y"
        ),
        pytest.param(
            Plan(row=turned(15, "z")[0], column=turned(15, "z")[1]), {"oblique"}, id="rolled in plane"
        ),
        pytest.param(tilted(18.5), {"gantry_tilt"}, id="gantry tilt +18.5"),
        pytest.param(tilted(-8.5), {"gantry_tilt"}, id="gantry tilt -8.5"),
        pytest.param(Plan(n=30, step=5.0), ORDINARY, id="thinner"),
        pytest.param(Plan(n=18, step=8.0), {"slices_thick"}, id="thick"),
    ],
)
def test_every_voxel_lies_where_the_header_says(tmp_path, plan, expected):
    exam = read_one(write(tmp_path / "exam", reversed(head_series(plan))))
    assert codes(exam) == expected
    assert exam.volume.shape == (plan.n, *plan.shape)
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert np.allclose(exam.geometry.gaps, plan.step)
    assert (exam.volume == 1500).any(), "the bead, which makes left and right tell apart, was sampled"


@pytest.mark.parametrize("degrees", [18.5, -8.5, 0.8])
def test_tilt_is_measured_from_positions(tmp_path, degrees):
    datasets = head_series(tilted(degrees))
    for data in datasets:
        data.GantryDetectorTilt = 3  # a tag that is wrong is not believed
    exam = read_one(write(tmp_path / "exam", datasets))
    assert exam.geometry.tilt_degrees == pytest.approx(abs(degrees), abs=0.01)
    assert f"{abs(degrees):.1f} degrees" in next(n.message for n in exam.notices if n.code == "gantry_tilt")


def test_points_survive_the_way_to_voxels_and_back(tmp_path):
    exam = read_one(write(tmp_path / "exam", head_series(tilted(18.5))))
    points = np.random.default_rng(1).uniform(-60, 60, (200, 3))
    back = exam.geometry.voxel_to_patient(exam.geometry.patient_to_voxel(points))
    assert np.abs(back - points).max() < 1e-6


def test_a_missing_slice_is_told_and_the_rest_stays_in_place(tmp_path):
    datasets = head_series()
    del datasets[6:8]
    exam = read_one(write(tmp_path / "exam", datasets))
    missing = next(n for n in exam.notices if n.code == "slices_missing")
    assert missing.message.startswith("About 2 slices")
    assert missing.slices == (5,)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_uneven_gaps_are_told(tmp_path):
    datasets = head_series()
    del datasets[1::2]  # 13 mm below, 6.5 mm above
    datasets += head_series(study=datasets[0].StudyInstanceUID, series=datasets[0].SeriesInstanceUID)[9:]
    del datasets[4]
    exam = read_one(write(tmp_path / "exam", datasets))
    assert "spacing_uneven" in codes(exam)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_uneven_thickness_is_no_missing_slice(tmp_path):
    thin, thick = Plan(n=9, step=4.0), Plan(n=9, step=7.0, spacing=Plan().spacing)
    low, high = head_series(thin), head_series(thick)
    for data in low:
        data.ImagePositionPatient[2] = float(data.ImagePositionPatient[2]) - 45
    for data in high:
        data.SeriesInstanceUID, data.StudyInstanceUID = low[0].SeriesInstanceUID, low[0].StudyInstanceUID
        data.InstanceNumber += 20
    exam = read_one(write(tmp_path / "exam", low + high))
    assert {"thickness_mixed", "spacing_uneven"} <= codes(exam)
    assert "slices_missing" not in codes(exam)
    assert sorted(set(exam.geometry.thickness)) == [4.0, 7.0]


def test_duplicates_keep_the_first_by_number(tmp_path):
    datasets = head_series()
    again = head_series(series=datasets[0].SeriesInstanceUID, study=datasets[0].StudyInstanceUID)[4:6]
    for data in again:
        data.InstanceNumber += 100
        data.PixelData = bytes(len(data.PixelData))
    exam = read_one(write(tmp_path / "exam", again + datasets))
    duplicate = next(n for n in exam.notices if n.code == "positions_duplicate")
    assert duplicate.slices == (4, 5)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_the_same_file_twice_is_one_slice(tmp_path):
    datasets = head_series()
    write(tmp_path / "exam" / "a", datasets)
    write(tmp_path / "exam" / "b", datasets[:3])
    exam = read_one(tmp_path / "exam")
    assert exam.n_slices == 22
    assert "positions_duplicate" in codes(exam)


def test_slices_of_another_size_are_left_out(tmp_path):
    datasets = head_series()
    odd = head_series(
        Plan(shape=(40, 40)), series=datasets[0].SeriesInstanceUID, study=datasets[0].StudyInstanceUID
    )
    exam = read_one(write(tmp_path / "exam", odd[:4] + datasets))
    assert codes(exam) == {"mixed_size"}
    assert next(n for n in exam.notices).message.startswith("4 of 26 slices")
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_slices_of_another_orientation_are_left_out(tmp_path):
    datasets = head_series()
    odd = head_series(
        Plan(column=(0, 0, -1)), series=datasets[0].SeriesInstanceUID, study=datasets[0].StudyInstanceUID
    )
    exam = read_one(write(tmp_path / "exam", odd[:4] + datasets))
    assert codes(exam) == {"mixed_orientation"}
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_rounded_orientation_parts_nothing(tmp_path):
    datasets = head_series(tilted(18.2))
    for k, data in enumerate(datasets):
        data.ImageOrientationPatient = [float(v) + (-1) ** k * 2e-4 for v in data.ImageOrientationPatient]
    exam = read_one(write(tmp_path / "exam", datasets))
    assert exam.n_slices == 22


@pytest.mark.parametrize(
    ("column", "row"), [((0, 0, -1), (1, 0, 0)), ((0, 0, -1), (0, 1, 0))], ids=["coronal", "sagittal"]
)
def test_what_is_not_axial_is_refused(tmp_path, column, row):
    refused = refusal(write(tmp_path / "exam", head_series(Plan(row=row, column=column))))
    assert refused.code == "orientation_not_axial"
    assert "90 degrees" in refused.found


def test_without_positions_the_slice_location_orders(tmp_path):
    datasets = head_series()
    for k, data in enumerate(datasets):
        del data.ImagePositionPatient
        data.SliceLocation = -200 + 6.5 * k
        data.InstanceNumber = 99 - k
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == {"position_missing"}
    assert not exam.geometry.positions_known
    assert exam.geometry.spacing_known
    expected = expected_volume(read_one(write(tmp_path / "whole", head_series())))
    assert np.array_equal(exam.volume, expected)
    assert np.allclose(exam.geometry.gaps, 6.5)


def test_without_location_the_number_orders(tmp_path):
    datasets = head_series()
    for data in datasets:
        del data.ImagePositionPatient
    exam = read_one(write(tmp_path / "exam", datasets))
    message = next(n.message for n in exam.notices if n.code == "position_missing")
    assert "instance number" in message
    assert np.array_equal(exam.volume, expected_volume(read_one(write(tmp_path / "whole", head_series()))))


def test_without_anything_the_order_is_unknown(tmp_path):
    datasets = head_series()
    for data in datasets:
        del data.ImagePositionPatient, data.InstanceNumber
    assert refusal(write(tmp_path / "exam", datasets)).code == "order_unknown"


def test_a_few_slices_without_position_are_left_out(tmp_path):
    datasets = head_series()
    del datasets[3].ImagePositionPatient
    exam = read_one(write(tmp_path / "exam", datasets))
    assert exam.n_slices == 21
    assert {"position_missing", "slices_missing"} <= codes(exam)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_without_orientation_a_standard_one_is_assumed(tmp_path):
    datasets = head_series()
    for data in datasets:
        del data.ImageOrientationPatient
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == {"orientation_missing"}
    assert np.array_equal(exam.volume, expected_volume(exam))


@pytest.mark.parametrize("orientation", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [5, 0, 0, 0, 5, 0]])
def test_an_orientation_that_is_none_is_not_used(tmp_path, orientation):
    datasets = head_series()
    for data in datasets:
        data.ImageOrientationPatient = orientation
    assert "orientation_missing" in codes(read_one(write(tmp_path / "exam", datasets)))


def test_missing_spacing_is_told_and_no_volume_can_be_given(tmp_path):
    datasets = head_series()
    for data in datasets:
        del data.PixelSpacing
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == {"spacing_missing"}
    assert not exam.geometry.spacing_known


@pytest.mark.parametrize(("n", "step"), [(4, 20.0), (8, 4.0), (1, 5.0)])
def test_too_little_of_a_head_is_refused(tmp_path, n, step):
    refused = refusal(write(tmp_path / "exam", head_series(Plan(n=n, step=step))))
    assert refused.code == "too_few_slices"


def test_one_file_by_name_is_judged_alone(tmp_path):
    folder = write(tmp_path / "exam", head_series()[11:12])
    exam = read_one(next(folder.iterdir()))
    assert codes(exam) == {"single_slice"}
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_enhanced_multi_frame_reads_like_single_frames(tmp_path):
    order = np.random.default_rng(2).permutation(22).tolist()
    folder = write(tmp_path / "exam", [enhanced(tilted(12.0), order=order)])
    exam = read_one(next(folder.iterdir()))
    assert codes(exam) == {"gantry_tilt"}
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert exam.source.frame_numbers == tuple(order.index(k) + 1 for k in range(22))
    assert len(set(exam.source.sop_instance_uids)) == 1


def test_enhanced_frames_have_their_own_rescale(tmp_path):
    folder = write(tmp_path / "exam", [enhanced(slopes=(1.0, 2.0, 0.5))])
    exam = read_one(folder)
    assert "rescale_varies" in codes(exam)
    assert np.abs(exam.volume.astype(int) - expected_volume(exam)).max() <= 1  # slope 2 rounds


def test_a_concatenation_is_one_exam(tmp_path):
    whole = enhanced()
    parts = []
    for first in (0, 12):
        part = enhanced(order=range(first, min(first + 12, 22)))
        part.StudyInstanceUID, part.SeriesInstanceUID = whole.StudyInstanceUID, whole.SeriesInstanceUID
        parts.append(part)
    exam = read_one(write(tmp_path / "exam", parts))
    assert exam.n_slices == 22
    assert np.array_equal(exam.volume, expected_volume(exam))

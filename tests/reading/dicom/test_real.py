"""Two real head exams with a tilted gantry, against what pydicom reads and what a head is made of."""

from __future__ import annotations

import time

import numpy as np
import pydicom
import pytest

from ..phantoms import read_one


@pytest.fixture(scope="module", params=["cq500/CQ500-CT-0", "dicom-oddities/ge_head_tilt_varspacing"])
def real(request, shared_data):
    folder = shared_data / request.param
    return read_one(folder), [pydicom.dcmread(p) for p in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def cq500(shared_data):
    return read_one(shared_data / "cq500" / "CQ500-CT-0")


@pytest.fixture(scope="module")
def ge(shared_data):
    return read_one(shared_data / "dicom-oddities" / "ge_head_tilt_varspacing")


def test_tilt_and_step(cq500, ge):
    assert cq500.volume.shape == (60, 512, 512)
    assert cq500.geometry.tilt_degrees == pytest.approx(8.5, abs=0.05)
    assert cq500.geometry.slice_step == pytest.approx(2.5 * np.cos(np.radians(8.5)), abs=0.01)
    assert ge.volume.shape == (28, 512, 512)
    assert ge.geometry.tilt_degrees == pytest.approx(18.5, abs=0.05)
    # 4 mm and 7 mm slices, with a gap of a millimetre where the two stacks meet.
    assert ge.geometry.gaps[:13] == pytest.approx(4.0, abs=0.01)
    assert ge.geometry.gaps[13] == pytest.approx(1.08, abs=0.01)
    assert ge.geometry.gaps[14:] == pytest.approx(7.0, abs=0.01)
    assert ge.geometry.thickness.tolist() == [4.0] * 14 + [7.0] * 14


def test_positions_and_order_are_those_of_the_headers(real):
    exam, datasets = real
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    assert sorted(exam.source.sop_instance_uids) == sorted(by_uid)
    ordered = [by_uid[uid] for uid in exam.source.sop_instance_uids]
    assert np.array_equal(exam.geometry.positions, np.array([d.ImagePositionPatient for d in ordered], float))
    assert np.all(np.diff(exam.geometry.positions[:, 2]) > 0), "towards the vertex"
    assert np.allclose(exam.geometry.row_direction, ordered[0].ImageOrientationPatient[:3])
    assert np.allclose(exam.geometry.column_direction, ordered[0].ImageOrientationPatient[3:], atol=1e-6)
    assert exam.geometry.spacing == tuple(ordered[0].PixelSpacing)


def test_a_voxel_lies_where_the_dicom_equation_says(real):
    exam, datasets = real
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    rng = np.random.default_rng(0)
    for _ in range(20):
        k, i, j = rng.integers(0, exam.volume.shape)
        d = by_uid[exam.source.sop_instance_uids[k]]
        orientation, spacing = np.array(d.ImageOrientationPatient, float), d.PixelSpacing
        # PS3.3 C.7.6.2.1.1
        point = (
            np.array(d.ImagePositionPatient, float)
            + orientation[:3] * spacing[1] * j
            + orientation[3:] * spacing[0] * i
        )
        assert np.abs(exam.geometry.voxel_to_patient([k, i, j]) - point).max() < 0.001
        assert np.abs(exam.geometry.patient_to_voxel(point) - [k, i, j]).max() < 0.01


def test_values_are_those_of_pydicom(real):
    exam, datasets = real
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    for k in (0, exam.n_slices // 2, exam.n_slices - 1):
        d = by_uid[exam.source.sop_instance_uids[k]]
        hu = d.pixel_array.astype(int) * int(d.RescaleSlope) + int(d.RescaleIntercept)
        assert np.array_equal(exam.volume[k], np.maximum(hu, -1024))


def test_air_brain_and_bone_have_their_values(real):
    exam, _ = real
    middle = exam.volume[exam.n_slices // 2]
    air = middle[middle < -800]
    brain = middle[(middle > 0) & (middle < 80)]
    assert exam.volume.min() == -1024, "GE's padding (-1500, -2000) has become air"
    assert np.median(air) < -950
    assert 25 < np.median(brain) < 45
    assert 0.2 < len(brain) / middle.size < 0.4
    assert np.percentile(exam.volume, 99.5) > 1000
    # The brain fills the middle of the image, the skull surrounds it.
    centre = middle[216:296, 216:296]
    assert 5 < np.median(centre) < 45


def test_the_order_is_from_base_to_vertex(real):
    exam, _ = real
    area = (exam.volume > -200).sum(axis=(1, 2))
    assert area[-1] < 0.4 * area.max(), "the vertex is the smallest cut"
    assert area[0] > area[-1]


def test_sixty_lossless_slices_are_read_in_time(shared_data):
    began = time.process_time()  # of the processor: a busy machine is no slow reader
    read_one(shared_data / "cq500" / "CQ500-CT-0")
    assert time.process_time() - began < 4, "the whole command has 4 s"

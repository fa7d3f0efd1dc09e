"""Segmentations: the right planes and the right voxels, whatever the source is like."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("highdicom")

from ichor.labels import LABELS
from ichor.results.kinds import KINDS
from results.made import SOURCES, errors_of, place_of, sources_in, study_of, written


def voxels_and_places(study, data) -> tuple[np.ndarray, float]:
    """Region numbers on the exam's slices as the object has them, and how far its planes lie off the source's."""
    source = study.exam.source
    frames = source.frame_numbers or (None,) * study.exam.n_slices
    slice_of = {pair: k for k, pair in enumerate(zip(source.sop_instance_uids, frames, strict=True))}
    headers = sources_in(study.path)
    found, off = np.zeros(study.exam.volume.shape, np.uint8), 0.0
    pixels = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    for frame, plane in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (origin,) = frame.DerivationImageSequence[0].SourceImageSequence
        uid, number = str(origin.ReferencedSOPInstanceUID), origin.get("ReferencedFrameNumber")
        k = slice_of[uid, None if number is None else int(number)]
        assert not (found[k] & plane).any()
        found[k] += plane.astype(np.uint8) * frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert origin.ReferencedSOPClassUID == headers[uid].SOPClassUID
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        off = max(off, float(np.abs(place - place_of(headers[uid], number)).max()))
    return found, off


@pytest.mark.parametrize("name", SOURCES)
def test_planes_and_voxels_are_the_sources_own(name, tmp_path):
    study = study_of(written(tmp_path / "in", name))
    (made,) = study.results("seg").objects
    data = made.dataset
    found, off = voxels_and_places(study, data)
    assert np.array_equal(found, study.findings.mask)
    assert len(data.SegmentSequence) == len(study.findings.regions) == 2
    assert off < 1e-6
    assert np.allclose(
        np.array(
            data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float
        ),
        [*study.exam.geometry.row_direction, *study.exam.geometry.column_direction],
        atol=1e-9,
    )
    path = tmp_path / "seg.dcm"
    path.write_bytes(made.content)
    assert errors_of(path) == []


def test_no_thickness_is_claimed_that_a_slice_has_not_and_spacing_only_where_it_is_even(tmp_path):
    uneven = study_of(written(tmp_path / "uneven", "uneven")).results("seg").objects[0].dataset
    (measures,) = uneven.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SliceThickness) == 3.0
    assert "SpacingBetweenSlices" not in measures
    assert [float(v) for v in measures.PixelSpacing] == [3.4, 3.0]
    even = study_of(written(tmp_path / "even", "even")).results("seg").objects[0].dataset
    (measures,) = even.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (float(measures.SliceThickness), float(measures.SpacingBetweenSlices)) == (6.5, 6.5)


def test_segments_say_what_they_are_and_who_made_them(tmp_path):
    study = study_of(written(tmp_path, "even"))
    data = study.results("seg").objects[0].dataset
    label = next(x for x in LABELS if x.name == study.findings.regions[0].label)
    for number, segment in enumerate(data.SegmentSequence, start=1):
        assert segment.SegmentNumber == number
        assert segment.SegmentLabel == f"Region {number}: {label.display}"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (label.snomed, "SCT")
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmVersion == "0.0"
        assert "5" * 64 in algorithm.AlgorithmParameters
        assert len(segment.RecommendedDisplayCIELabValue) == 3
    assert len({s.TrackingUID for s in data.SegmentSequence}) == 2
    assert data.SegmentationType == "BINARY"


def test_a_region_whose_type_is_not_probable_is_coded_as_any_hemorrhage(tmp_path):
    study = study_of(written(tmp_path, "even"))
    doubtful = {"subdural": 0.5, "epidural": 0.4, "subarachnoid": 0.1}
    first = study.findings.regions[0].replace(label="subdural", probabilities=doubtful)
    regions = [first, *study.findings.regions[1:]]
    study = type(study)(study.path, study.exam, study.findings.replace(regions=regions))
    segment = study.results("seg").objects[0].dataset.SegmentSequence[0]
    assert segment.SegmentLabel == "Region 1: type undetermined"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == LABELS[0].snomed


def test_no_region_no_segmentation_and_a_notice_that_says_so(tmp_path):
    path = written(tmp_path, "even")
    exam = study_of(path).exam
    results = study_of(path, np.zeros(exam.volume.shape, np.uint8)).results("seg")
    assert results.objects == ()
    (left_out,) = [n for n in results.notices if n.code == "result_left_out"]
    assert KINDS["seg"].words in left_out.message
    assert "no region" in left_out.message


def test_real_tilt_with_mixed_thickness(shared_data, tmp_path):
    study = study_of(shared_data / "dicom-oddities" / "ge_head_tilt_varspacing")
    results = study.results("seg")
    found, off = voxels_and_places(study, results.objects[0].dataset)
    assert np.array_equal(found, study.findings.mask)
    assert found.any()
    assert off < 1e-6
    (path,) = results.save(tmp_path)
    assert errors_of(path) == []

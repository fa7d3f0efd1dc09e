"""What is counted, what is kept, what is told of files that cannot be read."""

import numpy as np
import pytest

from ichor.errors import RefusedInput, UsageError
from ichor.exploring.survey import HU_LOW, survey

from .made import Made, N, labels_of, made, volume


def test_every_pixel_of_the_heads_is_counted_by_what_is_known_of_its_slice():
    dataset = made(2)
    found = survey(dataset)
    assert [e.patient for e in found.exams] == ["a", "b"] and found.chosen == 2
    # Slices without hemorrhage hold none of the blood's HU more than spots do; those with hold the disk.
    blood = found.blood_hu
    assert np.flatnonzero(blood).tolist() == [68 - HU_LOW]
    marked = (volume(1, (5, 6))[:, ::2, ::2] == 68)[[5, 6]].sum()
    assert abs(int(blood.sum()) - marked) <= 0.35 * marked
    assert found.hu[0].sum() > 5 * found.hu[1].sum() > 0 and found.hu[2].sum() == 0


def test_facts_of_an_exam():
    exam = survey(made(1)).exams[0]
    assert (exam.spacing_mm, exam.step_mm, exam.thickness_mm, exam.tilt_degrees) == (2.0, 5.0, 5.0, 0.0)
    assert (
        exam.shape == (96, 96) and exam.labels.shape == (N, 6) and exam.subgroup_values == {"age_years": 40.0}
    )
    assert not exam.repeated and not exam.out_of_order


def test_repeated_and_disordered_slices_are_noticed():
    twice = volume(0)
    twice[7] = twice[6]
    mixed = volume(1)[[0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 4, 5]]
    found = survey(made(0, volumes={"t": twice, "m": mixed}, labels={"t": labels_of(), "m": labels_of()}))
    facts = {e.patient: e for e in found.exams}
    assert facts["t"].repeated == 1 and facts["m"].repeated == 0
    assert facts["m"].out_of_order and not facts["t"].out_of_order


def test_what_cannot_be_read_is_told_without_a_path():
    refused = RefusedInput("folder/name.dcm", "unreadable", found="junk", expected="DICOM", remedy="look")
    broken = {"x": OSError("folder/name.png is cut"), "y": refused}
    found = survey(made(2, volumes=broken, labels={"x": labels_of(), "y": labels_of(3)}))
    assert {f.patient: f.reason for f in found.faults} == {
        "x": "broken (OSError)",
        "y": "Found junk; expected DICOM; look.",
    }
    assert len(found.exams) == 2 and len(found.patients) == 4
    with pytest.raises(UsageError, match=r"found 1 exams of which none can be read \(the first: broken"):
        survey(Made({"x": broken["x"]}, {"x": labels_of()}))


def test_a_sample_has_its_share_of_a_rare_subtype_and_all_slices_are_counted():
    volumes = {f"p{k:02d}": volume(k) for k in range(20)}
    labels = {name: labels_of(4, place=1) if name < "p04" else labels_of() for name in volumes}
    found = survey(Made(volumes, labels), 5)
    assert found.chosen == len(found.exams) == 5 and len(found.slice_labels) == 20
    assert sum(e.labels[:, 1].max() for e in found.exams) == 1


def test_each_class_is_shown_by_a_slice_that_has_it():
    found = survey(made(4))
    assert [(s.patient, s.index in (5, 6)) for s in found.thumbnails["intraparenchymal"]] == [
        ("b", True),
        ("d", True),
    ]
    assert all(dataset_free(s) for s in found.thumbnails["none"]) and len(found.thumbnails["none"]) == 4
    assert found.thumbnails["epidural"] == []


def dataset_free(shown):
    return shown.grey.shape == (176, 176) and shown.grey.max() == 255

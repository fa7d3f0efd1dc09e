"""The public names: read and detect from Python, as the command does."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources

import jsonschema
import numpy as np
import pytest

import ichor
from ichor.findings import Findings
from ichor.labels import LABEL_NAMES
from ichor.uids import hashed_uid

LABELS = ["any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
CONTRACT = {
    "schema",
    "input",
    "kind",
    "study_uid",
    "series_uid",
    "n_slices",
    "spacing_mm",
    "probabilities",
    "thresholds",
    "positive",
    "uncertain",
    "uncertainty",
    "subtypes",
    "slices",
    "regions",
    "volume_ml",
    "window",
    "assessable",
    "warnings",
    "bundle",
    "seconds",
}


@pytest.fixture(scope="module")
def real(shared_data):
    """A real head: 28 slices, gantry tilt, uneven gaps."""
    return shared_data / "dicom-oddities" / "ge_head_tilt_varspacing"


@pytest.fixture(scope="module")
def exam(real):
    return ichor.read(real)


@pytest.fixture(scope="module")
def findings(exam):
    return ichor.detect(exam)


def checked(findings: Findings) -> dict:
    """The JSON form, valid by the model, by its published schema, and by the design's list of keys."""
    text = findings.to_json()
    assert "\n" not in text
    data = json.loads(text)
    assert Findings.model_validate_json(text).to_dict() == data == findings.to_dict()
    jsonschema.validate(data, Findings.model_json_schema(by_alias=True))
    assert set(data) == CONTRACT and data["schema"] == "ichor.findings/1"
    for key in ("probabilities", "thresholds", "positive"):
        assert list(data[key]) == LABELS == list(LABEL_NAMES)
    assert set(data["bundle"]) == {"name", "version", "sha256"}
    assert set(data["seconds"]) == {"read", "prepare", "detect", "report"}
    assert all({"code", "message"} <= set(w) <= {"code", "message", "slices"} for w in data["warnings"])
    return data


# -- names ----------------------------------------------------------------------------------------------------


def test_every_public_name_is_there():
    for name in ichor.__all__:
        assert getattr(ichor, name) is not None
    assert set(dir(ichor)) >= set(ichor.__all__)
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        _ = ichor.detekt


def test_importing_costs_nothing():
    code = "import ichor, sys; print(sorted({'numpy', 'pydicom', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_package_is_typed():
    assert resources.files("ichor").joinpath("py.typed").is_file()


# -- an exam ---------------------------------------------------------------------------------------------------


def test_read_then_detect(exam, findings):
    assert isinstance(exam, ichor.Exam) and isinstance(findings, ichor.Findings)
    data = checked(findings)
    assert data["kind"] == "exam" and data["assessable"] is True
    assert data["n_slices"] == exam.n_slices == len(data["slices"])
    assert data["study_uid"] == hashed_uid(exam.source.study_uid) != exam.source.study_uid
    assert all(0 <= p <= 1 for p in data["probabilities"].values())
    assert all(0 < t < 1 for t in data["thresholds"].values())
    assert data["positive"]["any"] == (data["probabilities"]["any"] >= data["thresholds"]["any"])
    positions = [s["position_mm"] for s in data["slices"]]
    assert positions == sorted(positions) and positions == pytest.approx(exam.geometry.distances, abs=1e-3)
    assert [s["sop_instance_uid"] for s in data["slices"]] == [
        hashed_uid(u) for u in exam.source.sop_instance_uids
    ]
    assert data["spacing_mm"] == pytest.approx([exam.geometry.slice_step, *exam.geometry.spacing], abs=1e-3)
    assert {w["code"] for w in data["warnings"]} >= {"gantry_tilt", "spacing_uneven"}
    assert data["seconds"]["report"] is None and data["seconds"]["detect"] > 0
    assert findings.mask.shape == exam.volume.shape and findings.mask.dtype == np.uint8
    assert findings.mask.max() == len(data["regions"])


def test_the_path_says_what_the_exam_says(real, findings):
    again = ichor.detect(real)
    assert again.probabilities == findings.probabilities and again.regions == findings.regions
    assert np.array_equal(again.mask, findings.mask)
    assert again.study_uid == findings.study_uid


def test_options(exam, findings):
    p = findings.probabilities.any
    low, high = (ichor.detect(exam, threshold=t) for t in (p / 2, (1 + p) / 2))
    assert low.positive.any is True and high.positive.any is False
    assert low.thresholds.any == pytest.approx(p / 2, abs=1e-4)
    own = ichor.detect(exam, original_uids=True)
    assert own.study_uid == exam.source.study_uid
    with pytest.raises(ichor.UsageError, match="threshold"):
        ichor.detect(exam, threshold=1.5)
    with pytest.raises(ichor.UsageError, match="tpu"):
        ichor.detect(exam, device="tpu")
    with pytest.raises(ichor.IchorError, match="nothing-of-this-name"):
        ichor.detect(exam, bundle="nothing-of-this-name")


def test_nothing_original_is_in_the_json(exam, findings):
    text = findings.to_json()
    uids = {exam.source.study_uid, exam.source.series_uid, *exam.source.sop_instance_uids}
    assert not [uid for uid in uids if uid in text]


def test_a_picture(shared_data):
    path = sorted((shared_data / "ct-ich" / "brain" / "077").glob("*.jpg"))[14]
    picture = ichor.read(path)
    assert isinstance(picture, ichor.Picture)
    data = checked(ichor.detect(picture))
    assert data["kind"] == "picture" and data["assessable"] is True
    assert data["volume_ml"] is None and data["spacing_mm"] is None and data["n_slices"] == 1
    assert "picture" in {w["code"] for w in data["warnings"]}


# -- several, and none ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_studies(shared_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    for name in ("ge_head_tilt_varspacing", "abdomen"):
        (root / name).mkdir()
        for file in (shared_data / "dicom-oddities" / name).iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    return root


def test_several_studies_are_for_the_other_call(two_studies):
    with pytest.raises(ichor.UsageError, match=r"ichor\.read_all"):
        ichor.read(two_studies)
    with pytest.raises(ichor.UsageError, match=r"ichor\.detect_all"):
        ichor.detect(two_studies)
    results = list(ichor.read_all(two_studies))
    assert sorted(type(r).__name__ for r in results) == ["Exam", "RefusedInput"]
    detections = list(ichor.detect_all(two_studies))
    assert sorted(d.findings.assessable for d in detections) == [False, True]
    for detection in detections:
        assert isinstance(detection, ichor.Detection)
        assert (detection.exam is not None) == detection.findings.assessable
        checked(detection.findings)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dicom-oddities/abdomen", "body_part_not_head"),
        ("dicom-oddities/mr", "modality_not_ct"),
        ("dicom-oddities/philips_phantom/S21610/S1000", "localizer"),
        ("README.md", "no_image"),
        ("no such thing", "not_found"),
    ],
)
def test_a_refused_input(shared_data, name, code):
    path = shared_data / name
    with pytest.raises(ichor.RefusedInput) as caught:
        ichor.read(path)
    assert caught.value.code == code and caught.value.source == str(path)
    data = checked(ichor.detect(path))
    assert data["assessable"] is False and data["kind"] is None and data["input"] == str(path)
    assert data["warnings"][0]["code"] == code and data["warnings"][0]["message"] == caught.value.sentence
    assert set(data["probabilities"].values()) == set(data["positive"].values()) == {None}
    assert data["slices"] == data["regions"] == [] and data["volume_ml"] is None and data["n_slices"] == 0
    assert ichor.detect(path).mask is None


def test_a_bad_input_stops_no_other(shared_data, real, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes((real / "10.dcm").read_bytes()[:3000])
    told = []
    inputs = (broken, real, tmp_path / "none", real / "14.dcm")
    results = list(ichor.detect_all(*inputs, progress=lambda what, share: told.append((what, share))))
    assert [r.findings.input for r in results] == [str(i) for i in inputs]
    assert [r.findings.assessable for r in results[:3]] == [False, True, False]
    assert [r.findings.warnings[0].code for r in (results[0], results[2])] == ["unreadable", "not_found"]
    assert results[3].findings.n_slices == 1
    assert told and all(0 <= share <= 1 for _, share in told)


def test_limits_are_heeded(real):
    data = checked(ichor.detect(real, limits=ichor.Limits(files=3)))
    assert data["assessable"] is False and data["warnings"][0]["code"] == "limit_exceeded"


def test_the_series_asked_for(real, exam):
    assert ichor.read(real, series=hashed_uid(exam.source.series_uid)).source == exam.source
    data = checked(ichor.detect(real, series="1.2.3"))
    assert data["warnings"][0]["code"] == "series_not_found"

"""Studies that hold results already, whose UIDs are scattered, or whose headers are hostile."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom")

from pydicom.dataelem import DataElement
from pydicom.uid import generate_uid

from ichor.detecting import Detector
from ichor.reading.dicom import headers
from ichor.results import identity, make_results
from reading.phantoms import Plan, head_series, write
from results.made import complete, errors_of, even, study_of, tool, written


def test_results_that_lie_in_the_study_change_nothing(tmp_path):
    path = written(tmp_path / "in", "even")
    first = study_of(path).results("seg", "sr", "sc", "ko")
    first.save(path / "results")
    again = study_of(path)
    assert [n.code for n in again.exam.notices] == ["own_result"]
    assert "4 results of ichor's own" in again.exam.notices[0].message
    assert again.results("seg", "sr", "sc", "ko").objects == first.objects


def test_a_report_that_says_something_else_is_another_object(tmp_path):
    """A second series arrives: the same slices are assessed, but the report names what was not taken."""
    path = written(tmp_path / "in", "even")
    first = {o.kind.name: o.sop_uid for o in study_of(path).results("seg", "sr", "sc", "ko").objects}
    header = pydicom.dcmread(next(path.iterdir()))
    more = head_series(Plan(n=12, step=12.0), study=header.StudyInstanceUID)
    for data in more:
        data.ConvolutionKernel = "H70h"
    write(path / "more", complete(more), "more")
    study = study_of(path)
    assert "series_left_out" in {n.code for n in study.exam.notices}
    second = {o.kind.name: o.sop_uid for o in study.results("seg", "sr", "sc", "ko").objects}
    assert {name for name in first if first[name] != second[name]} == {"sr", "sc"}


def test_results_of_a_refused_study_change_nothing_either(tmp_path):
    path = write(tmp_path / "in", complete(even()[:3]))
    assert headers.OWN_MAKER == identity.MANUFACTURER
    detector = Detector()
    runs = []
    for _ in range(2):
        (detection,) = detector.detect_all(path)
        results = make_results(detection.findings, detection.exam, path, ("sr", "sc"))
        runs.append(results.objects)
        results.save(path / "results")
    assert runs[0] == runs[1] != ()


@pytest.mark.parametrize("own", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_slices_with_uids_of_their_own_are_referred_to_where_they_are(own, tmp_path):
    datasets = complete(even())
    for data in datasets:
        setattr(data, own, generate_uid())
    study = study_of(write(tmp_path / "in", datasets))
    results = study.results("seg", "sr", "ko")
    kinds = [made.kind.name for made in results.objects]
    assert kinds == (["seg", "sr", "ko"] if own == "SeriesInstanceUID" else ["seg", "sr"])
    for made, path in zip(results.objects, results.save(tmp_path / "out"), strict=True):
        assert errors_of(path) == []
        assert made.dataset.StudyInstanceUID == study.exam.source.study_uid


def test_a_value_beyond_any_length_is_not_passed_on(tmp_path):
    datasets = complete(even())
    with pydicom.config.disable_value_validation():
        for data in datasets:
            data[0x00100010] = DataElement(0x00100010, "PN", "A" * 60_000)
    study = study_of(write(tmp_path / "in", datasets))
    results = study.results("seg", "sr")
    assert [("PatientName" in n.message) for n in results.notices] == [True]
    for made in results.objects:
        assert made.dataset.PatientName == ""


def test_an_object_that_cannot_be_made_does_not_take_the_others_along(tmp_path, monkeypatch):
    study = study_of(written(tmp_path, "even"))
    regions = [
        r.replace(probabilities={**r.probabilities, "subdural": float("nan")}, volume_ml=None)
        for r in study.findings.regions
    ]
    odd = [r.replace(label="unheard of") for r in regions]
    study = type(study)(study.path, study.exam, study.findings.replace(regions=odd))
    results = study.results("seg", "ko")
    assert [made.kind.name for made in results.objects] == ["ko"]
    assert "No DICOM segmentation was written" in results.notices[-1].message


def test_the_results_fit_their_study_as_a_whole(tmp_path):
    """dcentvfy: what all objects say of one patient and study agrees."""
    dcentvfy = tool("dcentvfy")
    study = study_of(written(tmp_path / "in", "even"))
    paths = study.results("dicom", "pdf", "sr-planar").save(tmp_path / "out")
    every = [*sorted(study.path.iterdir()), *paths]
    done = subprocess.run([dcentvfy, *map(str, every)], capture_output=True, text=True, errors="replace")
    assert [ln for ln in (done.stdout + done.stderr).splitlines() if ln.startswith("Error")] == []


def test_the_mask_of_the_source_is_not_changed(tmp_path):
    study = study_of(written(tmp_path, "even"))
    before = study.findings.mask.copy()
    study.results("seg", "sr", "sc", "ko", "pdf", "sr-planar")
    assert np.array_equal(before, study.findings.mask)
    shutil.rmtree(study.path)
    gone = study.results("sr")
    assert gone.objects == ()
    assert "No DICOM results were written" in gone.notices[0].message

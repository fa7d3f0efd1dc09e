"""The example exam, and the command that shows it."""

import json
import zipfile
from importlib.resources import files
from io import BytesIO

import numpy as np
import pydicom
import pytest

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam
from ichor.exam import Exam


@pytest.fixture(scope="module")
def truth():
    return json.loads((files("ichor") / "demo" / "truth.json").read_text())


@pytest.fixture(scope="module")
def exam():
    exam = ichor.read(demo_exam())
    assert isinstance(exam, Exam)
    return exam


@pytest.fixture(scope="module")
def findings(exam):
    return ichor.detect(exam)


@pytest.fixture(scope="module")
def headers():
    with zipfile.ZipFile(demo_exam()) as archive:
        return [
            pydicom.dcmread(BytesIO(archive.read(name)), stop_before_pixels=True)
            for name in archive.namelist()
        ]


def test_the_exam_is_small_and_nobody_s(headers):
    assert demo_exam().stat().st_size < 5_000_000
    for header in headers:
        assert str(header.PatientName) == "ichor^demo"
        assert not header.PatientBirthDate and not header.StudyDate
        assert "simulated" in header.ImageComments and "CC BY 4.0" in header.ImageComments
        for element in header.iterall():
            if element.VR == "UI" and element.keyword != "SOPClassUID":
                assert element.value.startswith("2.25."), element.keyword


def test_its_files_are_one_series_of_valid_ct_images(headers):
    assert len({h.SOPInstanceUID for h in headers}) == len(headers) == 30
    assert len({(h.StudyInstanceUID, h.SeriesInstanceUID, h.FrameOfReferenceUID) for h in headers}) == 1
    for header in headers:
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
        with pydicom.config.strict_reading():
            for e in header.iterall():
                pydicom.DataElement(e.tag, e.VR, e.value, validation_mode=pydicom.config.RAISE)


def test_nothing_about_it_is_odd(findings):
    assert findings.warnings == []
    assert findings.n_slices == 30
    assert findings.spacing_mm == pytest.approx([5.0, 0.45, 0.45])


def test_it_has_what_a_head_has(exam):
    """Air, bone, brain with ventricles, grain; and skull closed above."""
    hu = exam.volume.astype(float)
    middle = hu[14]
    assert (hu[:, 0, :] < -900).all() and (hu[-1] > 300).sum() < 12_000
    assert (middle > 700).sum() > 5_000
    brain = middle[(middle > 0) & (middle < 60)]
    assert 30 < np.median(brain) < 40
    assert 5_000 > ((middle > -5) & (middle < 18)).sum() > 200
    white_matter = hu[18:20, 240:270, 180:210]
    assert 2.5 < white_matter.std() < 6


def test_the_bleed_is_where_and_as_large_as_it_says(exam, truth):
    (s0, r0, c0), (s1, r1, c1) = truth["first_voxel"], truth["last_voxel"]
    box = exam.volume[s0 : s1 + 1, r0 : r1 + 1, c0 : c1 + 1]
    blood = ((box > 48) & (box < 95)).sum() * 5 * 0.45**2 / 1000
    assert blood == pytest.approx(truth["volume_ml"], rel=0.1)
    assert 58 < np.median(exam.volume[tuple(round(v) for v in truth["centre_voxel"])]) < 80
    # On the patient's left: beyond the middle of the head, as columns run to the left.
    columns = np.flatnonzero((exam.volume[s0] > 300).any(axis=0))
    assert c0 > columns.mean()


def test_the_model_finds_the_bleed(findings, truth):
    assert findings.positive.any and findings.positive.intraparenchymal
    assert findings.probabilities.any > findings.thresholds.any + 0.15
    largest = findings.regions[0]
    assert largest.label == truth["label"] and largest.probabilities[largest.label] > 0.7
    slice_, row, column = (round(v) for v in truth["centre_voxel"])
    assert findings.mask[slice_, row, column] == 1
    assert findings.volume_ml == pytest.approx(truth["volume_ml"], rel=0.2)
    assert set(largest.slices) >= set(truth["slices"][1:-1])
    (s0, r0, c0), (s1, r1, c1) = truth["first_voxel"], truth["last_voxel"]
    inside = findings.mask[s0 : s1 + 1, r0 : r1 + 1, c0 : c1 + 1] > 0
    assert inside.sum() > 0.9 * (findings.mask > 0).sum()
    hottest = max(findings.slices, key=lambda s: s.probabilities.any)
    assert hottest.index in truth["slices"]
    far = [s.probabilities.any for s in findings.slices if not s0 - 2 <= s.index <= s1 + 2]
    assert max(far) < findings.thresholds.any


def test_the_command_writes_everything_and_says_where(tmp_path, capsys):
    assert run(["demo", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "report.html") in printed.replace("\n", "")
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"findings.json", "slices.csv", "report.html", "mask.nii.gz", "overlay"} <= written
    saved = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert saved["schema"] == "ichor.findings/1"
    assert saved["positive"]["any"] is True

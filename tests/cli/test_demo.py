"""The example exam, and the command that shows it."""

import json
import zipfile
from importlib.resources import files

import pydicom
import pytest

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam


@pytest.fixture(scope="module")
def truth():
    return json.loads((files("ichor") / "demo" / "truth.json").read_text())


@pytest.fixture(scope="module")
def findings():
    return ichor.detect(demo_exam())


def test_the_exam_is_small_and_nobody_s():
    assert demo_exam().stat().st_size < 5_000_000
    with zipfile.ZipFile(demo_exam()) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            assert str(header.PatientName) == "ichor^demo"
            assert not header.PatientBirthDate and not header.StudyDate
            assert header.StudyInstanceUID.startswith("2.25.")
            assert "simulated" in header.ImageComments


def test_nothing_about_it_is_odd(findings):
    assert findings.warnings == []
    assert findings.n_slices == 22


def test_the_model_finds_the_bleed(findings, truth):
    assert findings.positive.any and findings.positive.intraparenchymal
    assert findings.probabilities.any > findings.thresholds.any + 0.15
    largest = findings.regions[0]
    assert largest.label == truth["label"]
    slice_, row, column = (round(v) for v in truth["centre_voxel"])
    assert findings.mask[slice_, row, column] == 1
    assert findings.volume_ml == pytest.approx(truth["volume_ml"], rel=0.2)
    assert set(largest.slices) >= set(truth["slices"][1:-1])


def test_the_command_writes_everything_and_says_where(tmp_path, capsys):
    assert run(["demo", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "report.html") in printed.replace("\n", "")
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"findings.json", "slices.csv", "report.html", "mask.nii.gz", "overlay"} <= written
    saved = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert saved["schema"] == "ichor.findings/1"
    assert saved["positive"]["any"] is True

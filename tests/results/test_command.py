"""``ichor detect --write dicom`` as a command: what is written, what is said, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom")

from ichor.cli import run
from reading.phantoms import SECRETS, write
from results.made import complete, errors_of, even, written


def findings_in(folder: Path) -> dict:
    return json.loads((folder / "findings.json").read_text())


def test_a_study_gives_its_objects_beside_the_report(tmp_path, capfd):
    written(tmp_path / "study", "even")
    assert run(["detect", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "--write", "dicom"]) == 0
    folder = tmp_path / "out" / "study"
    assert (folder / "report.html").exists()
    names = {path.name for path in (folder / "dicom").iterdir()}
    assert {"sr.dcm", "sc.dcm"} <= names <= {"seg.dcm", "sr.dcm", "sc.dcm", "ko.dcm"}
    for path in (folder / "dicom").iterdir():
        assert errors_of(path) == []
    out, _ = capfd.readouterr()
    assert "sr.dcm" in out
    told = [w["code"] for w in findings_in(folder)["warnings"]]
    assert ("result_left_out" in told) == (names < {"seg.dcm", "sr.dcm", "sc.dcm", "ko.dcm"})


def test_an_archive_gives_the_same_bytes_as_its_folder(tmp_path, capfd):
    folder = written(tmp_path / "study", "even")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"inside/{path.name}")
    inputs = [str(folder), str(tmp_path / "packed.zip")]
    assert run(["detect", *inputs, "-o", str(tmp_path / "out"), "--write", "sr"]) == 0
    one, other = (tmp_path / "out" / name / "dicom" / "sr.dcm" for name in ("study", "packed"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_repairs_stand_in_the_findings_and_name_no_patient(tmp_path, capfd):
    datasets = complete(even())
    with pydicom.config.disable_value_validation():
        for data in datasets:
            del data.PatientSex
            data.StudyTime = "25"
        write(tmp_path / "study", datasets)
    assert run(["detect", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "--write", "sr"]) == 0
    folder = tmp_path / "out" / "study"
    told = [w["message"] for w in findings_in(folder)["warnings"] if w["code"] == "header_repaired"]
    assert [("PatientSex" in m, "StudyTime" in m) for m in told] == [(True, False), (False, True)]
    shown = (
        "".join(capfd.readouterr())
        + (folder / "findings.json").read_text()
        + (folder / "report.html").read_text()
    )
    assert not any(secret in shown for secret in SECRETS)


def test_what_is_no_dicom_study_says_why_nothing_was_written(tmp_path, capfd):
    volume = np.full((40, 40, 12), -1000, np.int16)
    volume[10:30, 8:32] = 35
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([5.0, 5.0, 5.0, 1.0])), tmp_path / "volume.nii.gz")
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    inputs = [str(tmp_path / "volume.nii.gz"), str(tmp_path / "broken.dcm")]
    run(["detect", *inputs, "-o", str(tmp_path / "out"), "--write", "dicom"])
    for name in ("volume", "broken"):
        assert not (tmp_path / "out" / name / "dicom" / "sr.dcm").exists()
        (told,) = [
            w["message"]
            for w in findings_in(tmp_path / "out" / name)["warnings"]
            if w["code"] == "result_left_out"
        ]
        assert told.startswith("No DICOM results were written")


def test_objects_of_an_earlier_run_do_not_stay_and_nothing_goes_through_a_link(tmp_path, capfd):
    written(tmp_path / "study", "even")
    target = tmp_path / "out" / "study" / "dicom"
    target.mkdir(parents=True)
    (target / "pdf.dcm").write_bytes(b"of an earlier run")
    outside = tmp_path / "outside"
    outside.write_bytes(b"stays")
    (target / "sr.dcm").symlink_to(outside)
    command = ["detect", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "--write", "sr"]
    assert run(command) == 0
    assert [p.name for p in target.iterdir()] == ["sr.dcm"]
    assert outside.read_bytes() == b"stays"
    shutil.rmtree(target)
    target.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    assert run(command) == 2
    assert "found a link" in capfd.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_the_extra_the_command_ends_before_anything_is_read(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'highdicom': raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from ichor.cli import run\n"
        f"sys.exit(run(['detect', 'nowhere', '-o', {str(tmp_path / 'out')!r}, '--write', 'dicom']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert "expected the extra 'results'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_loads_neither_highdicom_nor_pydicom():
    code = (
        "import sys\nfrom ichor.cli import run\nrun(['detect', '--help'])\n"
        "print([n for n in ('highdicom', 'pydicom', 'numpy') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"

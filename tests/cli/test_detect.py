"""``ichor detect`` as a command, on real exams: what is printed, what is written, how it ends."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ichor.cli import run
from ichor.findings import Findings


@pytest.fixture(scope="session")
def studies(shared_data, tmp_path_factory):
    """Two real exams as NIfTI: patient 081 bled, 049 did not."""
    from ichor.datasets.ct_ich import CtIch

    folder = tmp_path_factory.mktemp("studies")
    for patient, name in (("081", "bled"), ("049", "normal")):
        exam = CtIch(shared_data / "ct-ich").load(patient).exam
        # To NIfTI's own order and sense: column, row, slice; right, front and head positive.
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ exam.geometry.affine()
        image = nibabel.Nifti1Image(exam.volume.transpose(2, 1, 0), affine)
        image.set_sform(affine, code=1)
        nibabel.save(image, folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    return path


def test_a_table_by_default(studies, capfd) -> None:
    assert run(["detect", str(studies / "bled.nii.gz")]) == 0
    out, err = capfd.readouterr()
    assert "bled.nii.gz" in out
    assert "HEMORRHAGE SUSPECTED" in out
    assert "P(any)" in out
    assert "\x1b" not in out
    assert err == ""


def test_json_lines_and_nothing_else(studies, broken, capfd) -> None:
    inputs = [studies / "normal.nii.gz", broken, studies / "bled.nii.gz", studies / "nowhere"]
    assert run(["detect", "--json", *map(str, inputs)]) == 3
    out, err = capfd.readouterr()
    found = [Findings.model_validate(json.loads(line)) for line in out.splitlines()]
    assert [f.input for f in found] == [str(p) for p in inputs]
    assert [f.assessable for f in found] == [True, False, True, False]
    assert found[2].probabilities.any > found[0].probabilities.any
    assert found[2].positive.any
    lines = err.splitlines()
    for path in (broken, studies / "nowhere"):
        (line,) = [text for text in lines if text.startswith(f"{path}: not assessed: ")]
        assert "expected" in line
    assert "Traceback" not in err


def test_one_bad_input_does_not_stop_the_others(studies, broken, capfd) -> None:
    assert run(["detect", str(broken), str(studies / "bled.nii.gz")]) == 3
    out, err = capfd.readouterr()
    assert "NOT ASSESSED" in out
    assert "HEMORRHAGE SUSPECTED" in out
    assert "2 results: 1 suspected, 0 not suspected, 1 not assessed" in out
    assert err.count("\n") == 1
    assert err.startswith(f"{broken}: not assessed: ")


def test_files_of_every_result(studies, broken, tmp_path, capfd) -> None:
    out_folder = tmp_path / "out"
    again = tmp_path / "bled.nii.gz"
    again.write_bytes((studies / "bled.nii.gz").read_bytes())
    inputs = [studies / "bled.nii.gz", again, broken]
    arguments = ["detect", *map(str, inputs), "-o", str(out_folder), "--write", "nifti,overlay", "--json"]
    assert run(arguments) == 3
    printed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(p.name for p in out_folder.iterdir()) == ["bled", "bled-2", "broken"]
    for name, said in zip(("bled", "bled-2", "broken"), printed, strict=True):
        folder = out_folder / name
        stored = json.loads((folder / "findings.json").read_text("utf-8"))
        assert stored["seconds"].pop("report") > 0
        assert said["seconds"].pop("report") > 0
        assert stored == said
        assert (folder / "report.html").stat().st_size > 5_000
        with (folder / "slices.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == said["n_slices"]
    assert not (out_folder / "broken" / "mask.nii.gz").exists()
    assert len(list((out_folder / "bled" / "overlay").iterdir())) >= 3
    given = nibabel.load(studies / "bled.nii.gz")
    mask = nibabel.load(out_folder / "bled" / "mask.nii.gz")
    assert mask.shape == given.shape
    assert np.allclose(mask.affine, given.affine, atol=1e-4)
    labels = np.asarray(mask.dataobj)
    assert set(np.unique(labels)) == set(range(len(printed[0]["regions"]) + 1))
    # The volume said is the volume marked.
    marked = np.count_nonzero(labels) * abs(np.linalg.det(given.affine)) / 1000
    assert marked == pytest.approx(printed[0]["volume_ml"], rel=0.02)
    # What is marked looks like blood, not like bone or air.
    hu = np.asarray(given.dataobj)[labels > 0]
    assert 40 < np.median(hu) < 95


def test_threshold_of_the_run(studies, capfd) -> None:
    assert run(["detect", str(studies / "bled.nii.gz"), "--json", "--threshold", "0.9999"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["thresholds"]["any"] == pytest.approx(0.9999)
    assert said["positive"]["any"] is False


def test_a_limit_refuses_by_name(studies, capfd) -> None:
    assert run(["detect", str(studies / "bled.nii.gz"), "--json", "--limit", "voxels=1000"]) == 3
    out, err = capfd.readouterr()
    assert [w["code"] for w in json.loads(out)["warnings"]] == ["limit_exceeded"]
    assert "--limit voxels=VALUE" in err


def test_several_at_a_time_or_only_looked_at(broken, capfd) -> None:
    from ichor.cli.demo import demo_exam

    inputs = [str(demo_exam()), str(broken), str(demo_exam())]
    assert run(["detect", *inputs, "--dry-run"]) == 3
    out, err = capfd.readouterr()
    assert [line.split(": ")[1].split(";")[0] for line in out.splitlines()] == [
        "exam of 30 slices",
        "not assessed",
        "exam of 30 slices",
    ]
    assert "3 results: 2 would be assessed, 1 not; no model was run" in err
    assert run(["detect", *inputs, "--dry-run", "--json"]) == 2
    assert "expected it alone" in capfd.readouterr().err

    assert run(["detect", *inputs, "--jobs", "2", "--json"]) == 3
    found = [Findings.model_validate_json(line) for line in capfd.readouterr().out.splitlines()]
    assert [f.input for f in found] == inputs
    assert found[0].probabilities == found[2].probabilities
    assert found[0].assessable
    assert not found[1].assessable


def test_an_unknown_bundle_is_one_line_and_2(studies, tmp_path, capfd) -> None:
    assert run(["detect", str(studies / "bled.nii.gz"), "--bundle", str(tmp_path)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "bundle.json" in err


def test_cuda_that_is_not_there_is_named(studies, capfd) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    assert run(["detect", str(studies / "bled.nii.gz"), "--device", "cuda"]) == 2
    err = capfd.readouterr().err
    assert "CUDA provider" in err
    assert err.count("\n") == 1


def test_json_is_utf8_whatever_the_terminal(studies, tmp_path) -> None:
    path = tmp_path / "Müller ☃.nii.gz"
    path.symlink_to(studies / "normal.nii.gz")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ichor.cli", "detect", "--json", str(path)],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["input"] == str(path)


def test_interrupted_ends_with_130(studies) -> None:
    program = (
        "import signal, sys, threading, os\n"
        "from ichor.cli import main\n"
        # A shell's background job inherits that interrupts are ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['ichor', 'detect', *sys.argv[1:]]\n"
        "threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "main()"
    )
    many = [str(studies / "bled.nii.gz")] * 40
    done = subprocess.run([sys.executable, "-c", program, *many], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "ichor: interrupted\n"


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux only")
def test_a_name_that_is_no_text(tmp_path) -> None:
    name = os.fsencode(tmp_path) + b"/a\xff\x1b[31m\n.dcm"
    Path(os.fsdecode(name)).write_bytes(b"x" * 300)
    done = subprocess.run(
        [sys.executable, "-m", "ichor.cli", "detect", "--json", name, "-o", tmp_path / "out"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["assessable"] is False
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert json.loads((folder / "findings.json").read_text("utf-8"))["assessable"] is False

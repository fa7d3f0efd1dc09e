"""``ichor bulk`` with its own processes: exact rows, whatever is killed and when."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")

from pyarrow import parquet

from bulk.made import (
    BUNDLE,
    archive,
    bulk,
    detected,
    environment,
    files,
    raw_keys,
    rows,
    running,
    study,
    until,
)

NUMBERS = (
    "probabilities",
    "thresholds",
    "positive",
    "subtypes",
    "slices",
    "regions",
    "volume_ml",
    "uncertain",
)
PLAIN = ("kind", "study_uid", "series_uid", "n_slices", "spacing_mm")


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(n)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for n in (task / "children").read_text().split()
        ]
    return []


def test_rows_are_those_of_detect(assessed):
    inputs = ["a/one", "a/two", "b.zip", "c.nii.gz", "d", "e", "f"]
    found = rows(assessed.out)
    assert [row["input"] for row in found] == inputs
    for row, said in zip(found, detected(*(assessed.root / name for name in inputs)), strict=True):
        assert row["state"] == ("assessed" if said["assessable"] else "refused")
        assert {name: row[name] for name in PLAIN} == {name: said[name] for name in PLAIN}
        if said["assessable"]:
            assert {name: row[name] for name in NUMBERS} == {name: said[name] for name in NUMBERS}
        else:
            assert row["code"] in [w["code"] for w in said["warnings"]]
        assert [n["code"] for n in row["notices"]] == [w["code"] for w in said["warnings"]]
        other = "other_engine" in [w["code"] for w in said["warnings"]]
        assert other == (said["assessable"] and row["engine"].startswith("OpenVINO"))
        messages = [w["message"].replace(f"{assessed.root}/", "") for w in said["warnings"]]
        assert [n["message"] for n in row["notices"]] == messages
        assert (row["bundle"], row["attempts"], row["revision"]) == (said["bundle"]["sha256"], 1, 1)
    assert "left out: 1 files that are no images" in assessed.stderr
    assert re.search(r"7 of 7; new: 5 assessed, 2 refused; [\d.]+ a minute", assessed.stderr)


def test_no_patient_and_no_uid_is_in_an_output(assessed):
    from reading.phantoms import SECRETS

    text = json.dumps(rows(assessed.out), default=str) + (assessed.out / "run.json").read_text()
    assert not [secret for secret in (*SECRETS, "1.2.3.1", "20200102") if secret in text]


def test_a_rerun_of_a_finished_run_changes_no_file(assessed):
    before = files(assessed.out)
    done = bulk(assessed.root, "-o", assessed.out, "--jobs", 1, "--bundle", BUNDLE)
    assert done.returncode == 0
    assert "new: none" in done.stderr
    assert files(assessed.out) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bundle", "default"], "found a run with bundle"),
        (["--threshold", "0.4", "--bundle", BUNDLE], "threshold null, not 0.4"),
        (["--bundle", BUNDLE, "--engine", "openvino"], 'engine "onnxruntime", not "openvino"'),
        (["--bundle", BUNDLE, "--jobs", "0"], "--jobs: found 0"),
    ],
)
def test_another_run_on_the_same_output_is_refused(assessed, words, said):
    done = bulk(assessed.root, "-o", assessed.out, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_study_that_grew_is_assessed_again_and_one_that_is_new_is_added(assessed, tmp_path):
    import shutil

    shutil.copytree(assessed.out, tmp_path / "out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    shutil.copytree(assessed.root, tmp_path / "root")
    (tmp_path / "out" / "run.json").write_text(json.dumps(run | {"source": str(tmp_path / "root")}))
    study(tmp_path / "root" / "g", uid="1.2.3.1", n=10)
    (tmp_path / "root" / "f").rename(tmp_path / "root" / "moved")
    done = bulk("check", tmp_path / "out", tmp_path / "root")
    assert done.returncode == 3
    assert "changed: a/one/head + a/one/thick + g" in done.stdout
    done = bulk(tmp_path / "root", "-o", tmp_path / "out", "--jobs", 1, "--bundle", BUNDLE)
    assert done.returncode == 0, done.stderr
    found = {row["input"]: row for row in rows(tmp_path / "out")}
    grown = found["a/one/head + a/one/thick + g"]
    assert (grown["revision"], grown["n_slices"]) == (2, 10)
    assert len(found) == len(raw_keys(tmp_path / "out")) == 7
    done = bulk("check", tmp_path / "out", tmp_path / "root")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)


def test_killed_processes_leave_exact_rows(tmp_path):
    """The driver is killed with a part written and work in flight, then a worker, then all is asked to end."""
    root = archive(tmp_path / "root")
    out = tmp_path / "out"
    words = (root, "-o", out, "--jobs", 1, "--bundle", BUNDLE)
    with running(*words) as process:
        until(lambda: children(process.pid), "a worker", process)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        assert time.monotonic() - began < 10
    with running(*words) as process:
        until(lambda: list(out.glob("rows/part-*.parquet")), "a part", process)
        workers = children(process.pid)
        process.kill()  # right after the name was given, before anything else could be done
        process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the end of the workers")
    first = {(row["unit"], row["row"]): row["time"] for row in rows(out)}
    assert first
    done = bulk(*words)
    assert done.returncode == 0, done.stderr
    found = rows(out)
    assert len(found) == 7
    assert parquet.read_table(out / "rows").num_rows == 7, "any reader of Parquet finds them"
    after = {(row["unit"], row["row"]): row["time"] for row in found}
    assert all(after[key] == moment for key, moment in first.items()), "what was done is not done again"


TRAP = """
import sys
if any("ichor.bulk.worker" in word for word in sys.orig_argv):
    import os, signal
    from ichor.bulk.assessing import Assessor
    real = Assessor._detections
    def trapped(self, path):
        if path.name == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, path)
    Assessor._detections = trapped
"""
"""Ends the worker, as the kernel does that has no memory left, over one study."""


def test_a_study_that_ends_its_worker_gets_a_row_and_the_others_theirs(tmp_path):
    for name in ("a", "b", "c"):
        study(tmp_path / "root" / name)
    (tmp_path / "sitecustomize.py").write_text(TRAP)
    out = tmp_path / "out"
    words = (tmp_path / "root", "-o", out, "--jobs", 1, "--bundle", BUNDLE)
    paths = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = bulk(*words, PYTHONPATH=paths)
    assert done.returncode == 3, done.stderr
    found = {row["input"]: row for row in rows(out)}
    states = {name: row["state"] for name, row in found.items()}
    assert states == {"a": "assessed", "b": "failed", "c": "assessed"}
    assert (found["b"]["code"], found["b"]["attempts"]) == ("worker_died", 2)
    assert len(raw_keys(out)) == 3
    assert bulk(*words).returncode == 3, "it is not tried again unless that is asked for"
    assert bulk(*words, "--retry-failed").returncode == 0
    revisions = [(row["input"], row["state"], row["revision"]) for row in rows(out)]
    assert revisions == [("a", "assessed", 1), ("b", "assessed", 2), ("c", "assessed", 1)]
    assert len(raw_keys(out)) == 3

"""The entry of a mercure module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import pydicom

from node.peers import CANARY, save, study


def run(
    folder: Path, task: object, target: Path | None = None
) -> tuple[subprocess.CompletedProcess[str], Path]:
    source, target = folder / "in", target or folder / "out"
    save(study(1), source)
    if not target.exists():
        target.mkdir()
    (source / "task.json").write_text(json.dumps(task))
    variables = {"MERCURE_IN_DIR": str(source), "MERCURE_OUT_DIR": str(target)}
    command = [sys.executable, "-m", "ichor.node.mercure"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    return done, target


def test_objects_and_a_notification_for_mercure(tmp_path: Path) -> None:
    done, target = run(tmp_path, {"id": CANARY, "process": {"settings": {"kinds": ["seg", "sr"]}}})
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in target.iterdir()) == ["000-seg.dcm", "000-sr.dcm", "result.json"]
    report = pydicom.dcmread(target / "000-sr.dcm")
    assert report.StudyInstanceUID == study(1)[0].StudyInstanceUID
    result = json.loads((target / "result.json").read_text())
    assert result["__mercure_notification"]["requested"] and len(result["findings"]) == 1
    assert CANARY not in (target / "result.json").read_text() + done.stdout + done.stderr


@pytest.mark.parametrize("settings", [{"kind": ["seg"]}, {"kinds": ["gif"]}, ["seg"]])
def test_settings_that_cannot_be_used_are_said(tmp_path: Path, settings: object) -> None:
    done, target = run(tmp_path, {"process": {"settings": settings}})
    assert done.returncode == 2 and done.stderr.startswith("ichor: ") and done.stderr.count("\n") == 1
    assert list(target.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    done, _ = run(tmp_path, {"process": {"settings": {"kinds": ["sr"]}}}, no_folder)
    assert done.returncode == 2 and "MERCURE_OUT_DIR" in done.stderr and done.stderr.count("\n") == 1
    assert CANARY not in done.stderr

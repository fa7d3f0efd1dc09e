"""How the command ends when it is asked to, and what it leaves: nothing; and where it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ichor.cli import run
from ichor.cli.demo import demo_exam

COMMAND = [sys.executable, "-m", "ichor.cli", "detect"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_leaves_no_temporary_files(tmp_path: Path, number: int, status: int, word: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [*COMMAND, *[str(demo_exam())] * 200],
        env={**os.environ, "TMPDIR": str(temporary), "ORT_DISABLE_TELEMETRY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job inherits that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 60
    while not any(temporary.glob("ichor-*")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err.splitlines()[-1:] == [f"ichor: {word}"]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_is_closed_ends_with_141_and_no_word(options: list[str]) -> None:
    command = [*COMMAND, *options, str(demo_exam()), str(demo_exam())]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    ) as process:
        process.stdout.close()  # type: ignore[union-attr]
        err = process.stderr.read()  # type: ignore[union-attr]
        assert process.wait() == 141
    assert "Traceback" not in err
    assert "rror" not in err


FILES = ("findings.json", "slices.csv", "report.html", "mask.nii.gz")


@pytest.mark.parametrize("place", FILES)
def test_nothing_is_written_through_a_link(tmp_path: Path, place: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    folder = tmp_path / "out" / demo_exam().stem
    folder.mkdir(parents=True)
    (folder / place).symlink_to(precious)
    assert run(["detect", str(demo_exam()), "-o", str(tmp_path / "out"), "--write", "nifti,overlay"]) == 0
    assert precious.read_text() == "keep me"
    assert not (folder / place).is_symlink()
    assert {*FILES, "overlay"} == {path.name for path in folder.iterdir()}


def test_overlays_are_not_written_into_a_folder_that_a_link_leads_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "slice-001.png").write_text("keep me")
    folder = tmp_path / "out" / demo_exam().stem
    folder.mkdir(parents=True)
    (folder / "overlay").symlink_to(elsewhere)
    assert run(["detect", str(demo_exam()), "-o", str(tmp_path / "out"), "--write", "overlay"]) == 0
    assert [p.name for p in elsewhere.iterdir()] == ["slice-001.png"]
    assert (elsewhere / "slice-001.png").read_text() == "keep me"
    assert any((folder / "overlay").glob("slice-*.png"))


def test_a_results_folder_that_is_a_link_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / demo_exam().stem).symlink_to(elsewhere)
    assert run(["detect", str(demo_exam()), "-o", str(tmp_path / "out")]) == 2
    assert "found a link" in capfd.readouterr().err
    assert list(elsewhere.iterdir()) == []

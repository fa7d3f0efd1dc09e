"""``-v`` and ``-q``: on every command, on standard error alone, with nothing of a patient."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import typer

from ichor.cli import app, run
from ichor.cli.demo import demo_exam


def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    return [path] if inner is None else [x for name, c in inner.items() for x in leaves(c, (*path, name))]


@pytest.mark.parametrize("path", leaves(typer.main.get_command(app)), ids=" ".join)
def test_every_command_has_both(path: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    out = capfd.readouterr().out
    assert "--verbose" in out and "-v" in out and "--quiet" in out and "-q" in out


def test_one_of_them_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "-v", "-q"]) == 2
    assert "found both --verbose and --quiet" in capfd.readouterr().err


def test_a_log_says_what_is_done_and_nothing_of_the_patient(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "Doe^Jane 1970.zip"
    shutil.copy(demo_exam(), named)
    assert run(["detect", "--json", str(named)]) == 0
    plain = capfd.readouterr()
    assert run(["detect", "--json", "-vv", str(named)]) == 0
    logged = capfd.readouterr()
    a, b = json.loads(plain.out), json.loads(logged.out)
    assert a.pop("seconds") and b.pop("seconds") and a == b
    lines = [line for line in logged.err.splitlines() if " ichor." in line]
    assert plain.err == "" and not [line for line in plain.err.splitlines() if " ichor." in line]
    assert any("INFO ichor.detecting" in line and "bundle default" in line for line in lines)
    assert any("INFO ichor.detecting" in line and "30 slices" in line for line in lines)
    assert any("DEBUG ichor.detecting" in line for line in lines)
    uids = {a["study_uid"], a["series_uid"], *(s["sop_instance_uid"] for s in a["slices"])} - {None}
    assert not [line for line in lines if "Doe" in line or "1970" in line or any(u in line for u in uids)]


def test_quiet_gives_the_result_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = [str(demo_exam()), str(tmp_path / "none")]
    assert run(["detect", *inputs, "-o", str(tmp_path / "loud")]) == 3
    loud = capfd.readouterr()
    assert run(["detect", "-q", *inputs, "-o", str(tmp_path / "quiet")]) == 3
    quiet = capfd.readouterr()
    assert "2 results:" in loud.out and "2 results:" not in quiet.out
    assert "written" in loud.out and "written" not in quiet.out
    for line in ("HEMORRHAGE SUSPECTED", "not_found"):
        assert line in loud.out and line in quiet.out
    assert quiet.err == loud.err and "not assessed" in quiet.err
    assert (tmp_path / "quiet" / "demo" / "report.html").is_file()


def test_what_was_set_for_one_command_is_gone_after_it() -> None:
    logger = logging.getLogger("ichor")
    before = list(logger.handlers), logger.level
    assert run(["info", "-vv"]) == 0
    assert (list(logger.handlers), logger.level) == before


def test_the_package_alone_logs_nowhere() -> None:
    import ichor

    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger(ichor.__name__).handlers)

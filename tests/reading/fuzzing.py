"""Runs of hostile files in a process of their own, begun again behind a case that ended it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import read_hostile

MOST_CRASHES = 5


def run_cases(
    report: Path, log: Path, data: Path | None, cases: int
) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    """Names and answers by number; behind the cases that the report holds already."""
    first = max(parse(report)[0], default=-1) + 1 if report.exists() else 0
    crashes = 0
    while first < cases and crashes <= MOST_CRASHES:
        command = [sys.executable, read_hostile.__file__, str(report), str(first), str(cases - first)]
        with log.open("ab") as errors:
            done = subprocess.run(
                [*command, str(data)] if data else command, stdout=errors, stderr=errors, check=False
            )
        if done.returncode == 0:
            break
        crashes += 1
        first = max(parse(report)[0], default=cases) + 1
    return parse(report)


def lines(report: Path) -> list[str]:
    """Lines of a report that are no traces."""
    return [line for line in report.read_text().splitlines() if line.startswith('{"')]


def parse(report: Path) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    """Names and answers by number."""
    rows = [json.loads(line) for line in lines(report)]
    names = {row["number"]: row["name"] for row in rows if "name" in row}
    return names, {row["number"]: row for row in rows if "seconds" in row}


def public_data() -> Path | None:
    """As the ``shared_data`` fixture finds it; without it, made files alone are broken."""
    data = Path(os.environ.get("ICHOR_DATA") or Path(__file__).parents[3] / "shared" / "data")
    return data if data.is_dir() else None

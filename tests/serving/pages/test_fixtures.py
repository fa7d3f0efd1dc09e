"""The numbers that the page's unit tests compare with are those of the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

ROOT = Path(__file__).parents[3]


def test_fixtures_of_the_page_are_what_the_code_gives() -> None:
    command = [sys.executable, str(ROOT / "scripts/page_fixtures.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr

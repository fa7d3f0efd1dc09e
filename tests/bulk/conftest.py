"""One archive, assessed once, for all tests that only look at it. Modules that use it skip without the extra ``scale``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bulk.made import BUNDLE, archive, bulk


@dataclass(frozen=True)
class Assessed:
    """An archive, and the output of a run over it."""

    root: Path
    out: Path
    stderr: str


@pytest.fixture(scope="session")
def assessed(tmp_path_factory) -> Assessed:
    folder = tmp_path_factory.mktemp("bulk")
    root = archive(folder / "root")
    done = bulk(root, "-o", folder / "out", "--jobs", 2, "--bundle", BUNDLE)
    assert done.returncode == 0, done.stderr
    return Assessed(root, folder / "out", done.stderr)

"""Write ``constraints.txt``: the packages of the core, the tests, the page and DICOM results, by version and by hashes.

``python scripts/lock_dependencies.py`` takes the newest releases within the bounds of ``pyproject.toml``, for every
platform and Python from 3.11 on; it needs ``uv`` and the package index. ``--add`` leaves what is pinned as it is, and
pins what is not. ``--check`` needs neither, and tells whether what ``pyproject.toml`` asks for is pinned within its
bounds. The extra ``train`` is bounded there and not pinned here: torch comes in builds of its own for each machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

__all__ = ["pins", "requirements", "wrong"]

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "constraints.txt"
EXTRAS = (
    *("test", "serve", "test-serve", "results", "test-results", "node", "test-node"),
    *("docs", "notebooks", "evaluate", "test-package"),
    *("scale", "test-scale"),
)
_OLDEST_PYTHON = "3.11"
_EDITABLE = "editables"
"""What an editable install asks of hatchling besides what pyproject.toml says."""
_HEADER = """\
# Written by scripts/lock_dependencies.py: the core, all extras but train, and what builds the package.
# pip install --require-hashes -r constraints.txt && pip install --no-deps --no-build-isolation .
"""


def requirements(project: dict[str, Any]) -> list[Requirement]:
    """Return what ``pyproject.toml`` asks for: to build, to run, for the extras that are pinned."""
    extras = project["project"]["optional-dependencies"]
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    asked = [Requirement(text) for text in (*texts, *(t for extra in EXTRAS for t in extras[extra]))]
    return [
        one for one in asked if one.name != project["project"]["name"]
    ]  # an extra that names another extra


def pins(text: str) -> dict[str, list[tuple[Version, int]]]:
    """Return the versions that a lock holds by name, each with the number of its hashes."""
    found: dict[str, list[tuple[Version, int]]] = {}
    for entry in re.split(r"\n(?=\w)", text):
        match = re.match(r"([\w.-]+)==([^\s;\\]+)", entry)
        if match:
            hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry))
            found.setdefault(canonicalize_name(match[1]), []).append((Version(match[2]), hashes))
    return found


def wrong(project: dict[str, Any], text: str) -> list[str]:
    """Say in what a lock does not fit ``pyproject.toml``."""
    known = pins(text)
    faults = [
        f"{name} {v}: no hash" for name, versions in known.items() for v, hashes in versions if not hashes
    ]
    for asked in requirements(project):
        versions = known.get(canonicalize_name(asked.name), [])
        if not versions:
            faults.append(f"{asked}: not pinned")
        faults += [
            f"{asked}: {v} is pinned"
            for v, _ in versions
            if not asked.specifier.contains(v, prereleases=True)
        ]
    return faults


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the file does not fit")
    parser.add_argument("--add", action="store_true", help="pin what is new alone")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if not options.check:
        LOCK.write_text(_HEADER + _resolved(project, LOCK.read_text() if options.add else ""))
    faults = wrong(project, LOCK.read_text())
    for fault in faults:
        print(f"{LOCK.name}: {fault}; run python scripts/lock_dependencies.py", file=sys.stderr)
    return 1 if faults else 0


def _resolved(project: dict[str, Any], before: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder) / "asked.in", Path(folder) / "found.txt"
        asked.write_text("\n".join([*map(str, requirements(project)), _EDITABLE]) + "\n")
        found.write_text(before)  # what it pins is preferred
        command = [
            "uv",
            "pip",
            "compile",
            "--universal",
            "--python-version",
            _OLDEST_PYTHON,
            "--generate-hashes",
        ]
        command += [
            "--no-header",
            "--no-annotate",
            "--no-config",
            "--quiet",
            str(asked),
            "--output-file",
            str(found),
        ]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            raise SystemExit(
                "uv: found no such command; expected it on the path; run pip install uv"
            ) from None
        return found.read_text()


if __name__ == "__main__":
    sys.exit(main())

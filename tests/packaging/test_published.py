"""What is published: packages that an index takes, forms and workflows that their hosts take, an image's file."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "dependabot": ".github/dependabot.yml",
    "compose-spec": "compose.yaml",
    "citation-file-format": "CITATION.cff",
}


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> Path:
    """A command of the extra ``test-package``, beside this Python."""
    found = Path(sys.executable).with_name(name)
    if not found.exists():
        pytest.skip(f"needs the extra 'test-package' ({name})")
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
def test_forms_have_the_form_that_their_hosts_ask_for(schema: str) -> None:
    files = sorted(ROOT.glob(SCHEMAS[schema]))
    assert files
    run(tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", *files)


def test_workflows_have_no_known_weakness() -> None:
    run(tool("zizmor"), "--offline", "--no-progress", "--quiet", ".github")


def test_every_action_is_pinned_by_its_hash() -> None:
    uses = [
        line.strip()
        for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert uses
    assert not [line for line in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)+$", line)]


def test_the_image_is_written_as_its_linter_asks() -> None:
    run(tool("hadolint"), "Dockerfile")


def test_packages_are_built_and_an_index_takes_them(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs the extra 'test-package'")
    run(
        sys.executable, "-m", "build", "--outdir", tmp_path
    )  # the wheel from the sdist, each in a fresh environment
    (wheel,) = tmp_path.glob("ichor_ct-*-py3-none-any.whl")
    (source,) = tmp_path.glob("ichor_ct-*.tar.gz")
    run(tool("twine"), "check", "--strict", wheel, source)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        wheel_lines = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode().splitlines()
    assert {"Name: ichor-ct", "License-Expression: Apache-2.0"} <= set(wheel_lines)
    assert {"ichor/__init__.py", "ichor/py.typed", "ichor/bundles/default/bundle.json"} <= set(names)
    assert {n.split("/")[0].partition("-")[0] for n in names} == {"ichor", "ichor_ct"}
    with tarfile.open(source) as archive:
        parts = {Path(n).parts[1] for n in archive.getnames() if len(Path(n).parts) > 1}
    assert {"src", "tests", "docs", "constraints.txt", "LICENSE", "NOTICE"} <= parts

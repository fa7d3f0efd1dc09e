"""The four walks of docs/getting-started: their commands run from the first to the last, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "getting-started"
NEEDS = {
    "as-a-radiologist": (),
    "as-a-researcher": ("torch",),
    "as-a-pacs-administrator": ("pynetdicom", "highdicom", "fastapi"),
    "as-a-developer": ("fastapi",),
}
LEFT = {
    "as-a-radiologist": ("ichor-demo/report.html", "ichor-demo/mask.nii.gz"),
    "as-a-researcher": (
        "explored.html",
        "run/bundle/bundle.json",
        "measured/evaluation.html",
        "out/0/report.html",
    ),
    "as-a-pacs-administrator": ("state/node/audit.jsonl",),
    "as-a-developer": ("demo/findings.json",),
}

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not (shutil.which("bash") and shutil.which("curl")),
    reason="needs bash and curl",
)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.parametrize("name", NEEDS)
def test_the_commands_of_a_walk_run_to_their_end(name: str, tmp_path: Path) -> None:
    missing = [module for module in NEEDS[name] if find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {missing[0]}")
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^<!-- run -->\n```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    dicom, page = free_ports(2)
    script = "".join(blocks).replace("11112", str(dicom)).replace("8000", str(page))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert not [file for file in LEFT[name] if not (tmp_path / file).is_file()], done.stdout[-4000:]
    if name == "as-a-researcher":  # a paper's recipe: no outline, and Grad-CAM in its place
        report = (tmp_path / "out" / "0" / "report.html").read_text(encoding="utf-8")
        assert "says whether, not where" in report and "Grad-CAM, not an outline" in report


def test_every_role_of_the_start_page_has_a_walk() -> None:
    start = (PAGES.parent / "index.md").read_text(encoding="utf-8")
    assert {f"getting-started/{name}.md" for name in NEEDS} <= set(
        re.findall(r"\((getting-started/as-[\w-]+\.md)\)", start)
    )

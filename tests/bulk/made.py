"""A small archive with what archives hold: studies in one folder and in two, zips, volumes, and what is none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from reading.phantoms import Plan, head_hu, head_series, positions, slice_points, write

PLAN = Plan(n=8, step=16.0)
"""Few slices: what is tested here is not the model."""
BUNDLE = "fast"


def study(folder: Path, *, uid: str = "", n: int = PLAN.n) -> Path:
    """Write a head of a few slices."""
    return write(folder, head_series(Plan(n=n, step=128.0 / n), study=uid))


def volume(path: Path) -> Path:
    """Write the same head as NIfTI."""
    hu = np.stack([head_hu(slice_points(PLAN, p)) for p in positions(PLAN)]).astype(np.int16)
    affine = np.diag([-PLAN.spacing[1], -PLAN.spacing[0], PLAN.step, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), affine), path)
    return path


def archive(root: Path) -> Path:
    """Write an archive: 5 studies that can be assessed, 2 that cannot, a file that is no image."""
    study(root / "a" / "one" / "head", uid="1.2.3.1")
    study(root / "a" / "one" / "thick", uid="1.2.3.1", n=6)
    study(root / "a" / "two")
    packed = study(root.parent / "packed")
    with zipfile.ZipFile(root / "b.zip", "w") as file:
        for path in sorted(packed.iterdir()):
            file.write(path, path.name)
    volume(root / "c.nii.gz")
    (root / "d").mkdir()
    (root / "d" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    slices = head_series(PLAN)
    for data in slices:
        data.Modality = "MR"
    write(root / "e", slices)
    study(root / "f")
    (root / "readme.txt").write_text("no image")
    return root


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "ichor.cli", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """Of a command that finds this checkout."""
    paths = [str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), **more}


@contextlib.contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A run in a process group of its own, ended whatever happens."""
    process = subprocess.Popen(
        command("bulk", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def bulk(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``ichor bulk`` to its end."""
    return subprocess.run(command("bulk", *words), capture_output=True, text=True, env=environment(**more))


def rows(out: Path) -> list[dict[str, Any]]:
    """The rows that hold, by input."""
    from ichor.bulk.output import Output

    return sorted(Output(out).rows(), key=lambda row: (row["input"], row["row"]))


def raw_keys(out: Path) -> list[tuple[str, int]]:
    """Unit and row of all rows in all parts, whether they hold or not."""
    from ichor.bulk.output import Output

    return sorted((row["unit"], row["row"]) for _, row in Output(out).all_keys())


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and its content."""
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def until(condition: Callable[[], Any], what: str, process: subprocess.Popen[Any] | None = None) -> None:
    """Wait for something; long, as machines may be busy."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        assert process is None or process.poll() is None, f"ended before {what}"
        time.sleep(0.02)


def detected(*paths: Path) -> list[dict[str, Any]]:
    """What ``ichor detect --json`` gives."""
    done = subprocess.run(
        command("detect", "--json", "-q", "--bundle", BUNDLE, *paths),
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode in (0, 3), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]

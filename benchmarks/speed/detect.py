"""How long detection takes and how much memory: cold command, warm call, a long compressed exam.

Usage: python -m benchmarks.speed.detect [--data DIR] [--runs N]

The 30-slice exam is one of CT-ICH, written as an uncompressed DICOM series of 512 x 512; the other is CQ500-CT-0,
JPEG Lossless, tilted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pydicom

import ichor
from benchmarks.shared import tables
from benchmarks.shared.arguments import parser
from benchmarks.shared.processes import timed
from benchmarks.shared.series import write_series
from ichor.detecting.bundle import load_bundle
from ichor.detecting.sessions import MapModel, open_model
from ichor.exam import Exam
from ichor.preparing import prepare

STAGES = ("read", "prepare", "detect", "report")
Timed = tuple[float, dict[str, float | None]]
"""Seconds in all, and of each stage."""


def cold(study: Path, output: Path) -> tuple[Timed, float]:
    """Seconds, and peak MB, of the command in a process of its own, report written."""
    command = [
        sys.executable,
        "-c",
        "from ichor.cli import main; main()",
        "detect",
        str(study),
        "-o",
        str(output),
    ]
    seconds, memory = timed(command)
    findings = json.loads(next(output.glob("*/findings.json")).read_text())
    if not findings["assessable"]:
        raise SystemExit(f"the benchmark's own exam was refused: {findings['warnings']}")
    return (seconds, findings["seconds"]), memory


def warm(study: Path) -> Timed:
    """Seconds of the Python call, the model loaded before."""
    began = time.perf_counter()
    findings = ichor.detect(study)
    return time.perf_counter() - began, findings.seconds.model_dump()


def bare(study: Path) -> float:
    """Seconds of decoding every slice with pydicom and running the graph on the same arrays, nothing else."""
    exam = ichor.read(study)
    bundle = load_bundle()
    model = open_model(bundle)
    if not isinstance(exam, Exam) or not isinstance(model, MapModel):
        raise SystemExit(f"{study}: found no exam, or a bundle that draws no map; expected both")
    stack = prepare(exam, bundle.manifest.preparation).stack
    files = sorted(p for p in study.rglob("*") if p.is_file())
    began = time.perf_counter()
    for path in files:
        _ = pydicom.dcmread(path).pixel_array
    model.batches.map(lambda batch: model.session.run(["map", "slice"], {"stack": batch}), stack)
    return time.perf_counter() - began


def stages(runs: list[Timed]) -> list[str]:
    """Median seconds of each stage; empty where it did not run."""
    columns = [[seconds for _, found in runs if (seconds := found.get(s)) is not None] for s in STAGES]
    return [f"{median(c):.2f}" if c else "" for c in columns]


def main() -> None:
    known = parser(__doc__)
    known.add_argument("--runs", type=int, default=5)
    arguments = known.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds, "
        f"median of {arguments.runs} runs (lowest-highest)"
    )
    print()
    tables.heading("what", "total", *STAGES, "peak MB", "bare", "above bare", "aim")
    with tempfile.TemporaryDirectory() as temporary:
        short = Path(temporary) / "short"
        short.mkdir()
        write_series(short, arguments.data)
        exams = (
            ("30 slices", short, "< 3 s, < 700 MB", "< 1 s"),
            ("60 slices, JPEG Lossless", arguments.data / "cq500" / "CQ500-CT-0", "< 4 s", ""),
        )
        for name, study, aim_cold, aim_warm in exams:
            runs = [cold(study, Path(temporary) / f"{name}-{k}") for k in range(arguments.runs)]
            row(
                f"{name}, cold command",
                [timed for timed, _ in runs],
                aim_cold,
                peak=max(mb for _, mb in runs),
            )
            warm(study)  # opens the model
            # Side by side, so that whatever else runs on the machine slows both.
            pairs = [(warm(study), bare(study)) for _ in range(arguments.runs)]
            row(f"{name}, warm call", [w for w, _ in pairs], aim_warm, against=[b for _, b in pairs])


def row(
    name: str, runs: list[Timed], aim: str, *, peak: float | None = None, against: list[float] | None = None
) -> None:
    """Print a row; ``against`` are the bare seconds beside each run."""
    seconds = [total for total, _ in runs]
    total = f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
    bare_seconds = share = ""
    if against:
        bare_seconds = f"{median(against):.2f}"
        share = f"{median((w - b) / w for w, b in zip(seconds, against, strict=True)):.0%}"
        aim = f"{aim}, < 30 % above bare".lstrip(", ")
    memory = f"{peak:.0f}" if peak else ""
    tables.row(name, total, *stages(runs), memory, bare_seconds, share, aim)


if __name__ == "__main__":
    main()

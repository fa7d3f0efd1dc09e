"""What reading in a process of its own costs, on a healthy exam of 30 slices.

Usage: python -m benchmarks.speed.isolation [--data DIR] [--runs N]

Reads the exam in this process and in a warm reader by turns, so that what else the machine does falls on both; then
detects it. The cost is the median difference of a pair, as a share of reading and detecting in this process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.series import SLICES, write_series
from benchmarks.shared.tables import heading, row
from ichor.reading.isolation import warm

_DETECTIONS = 5


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=21)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder)
        write_series(study, options.data)
        warm()
        list(ichor.read_all(study, isolated=True))
        within: list[float] = []
        apart: list[float] = []
        for _ in range(options.runs):
            within.append(seconds(lambda: ichor.read(study)))
            apart.append(seconds(lambda: ichor.read(study, isolated=True)))
        exam = ichor.read(study)
        ichor.detect(exam)
        detecting = [seconds(lambda: ichor.detect(exam)) for _ in range(_DETECTIONS)]
    whole = median(within) + median(detecting)
    cost = median(b - a for a, b in zip(within, apart, strict=True))
    heading(f"{SLICES} slices", "median, ms", "lowest, ms")
    row("read in this process", f"{median(within) * 1000:.0f}", f"{min(within) * 1000:.0f}")
    row("read in a warm reader", f"{median(apart) * 1000:.0f}", f"{min(apart) * 1000:.0f}")
    row("read in this process, and detected", f"{whole * 1000:.0f}", None)
    row(f"cost of the reader, {cost / whole:.1%} of that", f"{cost * 1000:.0f}", None)


def seconds(work: Callable[[], object]) -> float:
    """Seconds of wall time that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

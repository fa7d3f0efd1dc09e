"""The cost of reading in a process of its own, on a healthy exam of 30 slices.

Usage: python benchmarks/speed/isolation.py [--data DIR] [--runs N]

Reads the exam in this process and in a warm reader by turns, so that what else the machine does falls on both;
then detects it whole, both ways. Prints medians, and the cost as a share of the whole detection.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from detect import write_series

import ichor
from ichor.reading.isolation import warm


def seconds(work: Callable[[], object]) -> float:
    """Seconds of wall time that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--runs", type=int, default=21)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder)
        write_series(study, options.data)
        warm()
        list(ichor.read_all(study, isolated=True))
        here: list[float] = []
        there: list[float] = []
        for _ in range(options.runs):
            here.append(seconds(lambda: ichor.read(study)))
            there.append(seconds(lambda: ichor.read(study, isolated=True)))
        exam = ichor.read(study)
        ichor.detect(exam)
        detecting = [seconds(lambda: ichor.detect(exam)) for _ in range(5)]
    whole = median(here) + median(detecting)
    differences = median(b - a for a, b in zip(here, there, strict=True))
    print(f"reading 30 slices, in this process: {median(here) * 1000:.0f} ms (least {min(here) * 1000:.0f})")
    print(
        f"reading 30 slices, in a reader:     {median(there) * 1000:.0f} ms (least {min(there) * 1000:.0f})"
    )
    print(f"reading and detecting, in all:      {whole * 1000:.0f} ms")
    print(f"cost: {differences * 1000:.0f} ms, {differences / whole:.1%} of the whole")


if __name__ == "__main__":
    main()

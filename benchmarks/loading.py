"""Reading slices from a prepared store against decoding them anew, and what training waits for.

Usage: python benchmarks/loading.py [DATA]
One process, one thread; ratios in one run. The shares of waiting are those that the kept runs wrote into log.csv.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.store_build import build_store
from ichor.preparing import GridSpec, Preparation, prepare

BATCH, BATCHES, BORDER = 32, 12, 16
EXAMS = 6
RUNS = Path(__file__).parent / "runs"


def main(data: Path) -> None:
    """Print two tables."""
    preparation = Preparation()
    spec = replace(
        preparation.grid,
        rows=preparation.rows + 2 * BORDER,
        columns=preparation.columns + 2 * BORDER,
        border=BORDER,
    )
    print("| where slices come from | slices a second | times decoding | on disk, KB a slice |")
    print("|---|---|---|---|")
    for name in ("ct-ich", "cq500"):
        dataset = Part(open_dataset(name, data), EXAMS)
        lone, near, size = reading(dataset, spec)
        decoded = decoding(dataset, preparation)
        form = "JPEG" if name == "ct-ich" else "DICOM, JPEG lossless"
        print(f"| {name}: decoded and prepared anew ({form}, whole exams) | {decoded:.0f} | 1 | |")
        what = f"{name}: store, random slices"
        print(f"| {what}, batches of {BATCH} | {lone:.0f} | {lone / decoded:.1f} | {size / 1e3:.0f} |")
        print(f"| {what} with both neighbours | {near:.0f} | {near / decoded:.1f} | |")
    print("\n| kept run | share of an epoch that waited for batches, median over epochs | seconds an epoch |")
    print("|---|---|---|")
    for folder in sorted(RUNS.iterdir()):
        rows = [row for path in folder.glob("fold-*/log.csv") for row in csv.DictReader(path.open())]
        waited = [float(row["waited"]) for row in rows if row.get("waited")]
        if waited and not folder.name.startswith("ablation-"):
            seconds = [float(row["seconds"]) / float(row["epoch"]) for row in rows]
            print(f"| {folder.name} | {statistics.median(waited):.1%} | {statistics.median(seconds):.1f} |")


class Part:
    """The first exams of a data set."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.name, self.info, self.load, self.dataset = dataset.name, dataset.info, dataset.load, dataset
        self.names = sorted(dataset.patients())[:count]

    def patients(self) -> dict[str, np.ndarray]:
        """Labels of these."""
        return {name: self.dataset.patients()[name] for name in self.names}


def decoding(dataset: Part, preparation: Preparation) -> float:
    """Slices a second, each exam decoded and prepared anew."""
    patients = list(dataset.patients())
    return rate(lambda i: len(prepare(dataset.load(patients[i]).exam, preparation).stack), len(patients))


def reading(dataset: Part, spec: GridSpec) -> tuple[float, float, float]:
    """Slices a second from a store, alone and with neighbours, and bytes a slice."""
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(dataset, spec, Path(folder), lambda _: None, processes=1)
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / len(store.exam)
        rng = np.random.default_rng(0)
        batches = [rng.integers(len(store.exam), size=BATCH) for _ in range(BATCHES)]
        lone = rate(lambda i: len(store.hu[batches[i]]), BATCHES)
        near = rate(lambda i: len(store.hu[store.neighbours(batches[i])]), BATCHES)
    return lone, near, size


def rate(read: Callable[[int], int], times: int) -> float:
    """Slices a second over some calls, the first left out."""
    read(0)
    began, slices = time.perf_counter(), 0
    for i in range(times):
        slices += read(i % times)
    return slices / (time.perf_counter() - began)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data"))

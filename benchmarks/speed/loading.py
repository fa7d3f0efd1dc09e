"""Reading slices from a prepared store against decoding them anew, and what training waits for.

Usage: python benchmarks/speed/loading.py [DATA]
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
import zarr

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.store import GROUP, Store
from ichor.datasets.store_build import build_store
from ichor.preparing import Preparation, prepare

BATCH, BATCHES, BORDER = 32, 12, 16
EXAMS = 6
RUNS = Path(__file__).parents[1] / "runs"


def main(data: Path) -> None:
    print(
        "| where slices come from | slices a second | of processor time | times decoding | on disk, KB a slice |"
    )
    print("|---|---|---|---|---|")
    for name, form in (("ct-ich", "JPEG"), ("cq500", "DICOM, JPEG lossless")):
        measure(Part(open_dataset(name, data), EXAMS), form)
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
        """Return the labels of each."""
        return {name: self.dataset.patients()[name] for name in self.names}


def measure(dataset: Part, form: str) -> None:
    """Print what a data set's rows are."""
    preparation = Preparation()
    spec = replace(
        preparation.grid,
        rows=preparation.rows + 2 * BORDER,
        columns=preparation.columns + 2 * BORDER,
        border=BORDER,
    )

    def decode(number: int) -> int:
        return len(prepare(dataset.load(dataset.names[number]).exam, preparation).stack)

    with tempfile.TemporaryDirectory() as folder:
        store = build_store(dataset, spec, Path(folder), lambda _: None, processes=1)
        files = [p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()]
        rng = np.random.default_rng(0)
        batches = [rng.integers(len(store.exam), size=BATCH) for _ in range(BATCHES)]
        array = zarr.open_group(next(Path(folder).iterdir()) / GROUP, mode="r")["hu"]
        decoded = rate(decode, len(dataset.names))
        rows = {
            f"decoded and prepared anew ({form}, whole exams)": decoded,
            f"store, random slices, batches of {BATCH}": rate(lambda i: read(store, batches[i]), BATCHES),
            "store, random slices with both neighbours": rate(
                lambda i: read(store, store.neighbours(batches[i])), BATCHES
            ),
            "the same files through zarr, slice by slice": rate(
                lambda i: sum(array[int(k)].ndim == 2 for k in batches[i]), BATCHES
            ),
        }
    for what, (wall, processor) in rows.items():
        size = (
            f"{sum(files) / len(store.exam) / 1e3:.0f}" if what.startswith("store, random slices, ") else ""
        )
        times = processor / decoded[1]
        print(f"| {dataset.name}: {what} | {wall:.0f} | {processor:.0f} | {times:.0f} | {size} |")


def read(store: Store, index: np.ndarray) -> int:
    """Read slices, each with those beside it where the index tells them, and say how many."""
    return len(store.hu[index])


def rate(work: Callable[[int], int], times: int) -> tuple[float, float]:
    """Slices a second, by the clock and by the processor's time, over some calls, the first left out."""
    work(0)
    began, used, slices = time.perf_counter(), time.process_time(), 0
    for i in range(times):
        slices += work(i)
    return slices / (time.perf_counter() - began), slices / (time.process_time() - used)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data"))

"""Reading slices from a prepared store against decoding them anew, and what training waits for.

Usage: python -m benchmarks.speed.loading [--data DIR]

One process, one thread; ratios in one run. The shares of waiting are those that the kept runs wrote into log.csv.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.shared.arguments import KEPT_RUNS, parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.labelled import Dataset, LabelledExam
from ichor.datasets.registry import open_dataset
from ichor.datasets.store import GROUP, Store
from ichor.datasets.store_build import build_store
from ichor.preparing import Preparation, prepare

BATCH, BATCHES, BORDER = 32, 12, 16
EXAMS = 6


def main() -> None:
    data = parser(__doc__).parse_args().data
    heading(
        "where slices come from",
        "slices a second",
        "of processor time",
        "times decoding",
        "on disk, KB a slice",
    )
    for name, form in (("ct-ich", "JPEG"), ("cq500", "DICOM, JPEG lossless")):
        measure(FirstExams(open_dataset(name, data), EXAMS), form)
    print()
    heading("kept run", "share of an epoch that waited for batches, median over epochs", "seconds an epoch")
    for folder in sorted(KEPT_RUNS.iterdir()):
        epochs = [e for path in folder.glob("fold-*/log.csv") for e in csv.DictReader(path.open())]
        waited = [float(e["waited"]) for e in epochs if e.get("waited")]
        if waited and not folder.name.startswith("ablation-"):
            seconds = [float(e["seconds"]) / float(e["epoch"]) for e in epochs]
            row(folder.name, f"{statistics.median(waited):.1%}", f"{statistics.median(seconds):.1f}")


class FirstExams(Dataset):
    """The first exams of a data set."""

    def __init__(self, whole: Dataset, count: int) -> None:
        super().__init__(whole.root)
        self.name, self.info = whole.name, whole.info
        self.names = sorted(whole.patients())[:count]
        self._whole = whole

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return the labels of each."""
        whole = self._whole.patients()
        return {name: whole[name] for name in self.names}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return what the whole data set has."""
        return self._whole.slice_labels(patient)

    def load(self, patient: str) -> LabelledExam:
        """Read one exam of the whole data set."""
        return self._whole.load(patient)


def measure(dataset: FirstExams, form: str) -> None:
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
        array = zarr.open_array(next(Path(folder).iterdir()) / GROUP / "hu", mode="r")
        decoded = rate(decode, len(dataset.names))
        rows = {
            f"decoded and prepared anew ({form}, whole exams)": decoded,
            f"store, random slices, batches of {BATCH}": rate(lambda i: read(store, batches[i]), BATCHES),
            "store, random slices with both neighbours": rate(
                lambda i: read(store, store.neighbours(batches[i], preparation.max_gap_mm)), BATCHES
            ),
            "the same files through zarr, slice by slice": rate(
                lambda i: sum(np.ndim(array[int(k)]) == 2 for k in batches[i]), BATCHES
            ),
        }
    for what, (wall, processor) in rows.items():
        size = (
            f"{sum(files) / len(store.exam) / 1e3:.0f}" if what.startswith("store, random slices, ") else ""
        )
        times = processor / decoded[1]
        row(f"{dataset.name}: {what}", f"{wall:.0f}", f"{processor:.0f}", f"{times:.0f}", size)


def read(store: Store, index: NDArray[np.integer]) -> int:
    """Read slices, each with its neighbours where the index holds them; returns how many."""
    return len(store.hu[index])


def rate(work: Callable[[int], int], times: int) -> tuple[float, float]:
    """Slices a second, by the clock and by the processor's time, over some calls, the first left out."""
    work(0)
    began, used, slices = time.perf_counter(), time.process_time(), 0
    for i in range(times):
        slices += work(i)
    return slices / (time.perf_counter() - began), slices / (time.process_time() - used)


if __name__ == "__main__":
    main()

"""Building a store: in parallel, in shards, and on from the last whole shard after a kill."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import UNKNOWN, Dataset, LabelledExam
from ichor.datasets.store import FORMAT, META, Store, open_store
from ichor.errors import RefusedInput
from ichor.preparing import GridSpec, plan_grid

__all__ = ["SHARD", "build_store", "on_grid"]

SHARD = 256
"""Slices a file."""
_PROGRESS = "progress.json"
_ARRAYS = {"hu": "int16", "blood": "uint8"}
_ALL_HU = (-1024.0, 3071.0)
Log = Callable[[str], None]


def build_store(
    dataset: Dataset, spec: GridSpec, folder: Path, log: Log, processes: int | None = None, shard: int = SHARD
) -> Store:
    """Prepare a data set on the grid, or open what an earlier call prepared from the same data and grid.

    Parameters
    ----------
    dataset
        Where the exams come from.
    spec
        The grid; its border is kept for augmentation.
    folder
        Where stores are kept; one sub-folder a data set and grid.
    log
        Told what is being done, with the time left, and which exams could not be read.
    processes
        That prepare exams; one a core by default, none beside this one for small sets.
    shard
        Slices a file.

    Returns
    -------
    Store
        Read-only. Exams that could not be read are not in it.
    """
    from filelock import FileLock

    key = hashlib.sha256(repr((FORMAT, spec, shard, _identity(dataset))).encode()).hexdigest()[:12]
    home = folder / f"{dataset.name}-{key}"
    if not (home / META).exists():
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "lock"):  # let go when its process ends, however it ends
            if not (home / META).exists():
                log(
                    f"preparing {dataset.name} for the grid ({spec.rows} x {spec.columns}): once, kept in {home}"
                )
                _Builder(dataset, spec, home, log, shard).build(processes)
    return open_store(home)


def on_grid(
    item: LabelledExam, spec: GridSpec
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float32]]:
    """Bring an exam, its blood map and its labels to the grid.

    Where thin slices become slabs, a slab has what any of its slices has, and is unknown where one of them is
    and none has it.

    Returns
    -------
    hu, blood, labels
        ``(m, rows, columns)`` int16 and uint8, ``(m, 6)`` float32.
    """
    transform = plan_grid(item.exam.volume, item.exam.geometry, spec)
    planes = np.rint(transform.to_grid(item.exam.volume)).astype(np.int16)
    marks = np.zeros(planes.shape, np.uint8)
    for value in np.unique(item.blood):
        if value:
            # Air outside the scan would read as -1024: a mask's share is told as 0 to 1000.
            share = transform.to_grid(np.where(item.blood == value, 1000, 0).astype(np.int16))
            marks[share >= (300 if value == UNKNOWN else 500)] = value
    labels = item.labels
    if len(planes) != len(labels):
        near = np.abs(item.exam.geometry.distances[:, None] - transform.distances[None]).argmin(axis=1)
        slabs = np.zeros((len(planes), labels.shape[1]), np.float32)
        for k in range(len(planes)):
            # Between two slices of the exam a slab may have none nearest: it is as the one beside it.
            inside = labels[near == k] if (near == k).any() else labels[[np.abs(near - k).argmin()]]
            slabs[k] = np.where((inside == 1).any(axis=0), 1, inside.max(axis=0))
        labels = slabs
    return planes, marks, labels


@dataclass
class _Prepared:
    patient: str
    hu: NDArray[np.int16]
    blood: NDArray[np.uint8]
    labels: NDArray[np.float32]
    hu_range: tuple[float, float]
    refusal: str = ""


@dataclass
class _Builder:
    """Writes whole shards, and after each of them how far it is."""

    dataset: Dataset
    spec: GridSpec
    home: Path
    log: Log
    shard: int
    exams: list[dict[str, Any]] = field(default_factory=list)
    """Patient, slices, range of each exam that was read, in order."""
    left_out: dict[str, str] = field(default_factory=dict)
    written: int = 0
    """Slices in whole shards."""

    def build(self, processes: int | None) -> None:
        import zarr

        self._go_on()
        group = zarr.open_group(self.home / "slices.zarr", mode="a")
        known = list(self.dataset.patients())
        done = {e["patient"] for e in self.exams} | set(self.left_out)
        todo = [p for p in known if p not in done]
        begun = sum(e["slices"] for e in self.exams)
        # The exam in which the last whole shard ends is read again for the rest of its slices.
        torn = [self.exams.pop() for _ in range(1) if begun > self.written]
        skip = self.written - sum(e["slices"] for e in self.exams)
        todo = [e["patient"] for e in torn] + todo
        pending: list[_Prepared] = []
        start, first = time.monotonic(), len(done)
        for item in _prepare_all(self.dataset, todo, self.spec, processes):
            if item.refusal:
                self.left_out[item.patient] = item.refusal
                self.log(f"{self.dataset.name}: an exam was left out: {item.refusal}")
                continue
            self.exams.append(
                {"patient": item.patient, "slices": len(item.labels), "hu_range": list(item.hu_range)}
            )
            if skip:
                item = _Prepared(
                    item.patient, item.hu[skip:], item.blood[skip:], item.labels[skip:], item.hu_range
                )
                skip = 0
            pending.append(item)
            if sum(len(p.labels) for p in pending) >= self.shard:
                pending = self._write(group, pending, whole=False)
                self._keep_progress()
                handled = len(self.exams) + len(self.left_out)
                left = (time.monotonic() - start) / max(1, handled - first) * (len(known) - handled)
                self.log(f"{self.dataset.name}: {handled} of {len(known)} exams, {left / 60:.0f} min left")
        self._write(group, pending, whole=True)
        self._finish()

    def _write(self, group: Any, pending: list[_Prepared], *, whole: bool) -> list[_Prepared]:
        """Write what fills shards (or everything), and give back the rest."""
        arrays = (
            {name: np.concatenate([getattr(p, name) for p in pending]) for name in (*_ARRAYS, "labels")}
            if pending
            else {}
        )
        n = len(arrays["labels"]) if pending else 0
        count = n if whole else n // self.shard * self.shard
        for name, values in arrays.items():
            target = self._array(group, name, values)
            target.resize((self.written + count, *values.shape[1:]))
            # A shard at a time: one file is written once.
            for k in range(0, count, self.shard):
                part = values[k : min(k + self.shard, count)]
                target[self.written + k : self.written + k + len(part)] = part
        self.written += count
        if count == n:
            return []
        last = pending[-1]
        rest = n - count
        return [
            _Prepared(last.patient, last.hu[-rest:], last.blood[-rest:], last.labels[-rest:], last.hu_range)
        ]

    def _array(self, group: Any, name: str, values: NDArray[Any]) -> Any:
        if name in group:
            return group[name]
        from zarr.codecs import ZstdCodec

        inner = values.shape[1:]
        return group.create_array(
            name,
            shape=(0, *inner),
            chunks=(1 if name in _ARRAYS else self.shard, *inner),
            shards=(self.shard, *inner) if name in _ARRAYS else None,
            dtype=values.dtype,
            compressors=ZstdCodec(level=3),
        )

    def _go_on(self) -> None:
        path = self.home / _PROGRESS
        if path.exists():
            kept = json.loads(path.read_text())
            self.exams, self.left_out, self.written = kept["exams"], kept["left_out"], kept["written"]
            self.log(f"{self.dataset.name}: going on after {len(self.exams)} exams")

    def _keep_progress(self) -> None:
        _write_json(
            self.home / _PROGRESS, {"exams": self.exams, "left_out": self.left_out, "written": self.written}
        )

    def _finish(self) -> None:
        ranges = {tuple(e["hu_range"]) for e in self.exams}
        # Written last, and moved into place: a store is whole or it is not there.
        _write_json(
            self.home / META,
            {
                "format": FORMAT,
                "dataset": self.dataset.name,
                "grid": repr(self.spec),
                "hu_range": list(next(iter(ranges))) if len(ranges) == 1 else list(_ALL_HU),
                "exams": self.exams,
                "left_out": self.left_out,
            },
        )
        (self.home / _PROGRESS).unlink(missing_ok=True)


def _prepare_all(
    dataset: Dataset, patients: list[str], spec: GridSpec, processes: int | None
) -> Iterator[_Prepared]:
    cores = processes or min(os.cpu_count() or 1, len(patients) // 8)
    if cores <= 1:
        yield from (_prepare_one(dataset, patient, spec) for patient in patients)
        return
    # Spawned: a fork would copy the locks of other threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, _remember, (dataset, spec)) as pool:
        step = 8 * cores  # so many exams wait in memory at most
        for k in range(0, len(patients), step):
            yield from pool.map(_prepare_remembered, patients[k : k + step])


_remembered: dict[str, Any] = {}


def _remember(dataset: Dataset, spec: GridSpec) -> None:
    _remembered.update(dataset=dataset, spec=spec)


def _prepare_remembered(patient: str) -> _Prepared:
    return _prepare_one(_remembered["dataset"], patient, _remembered["spec"])


def _prepare_one(dataset: Dataset, patient: str, spec: GridSpec) -> _Prepared:
    try:
        item = dataset.load(patient)
    except RefusedInput as refusal:
        nothing = np.empty(0)
        return _Prepared(patient, nothing, nothing, nothing, _ALL_HU, str(refusal))  # type: ignore[arg-type]
    planes, marks, labels = on_grid(item, spec)
    return _Prepared(patient, planes, marks, labels, item.hu_range)


def _identity(dataset: Dataset) -> str:
    """Hash what a store depends on besides the grid: which data, whose, and how it is labelled."""
    digest = hashlib.sha256(f"{dataset.name} {type(dataset).__name__}".encode())
    for patient, labels in sorted(dataset.patients().items()):
        digest.update(f"{patient} {labels.tolist()}".encode())
    if dataset.name in ("folder", "csv"):
        digest.update(str(Path(dataset.root).resolve()).encode())  # type: ignore[attr-defined]
    return digest.hexdigest()


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value) + "\n")
    temporary.rename(path)

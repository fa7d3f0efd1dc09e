"""Building a store: in parallel, in shards, and on from the last whole shard after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.datasets.store import FORMAT, GROUP, META, Store, open_store
from ichor.datasets.store_prepare import OnGrid, prepare_all
from ichor.errors import UsageError
from ichor.preparing import GridSpec
from ichor.progress import Progress, silent

__all__ = ["SHARD", "build_store", "dataset_identity"]

SHARD = 256
"""Slices a file."""
_PROGRESS = "progress.json"
_ARRAYS = {"hu": "int16", "blood": "uint8"}
_TABLES = ("labels", "distances")
"""What is small: read whole."""
Log = Callable[[str], None]


def build_store(
    dataset: Dataset,
    spec: GridSpec,
    folder: Path,
    log: Log,
    processes: int | None = None,
    shard: int = SHARD,
    progress: Progress = silent,
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
        Called with what is being done, with the time left, and which exams could not be read.
    processes
        That prepare exams; one a core by default, none beside this one for small sets.
    shard
        Slices a file.
    progress
        Called after each exam, for a person who watches; the log is for who comes later.

    Returns
    -------
    Store
        Read-only. Exams that were refused are not in it.

    Raises
    ------
    UsageError
        Where an exam fails in a way that is no refusal, no exam can be read, or a kept store is damaged.
    """
    from filelock import FileLock, Timeout

    key = hashlib.sha256(repr((FORMAT, spec, shard, dataset_identity(dataset))).encode()).hexdigest()[:12]
    home = folder / f"{dataset.name}-{key}"
    if not (home / META).exists():
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock")  # let go when its process ends, however it ends
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            log(f"{dataset.name}: another process prepares it; waiting")
            held = lock.acquire()
        with held:
            if not (home / META).exists():
                log(
                    f"preparing {dataset.name} for the grid ({spec.rows} x {spec.columns}): once, kept in {home}"
                )
                _Builder(dataset, spec, home, log, progress, shard).build(processes)
    return open_store(home)


@dataclass
class _Builder:
    """Writes whole shards, and after each of them how far it is."""

    dataset: Dataset
    spec: GridSpec
    home: Path
    log: Log
    progress: Progress
    shard: int
    exams: list[dict[str, Any]] = field(default_factory=list)
    """Patient, slices, range and confidence of each exam that was read, in order."""
    left_out: dict[str, str] = field(default_factory=dict)
    written: int = 0
    """Slices in whole shards."""

    def build(self, processes: int | None) -> None:
        import zarr

        group = zarr.open_group(self.home / GROUP, mode="a")
        self._go_on(group)
        known = list(self.dataset.patients())
        done = {e["patient"] for e in self.exams} | set(self.left_out)
        todo = [p for p in known if p not in done]
        first = len(done)
        skip = 0
        if self.exams and sum(e["slices"] for e in self.exams) > self.written:
            # The exam in which the last whole shard ends is read again for the rest of its slices.
            torn = self.exams.pop()
            skip = self.written - sum(e["slices"] for e in self.exams)
            todo.insert(0, torn["patient"])
            first -= 1
        pending: list[OnGrid] = []
        start = time.monotonic()
        for item in prepare_all(self.dataset, todo, self.spec, processes):
            handled = len(self.exams) + len(self.left_out)
            self.progress(f"preparing {self.dataset.name}: {handled} of {len(known)}", handled / len(known))
            if item.slices is None and not skip:
                self.left_out[item.patient] = item.refusal
                self.log(f"{self.dataset.name}: an exam was left out: {item.refusal}")
                continue
            if item.slices is None or len(item.slices.labels) < skip:
                raise UsageError(
                    f"{self.home}: found that {item.patient} has changed while the store was built; expected the same "
                    "images; remove this folder and run again"
                )
            self.exams.append(
                {
                    "patient": item.patient,
                    "slices": len(item.slices.labels),
                    "hu_range": list(item.hu_range),
                    "hu_confidence": item.hu_confidence,
                }
            )
            pending.append(item.slices.after(skip))
            skip = 0
            if sum(len(p.labels) for p in pending) >= self.shard:
                pending = self._write(group, pending, whole=False)
                self._keep_progress()
                handled = len(self.exams) + len(self.left_out)
                left = (time.monotonic() - start) / max(1, handled - first) * (len(known) - handled)
                self.log(f"{self.dataset.name}: {handled} of {len(known)} exams, {left / 60:.0f} min left")
        self._write(group, pending, whole=True)
        if not self.written:
            raise UsageError(
                f"{self.dataset.name}: found {len(known)} exams of which none can be read; expected some; "
                f"run ichor data check {self.dataset.name}"
            )
        self._finish()

    def _write(self, group: Any, pending: list[OnGrid], *, whole: bool) -> list[OnGrid]:
        """Write what fills shards (or everything), and give back the rest."""
        n = sum(len(p.labels) for p in pending)
        count = n if whole else n // self.shard * self.shard
        if not count:
            return pending
        try:
            for name in (*_ARRAYS, *_TABLES):
                values = np.concatenate([getattr(p, name) for p in pending])
                target = self._array(group, name, values)
                target.resize((self.written + count, *values.shape[1:]))
                # A shard at a time: one file is written once.
                for k in range(0, count, self.shard):
                    part = values[k : min(k + self.shard, count)]
                    target[self.written + k : self.written + k + len(part)] = part
        except OSError as error:
            raise UsageError(
                f"{self.home}: found that it cannot be written ({error.strerror or error}); expected room for the "
                "store; free some and run again: it goes on"
            ) from error
        self.written += count
        # A shard was filled by the last exam: what is left is its end.
        return [pending[-1].after(len(pending[-1].labels) - (n - count))] if n > count else []

    def _array(self, group: Any, name: str, values: NDArray[Any]) -> Any:
        from zarr.codecs import ZstdCodec

        inner = values.shape[1:]
        if name not in group:
            group.create_array(
                name,
                shape=(0, *inner),
                chunks=(1 if name in _ARRAYS else self.shard, *inner),
                shards=(self.shard, *inner) if name in _ARRAYS else None,
                dtype=values.dtype.newbyteorder("<"),
                compressors=ZstdCodec(level=3, checksum=True),
            )
        # A slice of zeros is written, too: what is missing is then damage, and never reads as zeros.
        return group[name].with_config({"write_empty_chunks": True})

    def _go_on(self, group: Any) -> None:
        path = self.home / _PROGRESS
        if path.exists():
            kept = json.loads(path.read_text())
            self.exams, self.left_out, self.written = kept["exams"], kept["left_out"], kept["written"]
            self.log(f"{self.dataset.name}: going on after {len(self.exams)} exams")
        for name in (*_ARRAYS, *_TABLES):
            if name in group:
                # What was being written when the build ended goes.
                group[name].resize((self.written, *group[name].shape[1:]))

    def _keep_progress(self) -> None:
        _write_json(
            self.home / _PROGRESS, {"exams": self.exams, "left_out": self.left_out, "written": self.written}
        )

    def _finish(self) -> None:
        written = sorted(p for p in (self.home / GROUP).rglob("*") if p.is_file())
        for path in [p for p in written if p.suffix == ".partial"]:
            path.unlink()  # zarr's, of a build that was killed
            written.remove(path)
        # Written last, and moved into place: a store is whole or it is not there.
        _write_json(
            self.home / META,
            {
                "format": FORMAT,
                "dataset": self.dataset.name,
                "grid": repr(self.spec),
                "shard": self.shard,
                "files": {p.relative_to(self.home / GROUP).as_posix(): p.stat().st_size for p in written},
                "exams": self.exams,
                "left_out": self.left_out,
            },
        )
        (self.home / _PROGRESS).unlink(missing_ok=True)


def dataset_identity(dataset: Dataset) -> str:
    """Hash what a store depends on besides the grid: which data, whose, and how it is labelled."""
    digest = hashlib.sha256(f"{dataset.name} {type(dataset).__name__}".encode())
    for patient, labels in sorted(dataset.patients().items()):
        digest.update(f"{patient} {labels.tolist()}".encode())
    if dataset.info.private:  # any folder or table may be of this name
        digest.update(str(dataset.root.resolve()).encode())
    for table in dataset.label_files():
        with table.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value) + "\n")
    temporary.replace(path)

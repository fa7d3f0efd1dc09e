"""Exams brought to the model's grid once, and read from memory-mapped arrays in every epoch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import UNKNOWN, Dataset, LabelledExam
from ichor.preparing import GridSpec, plan_grid

__all__ = ["Store", "build_store"]


@dataclass(frozen=True)
class Store:
    """All slices of one data set on the grid.

    Attributes
    ----------
    hu
        ``(N, rows, columns)`` int16, memory-mapped.
    blood
        ``(N, rows, columns)`` uint8, as in :class:`~ichor.datasets.labelled.LabelledExam`, memory-mapped.
    labels
        ``(N, 6)`` float32.
    exam
        ``(N,)`` number of the exam that each slice belongs to; slices of an exam follow each other.
    patients
        Patient of each exam.
    hu_range
        HU below and above which the source is clipped.
    """

    name: str
    hu: NDArray[np.int16]
    blood: NDArray[np.uint8]
    labels: NDArray[np.float32]
    exam: NDArray[np.int64]
    patients: tuple[str, ...]
    hu_range: tuple[float, float]

    @property
    def place(self) -> NDArray[np.float64]:
        """``(N,)`` 0 for the lowest slice of an exam to 1 for its highest."""
        counts = np.bincount(self.exam)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        height = np.arange(len(self.exam)) - first[self.exam]
        return np.asarray(height / np.maximum(counts - 1, 1)[self.exam])

    def neighbours(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """``(len(index), 3)`` the slice below, the slice, the one above; at an exam's ends itself."""
        below = np.maximum(index - 1, 0)
        above = np.minimum(index + 1, len(self.exam) - 1)
        below = np.where(self.exam[below] == self.exam[index], below, index)
        above = np.where(self.exam[above] == self.exam[index], above, index)
        return np.stack([below, index, above], axis=1)


def build_store(dataset: Dataset, spec: GridSpec, folder: Path, log: Callable[[str], None]) -> Store:
    """Prepare a data set on the grid, or open what an earlier run prepared with the same grid.

    Parameters
    ----------
    dataset
        Where the exams come from.
    spec
        The grid; its border is kept for augmentation.
    folder
        Where stores are kept; one sub-folder a data set and grid.
    log
        Told what is being done.

    Returns
    -------
    Store
        Read-only.
    """
    key = hashlib.sha256(repr((dataset.name, spec)).encode()).hexdigest()[:12]
    home = folder / f"{dataset.name}-{key}"
    if not (home / "store.json").exists():
        log(f"preparing {dataset.name} for the grid ({spec.rows} x {spec.columns}): once, kept in {home}")
        _build(dataset, spec, home)
    meta = json.loads((home / "store.json").read_text())
    return Store(
        dataset.name,
        np.load(home / "hu.npy", mmap_mode="r"),
        np.load(home / "blood.npy", mmap_mode="r"),
        np.load(home / "labels.npy"),
        np.load(home / "exam.npy"),
        tuple(meta["patients"]),
        tuple(meta["hu_range"]),
    )


def _build(dataset: Dataset, spec: GridSpec, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    hu, blood, labels, exam, patients = [], [], [], [], []
    hu_range = (0.0, 0.0)
    for number, item in enumerate(dataset):
        planes, marks = _on_grid(item, spec)
        hu.append(planes)
        blood.append(marks)
        labels.append(item.labels)
        exam.append(np.full(len(item.labels), number))
        patients.append(item.patient)
        hu_range = item.hu_range
    np.save(home / "hu.npy", np.concatenate(hu))
    np.save(home / "blood.npy", np.concatenate(blood))
    np.save(home / "labels.npy", np.concatenate(labels))
    np.save(home / "exam.npy", np.concatenate(exam))
    # Written last, and moved into place: a store is whole or it is not there.
    temporary = home / f"store.json.{os.getpid()}"
    temporary.write_text(json.dumps({"patients": patients, "hu_range": hu_range}))
    temporary.rename(home / "store.json")


def _on_grid(item: LabelledExam, spec: GridSpec) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    transform = plan_grid(item.exam.volume, item.exam.geometry, spec)
    if transform.n_slices != item.exam.n_slices:
        raise ValueError(
            f"{item.dataset}/{item.patient}: thin slices; labels are a slice, slabs are not built here"
        )
    planes = np.rint(transform.to_grid(item.exam.volume)).astype(np.int16)
    marks = np.zeros(planes.shape, np.uint8)
    for value in np.unique(item.blood):
        if value:
            # Air outside the scan would read as -1024: a mask's share is told as 0 to 1000.
            share = transform.to_grid(np.where(item.blood == value, 1000, 0).astype(np.int16))
            marks[share >= (300 if value == UNKNOWN else 500)] = value
    return planes, marks

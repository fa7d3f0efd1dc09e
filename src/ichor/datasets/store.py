"""Exams brought to the model's grid once, and read slice by slice in every epoch.

A store is a zarr group: one compressed chunk a slice, some hundred slices in a file. Nothing is decoded or resampled
again, and no more than what a batch asks for is in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMAT", "META", "Slices", "Store", "StoredSlices", "open_store"]

FORMAT = "ichor.store/1"
META = "store.json"


class Slices(Protocol):
    """Slices that are read by number, as a numpy array would be."""

    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> NDArray[Any]: ...


class StoredSlices:
    """Slices of a zarr array, read by integer arrays of any shape.

    Parameters
    ----------
    array
        ``(N, rows, columns)``, a chunk a slice.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read slices: ``index.shape + (rows, columns)`` for an integer array or a number; each is read once."""
        if isinstance(index, slice):
            return np.asarray(self._array[index])
        wanted = np.asarray(index)
        numbers, place = np.unique(wanted.ravel(), return_inverse=True)
        if len(numbers) and (numbers[0] < -len(self) or numbers[-1] >= len(self)):
            raise IndexError(f"slice {numbers[-1]} of a store of {len(self)}")
        read = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        # Chunk by chunk: zarr's own selection of many chunks costs several times more than it saves.
        for k, number in enumerate(numbers):
            read[k] = self._array[int(number)]
        return read[place].reshape(*wanted.shape, *self.shape[1:])


@dataclass(frozen=True)
class Store:
    """All slices of one data set on the grid.

    Attributes
    ----------
    hu
        ``(N, rows, columns)`` int16.
    blood
        ``(N, rows, columns)`` uint8, as in :class:`~ichor.datasets.labelled.LabelledExam`.
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
    hu: Slices
    blood: Slices
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


def open_store(home: Path) -> Store:
    """Open a whole store."""
    import zarr

    meta = json.loads((home / META).read_text())
    group = zarr.open_group(home / "slices.zarr", mode="r")
    counts = [exam["slices"] for exam in meta["exams"]]
    return Store(
        meta["dataset"],
        StoredSlices(group["hu"]),
        StoredSlices(group["blood"]),
        np.asarray(group["labels"][:], np.float32),  # type: ignore[index]
        np.repeat(np.arange(len(counts)), counts),
        tuple(exam["patient"] for exam in meta["exams"]),
        tuple(meta["hu_range"]),
    )

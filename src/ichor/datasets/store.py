"""Exams brought to the model's grid once, and read slice by slice in every epoch.

A store is a zarr group: one compressed chunk a slice, some hundred slices in a file. Nothing is decoded or resampled
again, and no more than what a batch asks for is in memory.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Confidence
from ichor.errors import UsageError
from ichor.preparing.stacks import neighbour_indices

__all__ = [
    "ALL_HU",
    "FORMAT",
    "GROUP",
    "META",
    "IndexedSlices",
    "Slices",
    "Store",
    "StoredSlices",
    "open_store",
]

FORMAT = "ichor.store/5"
"""To be raised, too, when reading or preparing changes what it gives."""
ALL_HU = (-1024.0, 3071.0)
"""The range of a source that is not clipped."""
META = "store.json"
GROUP = "slices.zarr"
_ABSENT = 2**64 - 1
"""Where the index of a shard has no slice."""


class Slices(Protocol):
    """Slices that are read by number, as a numpy array would be."""

    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> NDArray[Any]: ...


class IndexedSlices(ABC):
    """Slices that are read from a file or a store by integer arrays of any shape.

    Parameters
    ----------
    shape
        ``(N, rows, columns)``.
    dtype
        Of a value; little-endian as stored.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype.newbyteorder("<")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read slices: ``index.shape + (rows, columns)``; each is read once, however often it is asked for.

        Parameters
        ----------
        index
            Integers in any order and shape, a slice, or ``(N,)`` bool.

        Raises
        ------
        IndexError
            Where there is no such slice.
        UsageError
            Where the store is damaged, or cannot be read.
        """
        asked = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index)
        if asked.dtype == bool:
            asked = np.arange(len(self))[asked]
        if asked.size and not np.issubdtype(asked.dtype, np.integer):
            raise IndexError(f"found an index of {asked.dtype}; expected integers, a slice or bool")
        beyond = asked[(asked < -len(self)) | (asked >= len(self))]
        if beyond.size:
            raise IndexError(f"slice {beyond.flat[0]} of a store of {len(self)}")
        numbers, place = np.unique(asked.ravel().astype(np.intp) % max(1, len(self)), return_inverse=True)
        read = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        self._fill(numbers, read)
        if len(numbers) == asked.size and (place[1:] > place[:-1]).all():
            return read.reshape(*asked.shape, *self.shape[1:])
        return read[place.ravel()].reshape(*asked.shape, *self.shape[1:])

    @abstractmethod
    def _fill(self, numbers: NDArray[np.intp], out: NDArray[Any]) -> None:
        """Read slices: ``numbers`` rise, each stands there once, and ``out`` has a place for each."""


class StoredSlices(IndexedSlices):
    """Slices of a zarr array.

    A shard ends with an index, offset and length of each slice; a slice is one zstd frame. They are read as that: zarr
    itself passes every slice through an event loop and its threads, which takes five times the processor's time, and
    far longer where training keeps the cores busy. Nothing is shared between processes or threads.

    Parameters
    ----------
    folder
        Of the array.
    shape, dtype
        As of :class:`IndexedSlices`.
    shard
        Slices a file.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], shard: int) -> None:
        super().__init__(shape, dtype)
        self.folder, self.shard = folder, shard
        self._indices: dict[int, NDArray[np.uint64]] = {}

    def _fill(self, numbers: NDArray[np.intp], out: NDArray[Any]) -> None:
        for shard in np.unique(numbers // self.shard):
            first, last = np.searchsorted(numbers, [shard * self.shard, (shard + 1) * self.shard])
            self._read(int(shard), numbers[first:last] - shard * self.shard, out[first:last])

    def _read(self, shard: int, places: NDArray[np.intp], out: NDArray[Any]) -> None:
        from numcodecs.zstd import decompress  # type: ignore[import-untyped]

        path = self.folder / "c" / str(shard) / "0" / "0"
        try:
            with path.open("rb", buffering=0) as file:
                if shard not in self._indices:
                    file.seek(-16 * self.shard - 4, 2)  # a checksum of four bytes comes last
                    held = file.read(16 * self.shard)
                    self._indices[shard] = np.frombuffer(held, "<u8").reshape(self.shard, 2)
                for k, place in enumerate(places):
                    offset, length = (int(n) for n in self._indices[shard][place])
                    if _ABSENT in (offset, length):
                        raise ValueError(f"no slice {place}")
                    file.seek(offset)
                    out[k] = np.frombuffer(decompress(file.read(length)), self.dtype).reshape(out.shape[1:])
        except (OSError, ValueError, RuntimeError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error


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
    distances
        ``(N,)`` mm along the normal of the slice's exam.
    exam
        ``(N,)`` number of the exam that each slice belongs to; slices of an exam follow each other.
    patients
        Patient of each exam.
    hu_ranges
        ``(exams, 2)`` HU below and above which the source of each exam is clipped.
    hu_confidence
        How sure the HU of each exam are: a :data:`~ichor.datasets.labelled.Confidence`.
    bleed_pixels
        ``(N,)`` pixels of each slice that are known to be blood; None where they must be counted in ``blood``.
    """

    name: str
    hu: Slices
    blood: Slices
    labels: NDArray[np.float32]
    distances: NDArray[np.float64]
    exam: NDArray[np.int64]
    patients: tuple[str, ...]
    hu_ranges: NDArray[np.float64]
    hu_confidence: tuple[Confidence, ...]
    bleed_pixels: NDArray[np.int64] | None = None

    @property
    def single(self) -> NDArray[np.bool_]:
        """``(N,)`` whether a slice is the only one of its exam: its neighbours are not known."""
        return np.asarray(np.bincount(self.exam, minlength=len(self.patients))[self.exam] == 1)

    @property
    def place(self) -> NDArray[np.float64]:
        """``(N,)`` 0 for the lowest slice of an exam to 1 for its highest."""
        counts = np.bincount(self.exam)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        height = np.arange(len(self.exam)) - first[self.exam]
        return np.asarray(height / np.maximum(counts - 1, 1)[self.exam])

    def neighbours(self, index: NDArray[np.intp], max_gap_mm: float) -> NDArray[np.intp]:
        """``(len(index), 3)`` the slice below, the slice, the one above, as detection takes them.

        At an exam's ends, and beside a gap wider than ``max_gap_mm``, the slice itself stands in.
        """
        near = [
            neighbour_indices(self.distances, offset, max_gap_mm, start=index, exam=self.exam)
            for offset in (-1, 0, 1)
        ]
        return np.stack(near, axis=1)


def open_store(home: Path) -> Store:
    """Open a whole store.

    Parameters
    ----------
    home
        Its folder.

    Raises
    ------
    UsageError
        Where it is not whole, is damaged, or is of another format.
    """
    import zarr

    path = home / META
    try:
        meta = json.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(
            f"{home}: found no {META}; expected a store built to its end; build it again: it goes on"
        ) from None
    except ValueError as error:
        raise _damaged(path, f"no JSON, {error}") from error
    if meta.get("format") != FORMAT:
        raise UsageError(
            f"{path}: found the format {meta.get('format')!r}; expected {FORMAT!r}; remove the store's folder and "
            "build it again"
        )
    for name, size in meta["files"].items():
        file = home / GROUP / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise _damaged(file, "no file" if found is None else f"{found} bytes, expected {size}")
    group = zarr.open_group(home / GROUP, mode="r")
    counts = [exam["slices"] for exam in meta["exams"]]
    return Store(
        meta["dataset"],
        _slices(home, group["hu"], meta["shard"]),
        _slices(home, group["blood"], meta["shard"]),
        np.asarray(group["labels"][:], np.float32),  # type: ignore[index]
        np.asarray(group["distances"][:], np.float64),  # type: ignore[index]
        np.repeat(np.arange(len(counts)), counts),
        tuple(exam["patient"] for exam in meta["exams"]),
        np.array([exam["hu_range"] for exam in meta["exams"]], np.float64),
        tuple(exam.get("hu_confidence", "measured") for exam in meta["exams"]),
    )


def _slices(home: Path, array: Any, shard: int) -> StoredSlices:
    return StoredSlices(home / GROUP / array.path, tuple(array.shape), array.dtype, shard)


def _damaged(path: Path, what: str) -> UsageError:
    return UsageError(
        f"{path}: found a damaged store ({what}); expected what was written; remove the store's folder, the one that "
        f"holds {META}, and run again: it is built anew"
    )

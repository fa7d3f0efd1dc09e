"""Prepared slices as shards, an exam each, in a folder or a store such as S3: read slice by slice, never copied.

A shard is a row of zstd frames, for each slice its HU and then its blood map: a slice with its neighbours is one
request. Where each frame ends stands in the index, beside labels and distances: nothing else is read to begin.
Needs the extra ``scale``.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import UNKNOWN, Confidence, Dataset
from ichor.datasets.places import Place, below, open_place
from ichor.datasets.store import IndexedSlices, Store
from ichor.datasets.store_build import dataset_identity
from ichor.datasets.store_prepare import OnGrid
from ichor.errors import UsageError
from ichor.preparing import GridSpec

__all__ = [
    "SHARDS_FORMAT",
    "IndexedExam",
    "Shard",
    "has_index",
    "open_shards",
    "pack",
    "shards_name",
    "write_index",
]

SHARDS_FORMAT = "ichor.shards/1"
"""To be raised, too, when reading or preparing changes what it gives."""
_META, _INDEX = "store.json", "index.npz"
_LEVEL = 3


class Shard(NamedTuple):
    """An exam, packed.

    Attributes
    ----------
    content
        Its frames.
    ends
        ``(2 m,)`` where each frame ends: HU, blood, HU, blood, ...
    checks
        ``(m,)`` CRC-32 of the two frames of each slice.
    bleed_pixels
        ``(m,)`` as in :class:`~ichor.datasets.store.Store`.
    """

    content: bytes
    ends: NDArray[np.int64]
    checks: NDArray[np.int64]
    bleed_pixels: NDArray[np.int64]


@dataclass(frozen=True)
class IndexedExam:
    """What the index holds of an exam.

    Attributes
    ----------
    patient, file
        Whose, and the shard's name.
    ends, checks, bleed_pixels
        As in :class:`Shard`.
    labels, distances
        ``(m, 6)`` and ``(m,)``, as in :class:`~ichor.datasets.store_prepare.OnGrid`.
    hu_range, hu_confidence
        As in :class:`~ichor.datasets.labelled.LabelledExam`.
    """

    patient: str
    file: str
    ends: NDArray[np.int64]
    checks: NDArray[np.int64]
    bleed_pixels: NDArray[np.int64]
    labels: NDArray[np.float32]
    distances: NDArray[np.float64]
    hu_range: tuple[float, float]
    hu_confidence: Confidence


def shards_name(dataset: Dataset, spec: GridSpec) -> str:
    """Name the folder of a data set on a grid: another one where the data, its labels or the grid are others."""
    key = hashlib.sha256(repr((SHARDS_FORMAT, spec, dataset_identity(dataset))).encode()).hexdigest()[:12]
    return f"{dataset.name}-{key}"


def pack(slices: OnGrid) -> Shard:
    """Compress an exam."""
    import pyarrow as pa

    codec = pa.Codec("zstd", compression_level=_LEVEL)
    frames: list[bytes] = []
    for hu, blood in zip(slices.hu, slices.blood, strict=True):
        for plane, kind in ((hu, "<i2"), (blood, "u1")):
            frames.append(codec.compress(np.ascontiguousarray(plane, kind).tobytes(), asbytes=True))
    checks = [zlib.crc32(blood, zlib.crc32(hu)) for hu, blood in zip(frames[::2], frames[1::2], strict=True)]
    known = (slices.blood > 0) & (slices.blood != UNKNOWN)
    return Shard(
        b"".join(frames),
        np.cumsum([len(frame) for frame in frames], dtype=np.int64),
        np.array(checks, np.int64),
        known.sum(axis=(1, 2), dtype=np.int64),
    )


def write_index(
    place: Place, dataset: str, spec: GridSpec, exams: Sequence[IndexedExam], left_out: Mapping[str, str]
) -> None:
    """Write what makes shards a store; last of all, so that a store is whole or not there."""
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays,
        ends=np.concatenate([e.ends for e in exams]),
        checks=np.concatenate([e.checks for e in exams]),
        bleed_pixels=np.concatenate([e.bleed_pixels for e in exams]),
        labels=np.concatenate([e.labels for e in exams]),
        distances=np.concatenate([e.distances for e in exams]),
        counts=np.array([len(e.distances) for e in exams]),
        hu_ranges=np.array([e.hu_range for e in exams], np.float64),
    )
    content = arrays.getvalue()
    place.write(_INDEX, content)
    meta = {
        "format": SHARDS_FORMAT,
        "dataset": dataset,
        "grid": repr(spec),
        "shape": [spec.rows, spec.columns],
        "index": hashlib.sha256(content).hexdigest(),
        "exams": [{"patient": e.patient, "file": e.file, "hu_confidence": e.hu_confidence} for e in exams],
        "left_out": dict(left_out),
    }
    place.write(_META, json.dumps(meta).encode() + b"\n")


def has_index(place: Place) -> bool:
    """Return whether shards were made a store."""
    try:
        return bool(place.read(_META, 0, 1))
    except FileNotFoundError:
        return False


def open_shards(address: str, dataset: Dataset, spec: GridSpec) -> Store:
    """Open what ``ichor data prepare`` made of a data set for a grid.

    Parameters
    ----------
    address
        Of the place that was given to it.
    dataset, spec
        As they were then.

    Raises
    ------
    UsageError
        Where it is not there, is damaged, or the extra is missing.
    """
    place = open_place(below(address, shards_name(dataset, spec)))
    shown = place.address.partition("?")[0]
    try:
        import pyarrow  # noqa: F401 - shards are unpacked by it

        meta = json.loads(place.read(_META))
        content = place.read(_INDEX)
    except ImportError:
        raise UsageError(f"{shown}: found no package pyarrow; expected the extra 'scale'") from None
    except FileNotFoundError:
        raise UsageError(
            f"{shown}: found no prepared slices of {dataset.name} for this recipe's grid; expected those of the same "
            f"data, labels and grid; run ichor data prepare {dataset.name} --shards {address.partition('?')[0]}"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(f"{shown}/{_META}", type(error).__name__) from error
    if meta.get("format") != SHARDS_FORMAT:
        raise _damaged(f"{shown}/{_META}", f"format {meta.get('format')!r}, expected {SHARDS_FORMAT!r}")
    if hashlib.sha256(content).hexdigest() != meta["index"]:
        raise _damaged(f"{shown}/{_INDEX}", "another hash")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    exam = np.repeat(np.arange(len(arrays["counts"])), arrays["counts"])
    shards = _Shards(place, [e["file"] for e in meta["exams"]], exam, arrays["ends"], arrays["checks"])
    shape = (len(exam), *meta["shape"])
    return Store(
        meta["dataset"],
        _Half(shards, 0, shape, np.dtype(np.int16)),
        _Half(shards, 1, shape, np.dtype(np.uint8)),
        arrays["labels"],
        arrays["distances"],
        exam,
        tuple(e["patient"] for e in meta["exams"]),
        arrays["hu_ranges"],
        tuple(e["hu_confidence"] for e in meta["exams"]),
        arrays["bleed_pixels"],
    )


class _Shards:
    """The frames of slices, asked for in as few requests as there are runs of neighbours.

    What was asked for last is held: HU and blood of the same slices are one request.
    """

    def __init__(
        self,
        place: Place,
        files: list[str],
        exam: NDArray[np.int64],
        ends: NDArray[np.int64],
        checks: NDArray[np.int64],
    ) -> None:
        self.place, self._files, self._exam, self._checks = place, files, exam, checks
        self._ends = ends.reshape(-1, 2)
        first = np.diff(exam, prepend=-1) != 0
        self._begins = np.where(first, 0, np.concatenate([[0], self._ends[:-1, 1]]))
        self._held: dict[int, bytes] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}

    def frames(self, numbers: NDArray[np.intp], half: int) -> list[bytes]:
        """Return the frames of HU (0) or blood (1) of slices, which rise."""
        held = {k: self._held[k] for k in numbers.tolist() if k in self._held}
        for run in self._runs([k for k in numbers.tolist() if k not in held]):
            held |= self._fetch(run)
        self._held = held
        found = []
        for k in numbers.tolist():
            middle = int(self._ends[k, 0] - self._begins[k])
            found.append(held[k][middle:] if half else held[k][:middle])
        return found

    def name(self, number: int) -> str:
        """Return the place of a slice, for errors."""
        return f"{self.place.address.partition('?')[0]}/{self._files[self._exam[number]]}"

    def _runs(self, numbers: list[int]) -> list[list[int]]:
        """Part numbers into runs of neighbours of one exam."""
        runs: list[list[int]] = []
        for k in numbers:
            if runs and runs[-1][-1] == k - 1 and self._exam[k] == self._exam[k - 1]:
                runs[-1].append(k)
            else:
                runs.append([k])
        return runs

    def _fetch(self, run: list[int]) -> dict[int, bytes]:
        start, end = int(self._begins[run[0]]), int(self._ends[run[-1], 1])
        try:
            content = self.place.read(self._files[self._exam[run[0]]], start, end - start)
        except OSError as error:
            raise UsageError(
                f"{self.name(run[0])}: found that it cannot be read ({type(error).__name__}); expected a shard that "
                "can; check the store and the network, and run again: it goes on"
            ) from error
        found = {k: content[int(self._begins[k]) - start : int(self._ends[k, 1]) - start] for k in run}
        for k, frames in found.items():
            if zlib.crc32(frames) != self._checks[k]:
                raise _damaged(self.name(k), "another checksum")
        return found


class _Half(IndexedSlices):
    """HU or blood of shards."""

    def __init__(self, shards: _Shards, half: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype)
        self._shards, self._half = shards, half

    def _fill(self, numbers: NDArray[np.intp], out: NDArray[Any]) -> None:
        import pyarrow as pa

        codec, size = pa.Codec("zstd"), out[:1].nbytes
        for k, frame in enumerate(self._shards.frames(numbers, self._half)):
            plane = codec.decompress(frame, decompressed_size=size, asbytes=True)
            out[k] = np.frombuffer(plane, self.dtype).reshape(out.shape[1:])


def _damaged(path: str, what: str) -> UsageError:
    return UsageError(
        f"{path}: found a damaged store ({what}); expected what ichor data prepare wrote; remove its folder and "
        "that of the rows, and prepare it again"
    )

"""One exam of a data set, to one shard for training and its row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ichor.bulk.assessing import Task, common_columns, place_of
from ichor.bulk.schema import COLUMNS, Column, RowForm
from ichor.bulk.units import Unit, study_id
from ichor.bulk.work import WORK
from ichor.datasets.labelled import Dataset
from ichor.datasets.places import open_place
from ichor.datasets.registry import open_dataset
from ichor.datasets.shards import pack
from ichor.datasets.store_prepare import on_grid
from ichor.errors import RefusedInput
from ichor.preparing import GridSpec

__all__ = ["PREPARED", "DatasetExams", "Preparer", "PreparerSettings", "unprepared_row"]

_OF_SHARD = (
    Column(
        "file", "string", "name of the shard; null where there is none, as of all that follows up to seconds"
    ),
    Column("ends", "list of int", "where each frame of the shard ends: HU, blood, HU, blood, ..."),
    Column("checks", "list of int", "CRC-32 of the two frames of each slice"),
    Column("bleed_pixels", "list of int", "pixels of each slice that are known to be blood"),
    Column("labels", "list of float", "six a slice, NaN for unknown"),
    Column("distances", "list of double", "mm of each slice along the normal"),
    Column("hu_range", "list of double", "HU below and above which the source is clipped"),
    Column("hu_confidence", "string", "how sure the HU are"),
)
_SHARED = {column.name: column for column in COLUMNS}
PREPARED = RowForm(
    "ichor.prepare/1",
    (
        *(_SHARED[name] for name in ("unit", "row", "revision", "source", "input")),
        Column("state", "string", "`prepared`, `refused` or `failed`", True),
        *(_SHARED[name] for name in ("code", "message")),
        *_OF_SHARD,
        *(_SHARED[name] for name in ("seconds", "bytes", "attempts", "worker", "time")),
        Column(
            "shards", "string", "name of the data set's folder: of the data, the labels and the grid", True
        ),
        _SHARED["version"],
    ),
    "shards",
)
"""The rows of ``ichor data prepare``: one an exam."""


@dataclass(frozen=True)
class PreparerSettings:
    """What every worker is given once.

    Attributes
    ----------
    dataset
        As :func:`~ichor.datasets.registry.open_dataset` takes it.
    data
        Folder with one sub-folder a data set; the same on every machine.
    grid
        The grid; its border is kept for augmentation.
    place
        Address of the data set's shards.
    shards
        Their name, which every row has.
    """

    dataset: str
    data: str
    grid: GridSpec
    place: str
    shards: str

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {WORK: "prepare", **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreparerSettings:
        """Make one of what :meth:`as_json` gave."""
        fields = {name: value for name, value in data.items() if name != WORK}
        return cls(**{**fields, "grid": GridSpec(**data["grid"])})


class DatasetExams:
    """The exams of a data set, as units.

    Parameters
    ----------
    dataset
        Which.
    shards
        Name of its shards: what these are made of.
    """

    def __init__(self, dataset: Dataset, shards: str) -> None:
        self._dataset, self._shards = dataset, shards

    def discover(self) -> Iterator[Unit]:
        """Yield one unit a patient."""
        for patient in self._dataset.patients():
            yield exam_unit(self._dataset.name, patient, self._shards)


def exam_unit(dataset: str, patient: str, shards: str) -> Unit:
    """Return the unit of an exam."""
    return Unit(study_id("exam", f"{dataset}/{patient}"), patient, (patient,), shards)


class Preparer:
    """Prepares exams.

    Parameters
    ----------
    settings
        Of the run.

    Raises
    ------
    UsageError
        Where the data set or the place of the shards cannot be used on this machine.
    """

    def __init__(self, settings: PreparerSettings) -> None:
        self.settings = settings
        self.dataset = open_dataset(settings.dataset, Path(settings.data))
        self.place = open_place(settings.place)

    def rows(self, task: Task) -> list[dict[str, Any]]:
        """Prepare an exam and write its shard; the one row says where it is, or why it is not."""
        began = time.perf_counter()
        try:
            item = self.dataset.load(task.unit.places[0])
            slices = on_grid(item, self.settings.grid)
            shard = pack(slices)
            file = f"shards/{task.unit.id[:2]}/{task.unit.id}.slices"
            self.place.write(file, shard.content)
        except RefusedInput as refusal:
            return [self._row(task, began, state="refused", code=refusal.code, message=str(refusal))]
        except Exception as error:  # one exam's error is not the end of the others
            message = f"{type(error).__name__} at {place_of(error)}"
            return [self._row(task, began, state="failed", code="error", message=message)]
        found = {
            "file": file,
            "ends": shard.ends.tolist(),
            "checks": shard.checks.tolist(),
            "bleed_pixels": shard.bleed_pixels.tolist(),
            "labels": slices.labels.ravel().tolist(),
            "distances": slices.distances.tolist(),
            "hu_range": list(item.hu_range),
            "hu_confidence": item.hu_confidence,
        }
        return [self._row(task, began, state="prepared", bytes=len(shard.content), **found)]

    def _row(self, task: Task, began: float, **found: Any) -> dict[str, Any]:
        return _empty(task, 0, self.settings.shards, began) | found


def unprepared_row(task: Task, row: int, code: str, message: str, shards: str) -> dict[str, Any]:
    """Make the row of an exam under which processes or machines ended."""
    found = {"state": "failed", "code": code, "message": message}
    return _empty(task, row, shards, time.perf_counter()) | found


def _empty(task: Task, row: int, shards: str, began: float) -> dict[str, Any]:
    empty = dict.fromkeys(("code", "message", *(column.name for column in _OF_SHARD)))
    return {**empty, **common_columns(task, row, began), "shards": shards}

"""Preparing a data set for training with many processes: a shard and a row an exam, then the index of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import ichor
from ichor.bulk.driver import Driver, Progress, Show
from ichor.bulk.local_pool import LocalPool, usable_cores
from ichor.bulk.output import Output
from ichor.bulk.pools import Pool
from ichor.bulk.preparing import PREPARED, DatasetExams, PreparerSettings, exam_unit, unprepared_row
from ichor.datasets.labelled import Dataset
from ichor.datasets.places import below, open_place
from ichor.datasets.registry import open_dataset
from ichor.datasets.shards import IndexedExam, has_index, shards_name, write_index
from ichor.errors import UsageError
from ichor.preparing import GridSpec
from ichor.reading.limits import Limits

__all__ = ["PreparePlan", "prepare_dataset"]


@dataclass(frozen=True)
class PreparePlan:
    """What is to be done; the options of ``ichor data prepare``.

    Attributes
    ----------
    dataset
        As :func:`~ichor.datasets.registry.open_dataset` takes it.
    data
        Folder with one sub-folder a data set.
    grid
        Of the recipe, with its border.
    output
        Folder for the rows.
    shards
        Place for the shards: a folder or ``s3://bucket/prefix``; None for ``shards`` in the output.
    jobs
        Processes; None for one a core.
    address, token
        Of a Ray cluster; None for processes of this machine.
    retry_failed
        Prepare again what failed before.
    """

    dataset: str
    data: Path
    grid: GridSpec
    output: Path
    shards: str | None = None
    jobs: int | None = None
    address: str | None = None
    token: Path | None = None
    retry_failed: bool = False

    @property
    def place(self) -> str:
        """Where the shards of all data sets go."""
        given = str(self.output / "shards") if self.shards is None else self.shards
        return given if "://" in given else str(Path(given).absolute())


def prepare_dataset(plan: PreparePlan, show: Show) -> Progress:
    """Prepare every exam that has no row yet; where none failed, write the index that makes them a store.

    Returns
    -------
    Progress
        How far it came.

    Raises
    ------
    UsageError
        Where something that was asked for cannot be, or no exam can be prepared.
    KeyboardInterrupt
        As it came; what was done until then is written.
    """
    if plan.jobs is not None and plan.jobs < 1:
        raise UsageError(f"--jobs: found {plan.jobs}; expected 1 or more")
    output = Output(plan.output, PREPARED)
    dataset = open_dataset(plan.dataset, plan.data)
    name = shards_name(dataset, plan.grid)
    place = below(plan.place, name)
    open_place(place)  # before time is spent
    data = str(plan.data.absolute())
    settings = PreparerSettings(plan.dataset, data, plan.grid, place, name)
    with output.lock():
        run = {"dataset": plan.dataset, "data": data, "grid": asdict(plan.grid), "place": plan.place}
        output.begin({**run, "shards": name, "version": ichor.__version__})
        driver = Driver(
            DatasetExams(dataset, name),
            _pool(plan, settings),
            output,
            name,
            retry_failed=plan.retry_failed,
            failed=unprepared_row,
        )
        progress = driver.run(show)
        whole = not (progress.states["failed"] or progress.failed_before)
        if whole and (progress.new or not has_index(open_place(place))):
            _finish(dataset, plan.grid, output, name, place)
    return progress


def _pool(plan: PreparePlan, settings: PreparerSettings) -> Pool:
    if plan.address is not None:
        from ichor.bulk.ray_pool import RayPool

        return RayPool(plan.address, settings, plan.token)
    return LocalPool(settings, plan.jobs or usable_cores(), Limits.from_environment())


def _finish(dataset: Dataset, grid: GridSpec, output: Output, name: str, place: str) -> None:
    """Write the index, from the rows that hold, in the order of the data set's patients."""
    rows = {row["unit"]: row for row in output.rows()}
    exams: list[IndexedExam] = []
    left_out: dict[str, str] = {}
    for patient in dataset.patients():
        row = rows[exam_unit(dataset.name, patient, name).id]
        if row["state"] != "prepared":
            left_out[patient] = row["message"]
            continue
        ends, checks, bleed_pixels = (
            np.array(row[column], np.int64) for column in ("ends", "checks", "bleed_pixels")
        )
        exams.append(
            IndexedExam(
                patient,
                row["file"],
                ends,
                checks,
                bleed_pixels,
                np.array(row["labels"], np.float32).reshape(len(checks), -1),
                np.array(row["distances"], np.float64),
                (row["hu_range"][0], row["hu_range"][1]),
                row["hu_confidence"],
            )
        )
    if not exams:
        raise UsageError(
            f"{dataset.name}: found {len(left_out)} exams of which none can be read; expected some; "
            f"run ichor data check {dataset.name}"
        )
    write_index(open_place(place), dataset.name, grid, exams, left_out)

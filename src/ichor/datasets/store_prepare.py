"""Exams brought to the model's grid, many at a time: what a store is built from."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import UNKNOWN, Confidence, Dataset, LabelledExam
from ichor.datasets.store import ALL_HU
from ichor.errors import RefusedInput, UsageError
from ichor.preparing import GridSpec, plan_grid

__all__ = ["OnGrid", "PreparedExam", "on_grid", "prepare_all"]

_READ_ERRORS = (OSError, ValueError, KeyError, IndexError, EOFError, SyntaxError)
"""What broken files raise where nothing refuses them, in pydicom, nibabel and Pillow."""


class OnGrid(NamedTuple):
    """A labelled exam on the model's grid.

    Attributes
    ----------
    hu, blood
        ``(m, rows, columns)`` int16 and uint8.
    labels
        ``(m, 6)`` float32.
    distances
        ``(m,)`` mm along the normal.
    """

    hu: NDArray[np.int16]
    blood: NDArray[np.uint8]
    labels: NDArray[np.float32]
    distances: NDArray[np.float64]

    def after(self, skip: int) -> OnGrid:
        """Return all but the first slices."""
        return OnGrid(self.hu[skip:], self.blood[skip:], self.labels[skip:], self.distances[skip:])


def on_grid(item: LabelledExam, spec: GridSpec) -> OnGrid:
    """Bring an exam, its blood map and its labels to the grid.

    Where thin slices become slabs, a slab has what any of its slices has, and is unknown where one of them is
    and none has it.
    """
    transform = plan_grid(item.exam.volume, item.exam.geometry, spec)
    planes = np.rint(transform.native_to_grid(item.exam.volume)).astype(np.int16)
    marks = np.zeros(planes.shape, np.uint8)
    for value in np.unique(item.blood):
        if value:
            # Air outside the scan would read as -1024: a mask's share is given as 0 to 1000.
            share = transform.native_to_grid(np.where(item.blood == value, 1000, 0).astype(np.int16))
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
    return OnGrid(planes, marks, labels, transform.distances)


@dataclass(frozen=True)
class PreparedExam:
    """An exam on the grid, or why it was refused.

    Attributes
    ----------
    patient
        Whose.
    slices
        On the grid; None where the exam was refused.
    hu_range, hu_confidence
        As in :class:`~ichor.datasets.labelled.LabelledExam`.
    refusal
        Why it was refused; empty where it was not.
    """

    patient: str
    slices: OnGrid | None
    hu_range: tuple[float, float] = ALL_HU
    hu_confidence: Confidence = "measured"
    refusal: str = ""


def prepare_all(
    dataset: Dataset, patients: list[str], spec: GridSpec, processes: int | None
) -> Iterator[PreparedExam]:
    """Prepare exams, in order: in this process, or in several where there are many exams.

    Parameters
    ----------
    dataset
        Where they come from.
    patients
        Which.
    spec
        The grid.
    processes
        How many; one a core by default, none beside this one for small sets.

    Yields
    ------
    PreparedExam
        One a patient; refused ones say why.

    Raises
    ------
    UsageError
        Where an exam fails in a way that is no refusal, or a process is ended.
    """
    count = processes or min(_cores(), len(patients) // 8)
    if count <= 1:
        yield from (_prepare_one(dataset, patient, spec) for patient in patients)
        return
    # Spawned: a fork would copy the locks of other threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, _remember, (dataset, spec))
    waiting: deque[Future[PreparedExam]] = deque()
    try:
        for patient in patients:
            waiting.append(pool.submit(_prepare_remembered, patient))
            if len(waiting) > 4 * count:  # so many exams are in memory at most
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UsageError(
            f"{dataset.name}: found that a process that prepares exams was ended; expected memory for {count} of them, "
            "and, in a script of your own, the call below `if __name__ == '__main__':`, since each process reads the "
            "script; run again with fewer cores, or with that line: it goes on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_remembered: dict[str, Any] = {}


def _remember(dataset: Dataset, spec: GridSpec) -> None:
    _remembered.update(dataset=dataset, spec=spec)
    threading.Thread(target=_end_with_the_builder, daemon=True).start()


def _end_with_the_builder() -> None:
    """End this process where the builder was killed: it would wait for work for ever."""
    builder = multiprocessing.parent_process()
    if builder is not None:
        builder.join()
        os._exit(1)


def _prepare_remembered(patient: str) -> PreparedExam:
    return _prepare_one(_remembered["dataset"], patient, _remembered["spec"])


def _prepare_one(dataset: Dataset, patient: str, spec: GridSpec) -> PreparedExam:
    try:
        item = dataset.load(patient)
        slices = on_grid(item, spec)
    except RefusedInput as refusal:
        return PreparedExam(patient, None, refusal=str(refusal))
    except _READ_ERRORS as error:
        # No refusal: it may be the disk, and must not make a store without this exam.
        raise UsageError(
            f"{dataset.name}/{patient}: found that it cannot be read ({type(error).__name__}: {error}); expected an "
            f"exam; run ichor data check {dataset.name}, mend it, and run again: it goes on"
        ) from error
    return PreparedExam(patient, slices, item.hu_range, item.hu_confidence)

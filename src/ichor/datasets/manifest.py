"""A CSV that names files and what they show."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import PICTURE_NAMES, exam_of, label_named, labelled, spread
from ichor.datasets.labelled import DatasetInfo, LabelledExam
from ichor.errors import UsageError

__all__ = ["Manifest"]

_UNKNOWN = {"", "?", "nan", "na", "none", "unknown"}
_MOST_NAMED = 3


@dataclass
class _Item:
    path: Path
    group: str
    labels: NDArray[np.float32]
    slices: dict[int, NDArray[np.float32]]
    traits: dict[str, float]


class Manifest:
    """The data set that a CSV describes.

    Columns: ``path`` (absolute, or relative to the CSV); labels (``any``, and subtypes by their short or long
    names; 1, 0 or empty for unknown); optionally ``patient`` (whose exams stay on one side of a split),
    ``slice`` (0, 1, ... upward: then a row is of that slice), ``age_years`` and ``thickness_mm``.

    Parameters
    ----------
    path
        The CSV.

    Raises
    ------
    UsageError
        Naming the line: where a file is missing, a label is no 0 or 1, or two rows contradict each other.
    """

    name = "csv"

    def __init__(self, path: Path) -> None:
        self.root = Path(path)
        try:
            with self.root.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: found no readable table ({type(error).__name__}); expected CSV") from None
        columns = {name: label_named(name) for name in (rows[0] if rows else {}) if name}
        self._columns = {name: place for name, place in columns.items() if place is not None and place >= 0}
        if "path" not in columns or not self._columns:
            raise UsageError(
                f"{path}: found the columns {', '.join(columns) or 'none'}; expected path and at least one label "
                "(any, epidural, ...) (docs/how-to/your-own-data.md)"
            )
        self._items: dict[str, _Item] = {}
        for line, row in enumerate(rows, start=2):
            self._add(row, line)
        absent = [i.path.name for i in self._items.values() if not i.path.exists()]
        if absent:
            raise UsageError(
                f"{path}: found {len(absent)} rows whose file is not there ({', '.join(absent[:_MOST_NAMED])}); "
                "expected each file; mend the column path"
            )
        pictures = all(i.path.name.lower().endswith(PICTURE_NAMES) for i in self._items.values())
        self.info = DatasetInfo(
            title=f"table {self.root.stem}",
            citation="",
            licence="the user's own",
            url="",
            kind="pictures" if pictures else "exams",
            access="here",
            expected=(),
        )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each exam."""
        return {name: item.labels.copy() for name, item in self._items.items()}

    def groups(self) -> dict[str, str]:
        """Return the patient of each exam, where the CSV tells patients."""
        return {name: item.group for name, item in self._items.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels; an exam is read for its number of slices."""
        item = self._items[patient]
        if item.path.name.lower().endswith(PICTURE_NAMES):
            return spread(item.labels, 1)
        return self._slices(patient, exam_of(item.path, patient)[0].n_slices)

    def traits(self, patient: str) -> dict[str, float]:
        """Return age and thickness, where the CSV tells them."""
        return dict(self._items[patient].traits)

    def load(self, patient: str) -> LabelledExam:
        """Read one exam."""
        item = self._items[patient]
        read = labelled(self.name, patient, item.path, item.labels)
        if not item.slices:
            return read
        rows = self._slices(patient, read.exam.n_slices)
        return labelled(self.name, patient, item.path, item.labels, rows)

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(name) for name in self._items)

    def _slices(self, patient: str, n: int) -> NDArray[np.float32]:
        item = self._items[patient]
        rows = spread(item.labels, n)
        if item.slices and max(item.slices) >= n:
            raise UsageError(
                f"{self.root}: found a label for slice {max(item.slices)} of {patient}; expected 0 to {n - 1}"
            )
        for index, labels in item.slices.items():
            rows[index] = labels
        return rows

    def _add(self, row: dict[str, str], line: int) -> None:
        text = (row["path"] or "").strip()
        if not text:
            raise UsageError(f"{self.root}, line {line}: found no path; expected a file")
        labels = np.full(6, np.nan, np.float32)
        for column, place in self._columns.items():
            value = (row[column] or "").strip().lower()
            if value in _UNKNOWN:
                continue
            if value not in ("0", "1", "0.0", "1.0"):
                raise UsageError(f"{self.root}, line {line}: found {column} = {value!r}; expected 0, 1 or nothing")
            labels[place] = float(value)
        if labels[0] == 0 and np.nansum(labels[1:]):
            raise UsageError(
                f"{self.root}, line {line}: found a subtype where any is 0; expected any to be 1 with a subtype"
            )
        if np.nansum(labels[1:]):
            labels[0] = 1
        if labels[0] == 0:
            labels[:] = 0
        whole = self._items.get(text)
        index = (row.get("slice") or "").strip()
        if whole is None:
            traits = {n: float(row[n]) for n in ("age_years", "thickness_mm") if (row.get(n) or "").strip()}
            group = (row.get("patient") or "").strip() or text
            whole = _Item((self.root.parent / text).resolve(), group, labels.copy(), {}, traits)
            self._items[text] = whole
        elif not index:
            raise UsageError(f"{self.root}, line {line}: found {text} again; expected one row a file, or slices")
        if not index:
            return
        if not index.isdecimal() or int(index) in whole.slices:
            raise UsageError(f"{self.root}, line {line}: found slice {index!r}; expected each number from 0 once")
        whole.slices[int(index)] = labels
        # An exam has what any of its slices has.
        whole.labels = np.fmax(whole.labels, labels)

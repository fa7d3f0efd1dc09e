"""The rows of a table of exams, read and checked row by row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import label_named
from ichor.datasets.tables import Row, read_table
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["Item", "read_items"]

_UNKNOWN = {"", "?", "nan", "na", "unknown"}
_SUBGROUP_COLUMNS = ("age_years", "thickness_mm")


@dataclass
class Item:
    """One exam or picture of the table.

    Attributes
    ----------
    path
        The file or folder.
    series
        Series instance UID, empty where the table names none.
    line
        Of its first row.
    patient
        As the table names the person, empty where it does not.
    whole
        ``(6,)`` what a row without a slice says, or None.
    slices
        ``(6,)`` by slice.
    lines
        Line by slice.
    subgroup_values
        ``age_years`` and ``thickness_mm``, where known.
    """

    path: Path
    series: str
    line: int
    patient: str = ""
    whole: NDArray[np.float32] | None = None
    slices: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    subgroup_values: dict[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> NDArray[np.float32]:
        """``(6,)`` of the exam.

        An exam has what any of its slices has. Absent is only what a row of the exam says, or what is absent in
        all slices from 0 on: those that are not in the table might have it.
        """
        none = np.full(len(LABEL_NAMES), np.nan, np.float32)
        labels = none if self.whole is None else self.whole
        if self.slices:
            rows = np.stack(list(self.slices.values()))
            seen = np.where((rows == 1).any(axis=0), 1, rows.max(axis=0))
            if max(self.slices) + 1 > len(self.slices):
                seen[seen == 0] = np.nan
            labels = np.where(np.isnan(labels), seen, labels)
        return np.asarray(labels, np.float32)


def read_items(path: Path) -> dict[str, Item]:
    """Read a table.

    Returns
    -------
    dict
        Items by what the table calls them: the path as it is written there, with ``#2`` ... for further series.

    Raises
    ------
    UsageError
        Naming the line: where a file is not there, a value is none, or rows contradict each other.
    """
    rows = read_table(path, lower=True)
    columns = _label_columns(path, rows)
    items: dict[str, Item] = {}
    names: dict[tuple[Path, str], str] = {}
    series: Counter[Path] = Counter()
    for row in rows:
        written = row["path"]
        if not written:
            raise row.error("no path", "a file or a folder")
        place = (path.parent / written).resolve()
        key = place, row.get("series")
        if key not in names:
            if not place.exists():
                raise row.error(f"no {written}", "a path that is there: absolute, or relative to the table")
            series[place] += 1
            names[key] = written if series[place] == 1 else f"{written}#{series[place]}"
            items[names[key]] = Item(place, key[1], row.line)
        _add(items[names[key]], row, _labels(row, columns))
    for name, item in items.items():
        for index, labels in item.slices.items() if item.whole is not None else ():
            if ((labels == 1) & (item.whole == 0)).any():
                raise UsageError(
                    f"{path}, line {item.lines[index]}: found on slice {index} of {name} what its exam has not; "
                    "expected an exam to have what any of its slices has; mend the rows"
                )
    return items


def _label_columns(path: Path, rows: list[Row]) -> dict[str, int]:
    names = list(rows[0].values) if rows else []
    columns: dict[str, int] = {}
    for name in names:
        place = label_named(name)
        if place is None or place < 0:
            continue
        if place in columns.values():
            raise UsageError(
                f"{path}: found two columns for {LABEL_NAMES[place]} ({name} is one); expected one; remove the other"
            )
        columns[name] = place
    if "path" not in names or not columns:
        raise UsageError(
            f"{path}: found {len(rows)} rows with the columns {', '.join(names) or 'none'}; expected path and at least "
            "one label (any, epidural, ...); see docs/how-to/your-own-data.md"
        )
    return columns


def _labels(row: Row, columns: dict[str, int]) -> NDArray[np.float32]:
    labels = np.full(len(LABEL_NAMES), np.nan, np.float32)
    for column, place in columns.items():
        if row[column].lower() not in _UNKNOWN:
            labels[place] = row.flag(column)
    subtypes = labels[1:]
    if labels[0] == 0 and (subtypes == 1).any():
        raise row.error("a subtype where any is 0", "any to be 1 with a subtype")
    if (subtypes == 1).any():
        labels[0] = 1
    elif np.isnan(labels[0]) and (subtypes == 0).all():
        labels[0] = 0
    if labels[0] == 0:
        labels[:] = 0
    return labels


def _add(item: Item, row: Row, labels: NDArray[np.float32]) -> None:
    patient = row.get("patient")
    if patient and item.patient not in ("", patient):
        raise row.error(f"another patient than in line {item.line}", "one patient an exam")
    item.patient = patient or item.patient
    for name in _SUBGROUP_COLUMNS:
        if row.get(name).lower() in _UNKNOWN:
            continue
        value = row.number(name, least=0)
        if item.subgroup_values.setdefault(name, value) != value:
            raise row.error(
                f"{name} = {value:g}, unlike before ({item.subgroup_values[name]:g})", "one value an exam"
            )
    if not row.get("slice"):
        if item.whole is not None:
            raise row.error(f"{row['path']} again", "one row an exam, or slices")
        item.whole = labels
    else:
        index = row.whole("slice")
        if index in item.slices:
            raise row.error(f"slice {index} again", "each number from 0 once")
        item.slices[index] = labels
        item.lines[index] = row.line

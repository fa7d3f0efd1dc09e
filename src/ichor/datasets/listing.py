"""A CSV that names files and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import PICTURE_NAMES, exam_of, spread
from ichor.datasets.labelled import UNKNOWN, DatasetInfo, LabelledExam
from ichor.datasets.listing_rows import Item, read_items
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["Manifest", "ManifestOfPatients", "open_manifest"]


class Manifest:
    """The data set that a CSV describes.

    Columns: ``path`` (absolute, or relative to the CSV); labels (``any``, and subtypes by their short or long
    names; 1, 0 or empty for unknown); optionally ``patient`` (whose exams stay on one side of a split),
    ``slice`` (0, 1, ... upward: then a row is of that slice), ``series`` (a UID, where the path holds several),
    ``age_years`` and ``thickness_mm``.

    Parameters
    ----------
    path
        The CSV.
    items
        What it says, where it was read before.

    Raises
    ------
    UsageError
        Naming the line: where a file is missing, a label is no 0 or 1, or two rows contradict each other.
    """

    name = "csv"

    def __init__(self, path: Path, items: dict[str, Item] | None = None) -> None:
        self.root = Path(path)
        self._items = read_items(self.root) if items is None else items
        pictures = all(_is_picture(item) for item in self._items.values())
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
        return {name: item.labels for name, item in self._items.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels; an exam is read for its number of slices."""
        item = self._items[patient]
        if _is_picture(item):
            return self._rows(patient, 1)
        return self._rows(patient, exam_of(item.path, f"csv/{patient}", item.series or None)[0].n_slices)

    def traits(self, patient: str) -> dict[str, float]:
        """Return age and thickness, where the CSV tells them."""
        return dict(self._items[patient].traits)

    def load(self, patient: str) -> LabelledExam:
        """Read one exam."""
        item = self._items[patient]
        exam, hu_range = exam_of(item.path, f"csv/{patient}", item.series or None)
        rows = self._rows(patient, exam.n_slices)
        blood = np.zeros(exam.volume.shape, np.uint8)
        blood[rows[:, 0] != 0] = UNKNOWN
        return LabelledExam(self.name, patient, exam, rows, blood, hu_range)

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(name) for name in self._items)

    def _rows(self, patient: str, n: int) -> NDArray[np.float32]:
        item = self._items[patient]
        rows = (
            np.full((n, len(LABEL_NAMES)), np.nan, np.float32)
            if item.whole is None
            else spread(item.whole, n)
        )
        for index, labels in item.slices.items():
            if index >= n:
                raise UsageError(
                    f"{self.root}, line {item.lines[index]}: found slice {index} of {patient}; expected 0 to {n - 1}, "
                    "as its images have; mend the row"
                )
            rows[index] = np.where(np.isnan(labels), rows[index], labels)
        if item.whole is not None and ((item.whole == 1) & (rows == 0).all(axis=0)).any():
            raise UsageError(
                f"{self.root}, line {item.line}: found a label of {patient} that none of its {n} slices has; expected "
                "one to have it; mend the rows"
            )
        return rows


class ManifestOfPatients(Manifest):
    """A table with a column ``patient``: what looks alike need not be searched for, people are told apart."""

    def groups(self) -> dict[str, str]:
        """Return the patient of each exam; where its rows name none, it is its own."""
        return {name: item.patient or name for name, item in self._items.items()}


def open_manifest(path: Path) -> Manifest:
    """Open a table, with or without patients.

    Raises
    ------
    UsageError
        As :class:`Manifest`.
    """
    items = read_items(Path(path))
    told = any(item.patient for item in items.values())
    return (ManifestOfPatients if told else Manifest)(path, items)


def _is_picture(item: Item) -> bool:
    return item.path.name.lower().endswith(PICTURE_NAMES)

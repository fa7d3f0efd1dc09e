"""A CSV that names files and what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import PICTURE_NAMES, confidence_in, exam_of, repeat_exam_labels
from ichor.datasets.labelled import UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.listing_rows import Item, read_items
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["Listing"]


class Listing(Dataset):
    """The data set that a CSV describes.

    Columns: ``path`` (absolute, or relative to the CSV); labels (``any``, and subtypes by their short or long
    names; 1, 0 or empty for unknown); optionally ``patient`` (whose exams stay on one side of a split),
    ``slice`` (0, 1, ... upward: then a row is of that slice), ``series`` (a UID, where the path holds several),
    ``age_years`` and ``thickness_mm``.

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
        super().__init__(path)
        self._items = read_items(self.root)
        pictures = all(_is_picture(item) for item in self._items.values())
        self.info = DatasetInfo(
            title=f"table {self.root.stem}",
            citation="",
            licence="the user's own",
            url="",
            kind="pictures" if pictures else "exams",
            access="here",
            expected=(),
            private=True,
        )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each exam."""
        return {name: item.labels for name, item in self._items.items()}

    def path(self, patient: str) -> Path | None:
        """Return the file of a picture; None of an exam."""
        item = self._items[patient]
        return item.path if _is_picture(item) else None

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels; an exam is read for its number of slices."""
        item = self._items[patient]
        if _is_picture(item):
            return self._rows(patient, 1)
        return self._rows(patient, exam_of(item.path, f"csv/{patient}", item.series or None)[0].n_slices)

    def subgroup_values(self, patient: str) -> dict[str, float]:
        """Return age and thickness, where the CSV has them."""
        return dict(self._items[patient].subgroup_values)

    def groups(self) -> dict[str, str] | None:
        """Return the patient of each exam, an exam of its own where its rows name none; None where no row does."""
        if not any(item.patient for item in self._items.values()):
            return None
        return {name: item.patient or name for name, item in self._items.items()}

    def load(self, patient: str) -> LabelledExam:
        """Read one exam."""
        item = self._items[patient]
        exam, hu_range = exam_of(item.path, f"csv/{patient}", item.series or None)
        rows = self._rows(patient, exam.n_slices)
        blood = np.zeros(exam.volume.shape, np.uint8)
        blood[rows[:, 0] != 0] = UNKNOWN
        return LabelledExam(self.name, patient, exam, rows, blood, hu_range, confidence_in(exam))

    def _rows(self, patient: str, n: int) -> NDArray[np.float32]:
        item = self._items[patient]
        rows = (
            np.full((n, len(LABEL_NAMES)), np.nan, np.float32)
            if item.whole is None
            else repeat_exam_labels(item.whole, n)
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


def _is_picture(item: Item) -> bool:
    return item.path.name.lower().endswith(PICTURE_NAMES)

"""AISD: whole exams with acute ischaemic stroke, none with hemorrhage (Liang et al., MICCAI 2021); three of them.

``hu/EXAM.npz`` holds ``hu``, int16 from the base to the vertex; ``slices.csv`` has a row a slice: its label, its
height ``z``, thickness and pixel spacing in mm, kernel and kVp.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import HU_RANGE, broken
from ichor.datasets.labelled import UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.tables import Row, read_table
from ichor.exam import Exam, Geometry, Source

__all__ = ["Aisd"]

_COLUMNS = ("exam", "slice", "hemorrhage", "z", "thickness", "spacing")
_LEAST_MM = 0.01
_READ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises on broken files."""


class Aisd(Dataset):
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``slices.csv``.

    Raises
    ------
    UsageError
        Where a row of the table is broken, its slices do not run upward, or an exam's volume is not there.
    """

    name = "aisd"
    info = DatasetInfo(
        title="AISD: acute ischemic stroke dataset",
        citation="Liang et al., Symmetry-Enhanced Attention Network for Acute Ischemic Infarct Segmentation with "
        "Non-Contrast CT Images, MICCAI 2021",
        licence="research use",
        restriction="research",
        url="https://github.com/GriffinLiang/AISD",
        kind="exams",
        access="the publisher's repository; a sample of 3 exams is re-published",
        expected=("slices.csv", "hu/*.npz"),
        content="3 exams with acute ischaemic stroke, 8 to 9 mm, HU in NumPy's form",
        labels="no hemorrhage, a slice",
        remark="every exam has an acute infarct and none a hemorrhage; 8 to 9 mm, Siemens",
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._rows: dict[str, list[Row]] = {}
        for row in read_table(self.root / "slices.csv", _COLUMNS):
            rows = self._rows.setdefault(row["exam"], [])
            if row.whole("slice") != len(rows):
                raise row.error(f"slice {row['slice']}", f"{len(rows)}: an exam's slices in order from 0")
            if rows and row.number("z") <= rows[-1].number("z"):
                raise row.error(f"z = {row['z']}", f"more than {rows[-1]['z']}: slices run upward")
            if not self._file(row["exam"]).is_file():
                raise row.error(
                    f"no hu/{row['exam']}.npz", "a volume for each exam", "get the data set again"
                )
            rows.append(row)

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient."""
        return {patient: self.slice_labels(patient).max(axis=0) for patient in self._rows}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels: no hemorrhage is of no subtype; of one, the subtype is unknown."""
        labels = np.zeros((len(self._rows[patient]), 6), np.float32)
        bleeds = [row.flag("hemorrhage") == 1 for row in self._rows[patient]]
        labels[bleeds] = [1, *[np.nan] * 5]
        return labels

    def subgroup_values(self, patient: str) -> dict[str, float]:
        """Return the slice thickness in mm."""
        return {"thickness_mm": self._rows[patient][0].number("thickness", least=_LEAST_MM)}

    def load(self, patient: str) -> LabelledExam:
        """Read one exam.

        Raises
        ------
        RefusedInput
            Where its volume cannot be read, or has another number of slices than the table.
        """
        rows = self._rows[patient]
        volume = self._read(patient)
        spacing = rows[0].number("spacing", least=_LEAST_MM)
        heights = np.array([row.number("z") for row in rows])
        geometry = Geometry(
            positions=np.stack([np.zeros(len(rows)), np.zeros(len(rows)), heights], axis=1),
            row_direction=np.array([1.0, 0, 0]),
            column_direction=np.array([0, 1.0, 0]),
            spacing=(spacing, spacing),
            thickness=np.array([row.number("thickness", least=_LEAST_MM) for row in rows]),
        )
        details = {key: rows[0].get(key) for key in ("manufacturer", "kernel", "kvp") if rows[0].get(key)}
        exam = Exam(volume, geometry, Source(f"{self.name}/{patient}", "picture", details=details))
        labels = self.slice_labels(patient)
        blood = np.zeros(volume.shape, np.uint8)
        blood[labels[:, 0] != 0] = UNKNOWN
        return LabelledExam(self.name, patient, exam, labels, blood, HU_RANGE)

    def _read(self, patient: str) -> NDArray[np.int16]:
        name, n = f"{self.name}/{patient}", len(self._rows[patient])
        path = self._file(patient)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                volume = np.asarray(archive["hu"])
        except _READ_ERRORS as error:
            found = f"no volume that can be read in hu/{path.name} ({type(error).__name__})"
            raise broken(name, found, "an array hu") from None
        if volume.ndim != 3 or len(volume) != n or volume.dtype != np.int16:
            found = f"a volume of {volume.shape} {volume.dtype} in hu/{path.name}"
            raise broken(name, found, f"{n} slices of int16, as the table has")
        return volume

    def _file(self, patient: str) -> Path:
        return self.root / "hu" / f"{patient}.npz"

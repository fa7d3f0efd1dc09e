"""CT-ICH in the form of PhysioNet's version 1.3: NIfTI volumes and hand masks of every slice.

``ct_scans/NNN.nii``, ``masks/NNN.nii`` (255 for blood of any subtype), ``hemorrhage_diagnosis_raw_ct.csv`` with the
subtypes a slice (counted from 1 in the file's own order), ``Patient_demographics.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.labelled import ANY_SUBTYPE, DatasetInfo, LabelledExam
from ichor.datasets.masked import read_with_mask
from ichor.errors import UsageError

__all__ = ["CtIchNifti"]

_SUBTYPES = ("Epidural", "Intraparenchymal", "Intraventricular", "Subarachnoid", "Subdural")


class CtIchNifti:
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``ct_scans``.

    Raises
    ------
    UsageError
        Where a volume of the table is not there, or a table's row is broken.
    """

    name = CtIch.name
    info = DatasetInfo(
        title=CtIch.info.title,
        citation=CtIch.info.citation,
        licence="PhysioNet Restricted Health Data License 1.5.0",
        url="https://physionet.org/content/ct-ich/1.3.1/",
        kind="exams",
        access="PhysioNet; needs a login and a signed data use agreement",
        expected=("hemorrhage_diagnosis_raw_ct.csv", "ct_scans/*.nii*", "masks/*.nii*"),
    )

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        path = self.root / "hemorrhage_diagnosis_raw_ct.csv"
        rows: dict[str, dict[int, list[float]]] = {}
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if not (row.get("PatientNumber") or "").strip():
                    continue  # the published table ends in empty rows
                try:
                    patient, number = f"{int(float(row['PatientNumber'])):03d}", int(float(row["SliceNumber"]))
                    subtypes = [float(row[name]) for name in _SUBTYPES]
                    bleeds = max(*subtypes, 1 - float(row["No_Hemorrhage"]))
                except (KeyError, TypeError, ValueError) as error:
                    raise UsageError(f"{path}, line {line}: found no number ({error}); expected 0 or 1") from None
                if number in rows.setdefault(patient, {}):
                    raise UsageError(f"{path}, line {line}: found slice {number} again; expected each once")
                rows[patient][number] = [bleeds, *subtypes]
        self._rows = {p: np.array([r[k] for k in sorted(r)], np.float32) for p, r in rows.items()}
        absent = [p for p in self._rows if self._file("ct_scans", p) is None]
        if absent:
            raise UsageError(f"{self.root}: found no ct_scans/{absent[0]}.nii; expected a volume for each patient")
        self._ages = self._read_ages()

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient."""
        return {p: rows.max(axis=0) for p, rows in self._rows.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels, upward."""
        return self.load(patient).labels

    def traits(self, patient: str) -> dict[str, float]:
        """Return age in years, where known."""
        return {"age_years": self._ages[patient]} if patient in self._ages else {}

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam and its mask; a box's guess of blood is not needed here."""
        image, mask = self._file("ct_scans", patient), self._file("masks", patient)
        if image is None or mask is None:
            raise UsageError(f"{self.root}: found no mask for patient {patient}; expected masks/{patient}.nii")
        exam, classes = read_with_mask(image, mask, f"{self.name}/{patient}")
        labels = self._rows[patient]
        if len(labels) != exam.n_slices:
            raise UsageError(f"{image}: found {exam.n_slices} slices; expected {len(labels)}, as the table has")
        meta = exam.source.nifti
        if meta is not None and meta["flips"][0]:
            labels = labels[::-1]  # the table counts in the file's order, an exam runs upward
        blood = np.zeros(exam.volume.shape, np.uint8)
        for k, row in enumerate(labels):
            present = np.flatnonzero(row[1:]) + 1
            blood[k][classes[k] > 0] = present[0] if len(present) == 1 else ANY_SUBTYPE
        return LabelledExam(self.name, patient, exam, labels.copy(), blood, (-1024.0, 3071.0))

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(p) for p in self._rows)

    def _file(self, part: str, patient: str) -> Path | None:
        found = (self.root / part / f"{patient}{ending}" for ending in (".nii", ".nii.gz"))
        return next((path for path in found if path.is_file()), None)

    def _read_ages(self) -> dict[str, float]:
        path = self.root / "Patient_demographics.csv"
        ages: dict[str, float] = {}
        if not path.is_file():
            return ages
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                plain = {" ".join((k or "").lower().split()): (v or "").strip() for k, v in row.items()}
                number, age = plain.get("patient number", ""), plain.get("age (years)", "")
                try:
                    ages[f"{int(float(number)):03d}"] = float(age)
                except ValueError:
                    continue  # some ages are not told
        return ages

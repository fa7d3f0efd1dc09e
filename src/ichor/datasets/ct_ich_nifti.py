"""CT-ICH in the form of PhysioNet's version 1.3: NIfTI volumes and hand masks of every slice.

``ct_scans/NNN.nii``, ``masks/NNN.nii`` (255 for blood of any subtype), ``hemorrhage_diagnosis_raw_ct.csv`` with the
subtypes a slice (counted from 1 in the file's own order), ``Patient_demographics.csv``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.items import HU_RANGE, broken
from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.masked import read_with_mask
from ichor.datasets.sources import PhysioNet
from ichor.datasets.tables import Row, read_table
from ichor.errors import UsageError

__all__ = ["CtIchNifti"]

_SUBTYPES = ("Epidural", "Intraparenchymal", "Intraventricular", "Subarachnoid", "Subdural")
_COLUMNS = ("PatientNumber", "SliceNumber", *_SUBTYPES, "No_Hemorrhage")


class CtIchNifti(Dataset):
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``ct_scans``.

    Attributes
    ----------
    notes
        What was left out.

    Raises
    ------
    UsageError
        Where a volume or a mask of the table is not there, or a table's row is broken.
    """

    name = CtIch.name
    info = DatasetInfo(
        title=CtIch.info.title,
        citation=CtIch.info.citation,
        licence="PhysioNet Restricted Health Data License 1.5.0",
        restriction="research under its own data use agreement",
        url="https://physionet.org/content/ct-ich/1.3.1/",
        kind="exams",
        access="PhysioNet; needs a login and a signed data use agreement",
        expected=("hemorrhage_diagnosis_raw_ct.csv", "ct_scans/*.nii*", "masks/*.nii*"),
        content="CT-ICH in NIfTI (1.3), trauma, many children: 75 exams",
        labels="five subtypes a slice, masks without subtypes",
        remark=CtIch.info.remark,
        source=PhysioNet("https://physionet.org/files/ct-ich/1.3.1"),
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        rows: dict[str, dict[int, list[float]]] = {}
        for row in read_table(self.root / "hemorrhage_diagnosis_raw_ct.csv", _COLUMNS):
            if not row["PatientNumber"]:
                continue  # the published table ends in rows without numbers
            patient, number = f"{row.whole('PatientNumber'):03d}", row.whole("SliceNumber", least=1)
            subtypes = [row.flag(name) for name in _SUBTYPES]
            # A bleed may have no subtype; a subtype is always a bleed.
            bleeds = 1 - row.flag("No_Hemorrhage")
            if bleeds < max(subtypes):
                raise row.error("a subtype where No_Hemorrhage is 1", "one or the other")
            if number in rows.setdefault(patient, {}):
                raise row.error(f"slice {number} of patient {patient} again", "each once")
            rows[patient][number] = [bleeds, *subtypes]
        for part in ("ct_scans", "masks"):
            absent = [patient for patient in rows if self._file(part, patient) is None]
            if absent:
                raise UsageError(
                    f"{self.root}: found no {part}/{absent[0]}.nii; expected one for each of the table's {len(rows)} "
                    f"patients ({len(absent)} are missing); get the data set again"
                )
        self._rows = {p: np.array([r[k] for k in sorted(r)], np.float32) for p, r in rows.items()}
        # Not those of resource forks, and not by .suffix: .nii.gz has two.
        files = {p.name.split(".")[0] for p in (self.root / "ct_scans").glob("[!.]*.nii*")}
        unlabelled = sorted(files - set(rows))
        self.notes: list[str] = []
        if unlabelled:
            self.notes.append(
                f"{len(unlabelled)} volumes without labels were left out, first {unlabelled[0]}"
            )
        self._ages = self._read_ages()

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient."""
        return {p: rows.max(axis=0) for p, rows in self._rows.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels, upward."""
        return self.load(patient).labels

    def subgroup_values(self, patient: str) -> dict[str, float]:
        """Return age in years, where known."""
        return {"age_years": self._ages[patient]} if patient in self._ages else {}

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam and its mask; a box's guess of blood is not needed here."""
        image, mask = self._file("ct_scans", patient), self._file("masks", patient)
        name = f"{self.name}/{patient}"
        if image is None or mask is None:
            raise broken(name, "no volume or no mask", "both")
        exam, classes = read_with_mask(image, mask, name)
        labels = self._rows[patient]
        if len(labels) != exam.n_slices:
            raise broken(name, f"{exam.n_slices} slices", f"{len(labels)}, as the table has")
        meta = exam.source.nifti
        if meta is not None and meta["flips"][0]:
            labels = labels[::-1]  # the table counts in the file's order, an exam runs upward
        blood = np.zeros(exam.volume.shape, np.uint8)
        for k, row in enumerate(labels):
            present = np.flatnonzero(row[1:]) + 1
            blood[k][classes[k] > 0] = present[0] if len(present) == 1 else ANY_SUBTYPE
            if row[0] and not blood[k].any():
                blood[k] = UNKNOWN  # it bleeds, and nobody marked where
        return LabelledExam(self.name, patient, exam, labels.copy(), blood, HU_RANGE)

    def _file(self, part: str, patient: str) -> Path | None:
        found = (self.root / part / f"{patient}{ending}" for ending in (".nii", ".nii.gz"))
        return next((path for path in found if path.is_file()), None)

    def _read_ages(self) -> dict[str, float]:
        path = self.root / "Patient_demographics.csv"
        rows: list[Row] = read_table(path, ("patient number",), lower=True) if path.is_file() else []
        ages = {}
        for row in rows:
            # Its head has two lines, and some ages are empty.
            if row["patient number"] and row.get("age (years)"):
                ages[f"{row.whole('patient number'):03d}"] = row.number("age (years)", least=0)
        return ages

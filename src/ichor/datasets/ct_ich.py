"""CT-ICH: 66 trauma exams with subtypes a slice and loose boxes (Hssayeni et al., Data 2020, 5(1):14).

This reads the JPEG form: ``brain/PPP/SS.jpg`` (level 40, width 120) and ``bone/PPP/SS.jpg`` (level 700,
width 3200), with ``slices.csv``, ``exams.csv``, ``boxes.csv`` and hand masks for a few slices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.items import broken, grey_picture
from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN, Dataset, DatasetInfo, LabelledExam, blood_in_box
from ichor.datasets.tables import Row, read_table
from ichor.exam import Exam, Geometry, Source
from ichor.preparing.skull import bone_hu, within_skull
from ichor.preparing.windows import Window, from_grey

__all__ = ["CtIch"]

_BRAIN = Window(40, 120)
_BONE = Window(700, 3200)
# In the order of ichor.labels.LABEL_NAMES.
_COLUMNS = ("any", "Epidural", "Intraparenchymal", "Intraventricular", "Subarachnoid", "Subdural")
_BOX_CLASSES = {"EDH": 1, "IPH": 2, "IVH": 3, "SAH": 4, "SDH": 5}
_TYPICAL_PIXEL_MM = 0.42  # for the six exams without a header
_SLICE_STEP_MM = 5.0
_LEAST_MM = 0.01
_OF_SLICES = ("patient", "slice", "brain_file", "bone_file", *_COLUMNS)
_OF_EXAMS = ("patient", "age_years", "px", "dz")
_OF_BOXES = ("patient", "slice", "cls", "x0", "y0", "x1", "y1")


class CtIch(Dataset):
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``slices.csv``.

    Attributes
    ----------
    notes
        What was left out.

    Raises
    ------
    UsageError
        Where a table is broken or contradicts itself or another, or a picture is not there.
    """

    name = "ct-ich"
    info = DatasetInfo(
        title="CT-ICH: head CT for intracranial hemorrhage detection and segmentation",
        citation="Hssayeni et al., Intracranial Hemorrhage Segmentation Using a Deep Convolutional Model, "
        "Data 2020, 5(1):14; PhysioNet, ct-ich",
        licence="CC BY 4.0 by the authors' paper",
        url="https://physionet.org/content/ct-ich/",
        kind="exams",
        access="PhysioNet; no login for the open version, sign the data use terms where it asks",
        expected=("slices.csv", "exams.csv", "boxes.csv", "brain/*/*.jpg", "bone/*/*.jpg"),
        content="CT-ICH in JPEG (1.2), trauma, many children: 66 of the original 82 exams",
        labels="five subtypes a slice, loose boxes, a few masks",
        remark="trauma, 5 mm, one hospital; many children",
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._exams = {row["patient"]: row for row in read_table(self.root / "exams.csv", _OF_EXAMS)}
        self._slices: dict[str, list[Row]] = {}
        for row in read_table(self.root / "slices.csv", _OF_SLICES):
            self._check(row)
            self._slices.setdefault(row["patient"], []).append(row)
        positive = {}
        for patient, rows in self._slices.items():
            rows.sort(key=lambda row: row.whole("slice"))
            for row in rows:
                if (patient, row["slice"]) in positive:
                    raise row.error(f"slice {row['slice']} of {patient} again", "each once")
                positive[patient, row["slice"]] = row.flag("any")
        self._boxes: dict[tuple[str, str], list[Row]] = {}
        on_negatives = 0
        for row in read_table(self.root / "boxes.csv", _OF_BOXES):
            place = row["patient"], row["slice"]
            if place not in positive:
                raise row.error(f"a box on slice {place[1]} of {place[0]}", "a slice of slices.csv")
            if row["cls"] and row["cls"] not in _BOX_CLASSES:
                raise row.error(f"cls = {row['cls']!r}", f"{', '.join(_BOX_CLASSES)} or nothing")
            if row["x0"]:  # some rows name a slice without giving its box
                self._boxes.setdefault(place, []).append(row)
                on_negatives += not positive[place]
        without = sorted(set(self._exams) - set(self._slices))
        self.notes: list[str] = []
        if on_negatives:
            self.notes.append(f"{on_negatives} boxes on slices that are labelled negative were left out")
        if without:
            self.notes.append(f"{len(without)} exams without slices were left out, first {without[0]}")

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient."""
        return {p: self.slice_labels(p).max(axis=0) for p in self._slices}

    def subgroup_values(self, patient: str) -> dict[str, float]:
        """Return age in years and slice thickness in mm, where known."""
        row = self._exams[patient]
        named = {"age_years": "age_years", "thickness_mm": "dz"}
        return {name: row.number(column, least=0) for name, column in named.items() if row[column]}

    def age(self, patient: str) -> float:
        """Return a patient's age in years, NaN where it is unknown."""
        return self.subgroup_values(patient).get("age_years", float("nan"))

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels."""
        return np.array([[r.flag(c) for c in _COLUMNS] for r in self._slices[patient]], np.float32)

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam: HU from both windows, weak blood masks from boxes and hand masks."""
        rows = self._slices[patient]
        labels = self.slice_labels(patient)
        planes = [self._hu(row) for row in rows]
        if len({plane.shape for plane in planes}) > 1:
            raise broken(f"{self.name}/{patient}", "slices of several sizes", "one size")
        volume = np.stack(planes)
        blood = np.zeros(volume.shape, np.uint8)
        bone = bone_hu(volume)
        for k in range(len(rows)):
            if labels[k, 0]:
                self._mark(blood[k], volume[k], patient, k, bone)
        meta = self._exams[patient]
        known = bool(meta["px"])
        pixel = (meta.number("px", least=_LEAST_MM) if known else _TYPICAL_PIXEL_MM) * 512 / volume.shape[1]
        step = meta.number("dz", least=_LEAST_MM) if meta["dz"] else _SLICE_STEP_MM
        geometry = Geometry(
            positions=np.stack(
                [np.zeros(len(rows)), np.zeros(len(rows)), step * np.arange(len(rows))], axis=1
            ),
            row_direction=np.array([1.0, 0, 0]),
            column_direction=np.array([0, 1.0, 0]),
            spacing=(pixel, pixel),
            spacing_known=known,
            thickness=np.full(len(rows), step),
        )
        exam = Exam(volume, geometry, Source(f"ct-ich/{patient}", "picture"))
        return LabelledExam(self.name, patient, exam, labels, blood, (-900.0, 2300.0))

    def hand_mask(self, patient: str, index: int) -> NDArray[np.bool_] | None:
        """Return the publishers' hand mask ``(rows, columns)`` of the ``index``-th slice, None where there is none."""
        path = self.root / "masks" / patient / f"{self._slices[patient][index].whole('slice'):02d}.png"
        return grey_picture(path, f"{self.name}/{patient}") > 127 if path.exists() else None

    def boxes(self, patient: str, index: int) -> list[tuple[int, tuple[float, float, float, float]]]:
        """Return each box of the ``index``-th slice: 1 to 5 or ``ANY_SUBTYPE``, and x0, y0, x1, y1."""
        row = self._slices[patient][index]
        present = [place for place, column in enumerate(_COLUMNS) if place and row[column] == "1"]
        subtype = present[0] if len(present) == 1 else ANY_SUBTYPE  # of a box without a class
        out = []
        for box in self._boxes.get((patient, row["slice"]), []):
            x0, y0, x1, y1 = (box.number(column) for column in ("x0", "y0", "x1", "y1"))
            out.append((_BOX_CLASSES.get(box["cls"], subtype), (x0, y0, x1, y1)))
        return out

    def _check(self, row: Row) -> None:
        if row["patient"] not in self._exams:
            raise row.error(f"patient {row['patient']!r}", "one of exams.csv")
        if row.flag("any") != max(row.flag(column) for column in _COLUMNS[1:]):
            raise row.error("any and the subtypes in contradiction", "any to be 1 just where a subtype is")
        for column in ("brain_file", "bone_file"):
            if not (self.root / row[column]).is_file():
                raise row.error(f"no {row[column]}", "a picture for each row", "get the data set again")

    def _hu(self, row: Row) -> NDArray[np.int16]:
        """Merge both windows: the brain window where it is not clipped, the bone window elsewhere."""
        name = f"{self.name}/{row['patient']}"
        brain, bone = (grey_picture(self.root / row[column], name) for column in ("brain_file", "bone_file"))
        bone = np.asarray(Image.fromarray(bone).resize(brain.shape[::-1], Image.Resampling.BILINEAR))
        hu, wide = from_grey(brain, _BRAIN), from_grey(bone, _BONE)
        # JPEG ripples by a grey value or two at the ends of the window.
        hu = np.where(brain >= 253, np.maximum(wide, 100), hu)
        return np.where(brain <= 2, np.minimum(wide, -20), hu).astype(np.int16)

    def _mark(
        self, blood: NDArray[np.uint8], hu: NDArray[np.int16], patient: str, index: int, bone: float
    ) -> None:
        boxes = self.boxes(patient, index)
        for subtype, box in boxes:
            blood_in_box(blood, hu, box, subtype)
        if boxes:  # loose boxes hold bruises of the scalp, too
            blood[~within_skull(hu, bone)] = 0
        row = self._slices[patient][index]
        mask_file = self.root / "masks" / patient / f"{int(row['slice']):02d}.png"
        if mask_file.exists():
            present = [place for place, column in enumerate(_COLUMNS) if place and row[column] == "1"]
            mask = grey_picture(mask_file, f"{self.name}/{patient}") > 127
            if mask.shape != hu.shape:
                found = f"a mask of {mask.shape} in {mask_file.name}"
                raise broken(f"{self.name}/{patient}", found, f"{hu.shape}, as the picture")
            blood[...] = np.where(mask, present[0] if len(present) == 1 else ANY_SUBTYPE, 0)
        elif not boxes:
            blood[...] = UNKNOWN

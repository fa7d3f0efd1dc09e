"""CT-ICH: 66 trauma exams with subtypes a slice and loose boxes (Hssayeni et al., Data 2020, 5(1):14).

This reads the JPEG form: ``brain/PPP/SS.jpg`` (level 40, width 120) and ``bone/PPP/SS.jpg`` (level 700,
width 3200), with ``slices.csv``, ``exams.csv``, ``boxes.csv`` and hand masks for a few slices.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN, DatasetInfo, LabelledExam, blood_in_box
from ichor.exam import Exam, Geometry, Source
from ichor.preparing.windows import Window, from_grey

__all__ = ["CtIch"]

_BRAIN = Window(40, 120)
_BONE = Window(700, 3200)
# In the order of ichor.labels.LABEL_NAMES.
_COLUMNS = ("any", "Epidural", "Intraparenchymal", "Intraventricular", "Subarachnoid", "Subdural")
_BOX_CLASSES = {"EDH": 1, "IPH": 2, "IVH": 3, "SAH": 4, "SDH": 5}
_TYPICAL_PIXEL_MM = 0.42  # for the six exams whose header was lost
_SLICE_STEP_MM = 5.0


class CtIch:
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``slices.csv``.
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
    )

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._slices: dict[str, list[dict[str, str]]] = {}
        for row in _rows(self.root / "slices.csv"):
            self._slices.setdefault(row["patient"], []).append(row)
        self._exams = {row["patient"]: row for row in _rows(self.root / "exams.csv")}
        self._boxes: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in _rows(self.root / "boxes.csv"):
            if row["x0"]:  # some rows name a slice without giving its box
                self._boxes.setdefault((row["patient"], row["slice"]), []).append(row)

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient."""
        return {p: self.slice_labels(p).max(axis=0) for p in self._slices}

    def traits(self, patient: str) -> dict[str, float]:
        """Return age in years and slice thickness in mm, where known."""
        row = self._exams[patient]
        named = {"age_years": row["age_years"], "thickness_mm": row["dz"]}
        return {name: float(value) for name, value in named.items() if value}

    def age(self, patient: str) -> float:
        """Return a patient's age in years, NaN where it was lost."""
        return float(self._exams[patient]["age_years"] or "nan")

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels."""
        return np.array([[float(r[c]) for c in _COLUMNS] for r in self._slices[patient]], np.float32)

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam: HU from both windows, weak blood masks from boxes and hand masks."""
        rows = self._slices[patient]
        labels = self.slice_labels(patient)
        volume = np.stack([self._hu(row) for row in rows])
        blood = np.zeros(volume.shape, np.uint8)
        for k in range(len(rows)):
            if labels[k, 0]:
                self._mark(blood[k], volume[k], patient, k)
        meta = self._exams[patient]
        known = bool(meta["px"])
        pixel = (float(meta["px"]) if known else _TYPICAL_PIXEL_MM) * 512 / volume.shape[1]
        step = float(meta["dz"] or _SLICE_STEP_MM)
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

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(p) for p in self._slices)

    def boxes(self, patient: str, index: int) -> list[tuple[int, tuple[float, float, float, float]]]:
        """Return each box of the ``index``-th slice: 1 to 5 or ``ANY_SUBTYPE``, and x0, y0, x1, y1."""
        row = self._slices[patient][index]
        present = [place for place, column in enumerate(_COLUMNS) if place and row[column] == "1"]
        subtype = present[0] if len(present) == 1 else ANY_SUBTYPE  # of a box without a class
        return [
            (
                _BOX_CLASSES.get(b["cls"], subtype),
                (float(b["x0"]), float(b["y0"]), float(b["x1"]), float(b["y1"])),
            )
            for b in self._boxes.get((patient, row["slice"]), [])
        ]

    def _hu(self, row: dict[str, str]) -> NDArray[np.int16]:
        """Merge both windows: the brain window where it is not clipped, the bone window elsewhere."""
        with Image.open(self.root / row["brain_file"]) as image:
            brain = np.asarray(image.convert("L"))
        with Image.open(self.root / row["bone_file"]) as image:
            bone = np.asarray(image.convert("L").resize(brain.shape[::-1], Image.Resampling.BILINEAR))
        hu, wide = from_grey(brain, _BRAIN), from_grey(bone, _BONE)
        # JPEG ripples by a grey value or two at the ends of the window.
        hu = np.where(brain >= 253, np.maximum(wide, 100), hu)
        return np.where(brain <= 2, np.minimum(wide, -20), hu).astype(np.int16)

    def _mark(self, blood: NDArray[np.uint8], hu: NDArray[np.int16], patient: str, index: int) -> None:
        boxes = self.boxes(patient, index)
        for subtype, box in boxes:
            blood_in_box(blood, hu, box, subtype)
        row = self._slices[patient][index]
        mask_file = self.root / "masks" / patient / f"{int(row['slice']):02d}.png"
        if mask_file.exists():
            present = [place for place, column in enumerate(_COLUMNS) if place and row[column] == "1"]
            with Image.open(mask_file) as image:
                mask = np.asarray(image.convert("L")) > 127
            blood[...] = np.where(mask, present[0] if len(present) == 1 else ANY_SUBTYPE, 0)
        elif not boxes:
            blood[...] = UNKNOWN


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

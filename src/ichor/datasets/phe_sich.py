"""PHE-SICH-CT-IDS: 80 exams with spontaneous intraparenchymal hemorrhage (Ma et al. 2023, figshare).

JPEG in about the brain window (level 40, width 80), loose boxes, no spacing. Every exam is positive, edges of
a bleed may be labelled 0, and blood in the ventricles is not labelled: what is unknown stays unknown.
The published stacks run up to the vertex and go on with slices from lower down; they are brought into order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.datasets.items import broken, grey_picture
from ichor.datasets.labelled import UNKNOWN, Dataset, DatasetInfo, LabelledExam, blood_in_box
from ichor.datasets.ordering import spatial_order
from ichor.datasets.sources import Figshare
from ichor.datasets.tables import Row, read_table
from ichor.exam import Exam, Source
from ichor.preparing.stacks import picture_geometry
from ichor.preparing.windows import from_grey

__all__ = ["PheSich"]

_INTRAPARENCHYMAL = 2
_UNLABELLED_LOOKS_LIKE_BLOOD_HU = 50.0


class PheSich(Dataset):
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``slices.csv``.

    Raises
    ------
    UsageError
        Where the table is broken, or a picture is not there.
    """

    name = "phe-sich"
    info = DatasetInfo(
        title="PHE-SICH-CT-IDS: spontaneous intraparenchymal hemorrhage with perihematomal edema",
        citation="Ma et al. 2023, PHE-SICH-CT-IDS, figshare",
        licence="non-commercial use, by its authors (arXiv 2308.10521); that at figshare was not verified",
        restriction="non-commercial use, as its authors publish it",
        url="https://figshare.com/articles/dataset/PHE-SICH-CT-IDS/23957937",
        kind="exams",
        access="figshare; no login",
        expected=("slices.csv", "images/*/*.jpg"),
        content="80 exams with spontaneous intraparenchymal hemorrhage, JPEG",
        labels="yes or no a slice, loose boxes",
        remark="every exam has an intraparenchymal hemorrhage",
        source=Figshare(23957937),
        after_fetching="the publisher's files lie in original/: the loader reads slices.csv and images/, in the form "
        "that docs/how-to/get-the-data.md gives",
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._slices: dict[str, list[Row]] = {}
        for row in read_table(self.root / "slices.csv", ("patient", "file", "label_hem", "boxes")):
            row.flag("label_hem")
            if not (self.root / row["file"]).is_file():
                raise row.error(f"no {row['file']}", "a picture for each row", "get the data set again")
            self._slices.setdefault(row["patient"], []).append(row)
        self._ordered: dict[str, list[Row]] = {}

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels by patient: intraparenchymal is known, the rest (ventricles) is not."""
        labels = np.full(6, np.nan, np.float32)
        labels[[0, _INTRAPARENCHYMAL]] = 1
        return {p: labels.copy() for p in self._slices}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels, NaN for unknown."""
        positive = np.array([row.flag("label_hem") == 1 for row in self._in_order(patient)])
        # The slice beside a bleed may hold its edge: its label is not trusted.
        beside = ndimage.binary_dilation(positive) & ~positive
        labels = np.zeros((len(positive), 6), np.float32)
        labels[positive] = [1, 0, 1, np.nan, np.nan, 0]
        labels[beside] = np.nan
        return labels

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam."""
        rows = self._in_order(patient)
        volume = np.stack([from_grey(picture) for picture in self._pictures(patient, rows)])
        labels = self.slice_labels(patient)
        near = labels[:, 0] != 0  # positive, or beside a positive
        blood = np.zeros(volume.shape, np.uint8)
        for k, row in enumerate(rows):
            if near[k]:
                bright = (
                    ndimage.gaussian_filter(volume[k].astype(np.float32), 1.5)
                    >= _UNLABELLED_LOOKS_LIKE_BLOOD_HU
                )
                bone = ndimage.binary_dilation(volume[k] >= 79, iterations=3)
                blood[k][bright & ~bone] = UNKNOWN
            for box in _boxes(row):
                blood_in_box(blood[k], volume[k], box, _INTRAPARENCHYMAL)
        exam = Exam(volume, picture_geometry(len(rows)), Source(f"phe-sich/{patient}", "picture"))
        return LabelledExam(self.name, patient, exam, labels, blood, (0.0, 80.0), "inferred")

    def _in_order(self, patient: str) -> list[Row]:
        if patient not in self._ordered:
            rows = self._slices[patient]
            self._ordered[patient] = [rows[k] for k in spatial_order(self._pictures(patient, rows))]
        return self._ordered[patient]

    def _pictures(self, patient: str, rows: list[Row]) -> list[NDArray[np.uint8]]:
        pictures = [grey_picture(self.root / row["file"], f"{self.name}/{patient}") for row in rows]
        if len({picture.shape for picture in pictures}) > 1:
            raise broken(f"{self.name}/{patient}", "slices of several sizes", "one size")
        return pictures

    def boxes(self, patient: str, index: int) -> list[tuple[float, float, float, float]]:
        """Return the boxes of the ``index``-th slice: x0, y0, x1, y1."""
        return _boxes(self._in_order(patient)[index])


def _boxes(row: Row) -> list[tuple[float, float, float, float]]:
    boxes = []
    for box in filter(None, row["boxes"].split(";")):
        try:
            x0, y0, x1, y1 = map(float, box.split(":"))
        except ValueError:
            raise row.error(f"the box {box!r}", "x0:y0:x1:y1") from None
        boxes.append((x0, y0, x1, y1))
    return boxes

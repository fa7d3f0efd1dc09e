"""Head-CT-hemorrhage: pictures of slices, gathered from the web (Kitamura, Kaggle); near-duplicates exist.

``labels.csv`` says hemorrhage or not; ``head_ct/NNN.png`` are the pictures, in any window and size;
``masks/`` holds coarse hand-drawn masks of some, on a grid of their own over the whole picture.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN, DatasetInfo, LabelledExam
from ichor.errors import UsageError
from ichor.exam import Exam, Picture, Source
from ichor.preparing.stacks import picture_geometry
from ichor.preparing.windows import from_grey
from ichor.reading import read

__all__ = ["HeadCt"]


class HeadCt:
    """The data set in a folder. Every picture is a patient with one slice.

    Parameters
    ----------
    root
        The folder that holds ``labels.csv``.

    Raises
    ------
    UsageError
        Where a picture of ``labels.csv`` is not there.
    """

    name = "head-ct-hemorrhage"
    info = DatasetInfo(
        title="Head CT - hemorrhage",
        citation="Kitamura F., Head CT - hemorrhage, Kaggle 2018",
        licence="research use",
        url="https://www.kaggle.com/datasets/felipekitamura/head-ct-hemorrhage",
        kind="pictures",
        access="Kaggle; needs a login and its client's token",
        expected=("labels.csv", "head_ct/*.png"),
    )

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        path = self.root / "labels.csv"
        self._labels: dict[str, float] = {}
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                self._labels[f"{int(row['id']):03d}"] = float(row["hemorrhage"])
        absent = [name for name in self._labels if not self._file(name).is_file()]
        if absent:
            raise UsageError(
                f"{path}: found {len(absent)} rows without a picture, first {self._file(absent[0]).name}; "
                "expected one in head_ct/ for each; get the data set again"
            )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each picture: subtypes are not known where it bleeds."""
        return {name: self.slice_labels(name)[0] for name in self._labels}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(1, 6)`` labels."""
        labels = np.zeros((1, 6), np.float32)
        if self._labels[patient]:
            labels[0] = [1, *[np.nan] * 5]
        return labels

    def traits(self, patient: str) -> dict[str, float]:
        """Return nothing: no age and no spacing is known."""
        return {}

    def load(self, patient: str) -> LabelledExam:
        """Read one picture: the slice in it, taken to be in the brain window."""
        picture = read(self._file(patient))
        if not isinstance(picture, Picture):
            raise UsageError(
                f"{self._file(patient)}: found no picture; expected a PNG; get the data set again"
            )
        exam = Exam(
            from_grey(picture.grey)[None], picture_geometry(), Source(f"{self.name}/{patient}", "picture")
        )
        blood = np.zeros(exam.volume.shape, np.uint8)
        if self._labels[patient]:
            mask = self.mask(patient)
            top, left, rows, columns = picture.box
            blood[0] = (
                UNKNOWN if mask is None else ANY_SUBTYPE * mask[top : top + rows, left : left + columns]
            )
        return LabelledExam(self.name, patient, exam, self.slice_labels(patient), blood, (0.0, 80.0))

    def mask(self, patient: str) -> NDArray[np.bool_] | None:
        """Return the hand mask ``(rows, columns)`` on the picture's own grid, None where there is none."""
        path = self.root / "masks" / f"{patient}.png"
        if not path.is_file():
            return None
        with Image.open(self._file(patient)) as picture, Image.open(path) as mask:
            resized = mask.convert("L").resize(picture.size, Image.Resampling.BILINEAR)
        return np.asarray(resized) > 127

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(name) for name in self._labels)

    def _file(self, patient: str) -> Path:
        return self.root / "head_ct" / f"{patient}.png"

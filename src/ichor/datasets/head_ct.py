"""Head-CT-hemorrhage: pictures of slices, gathered from the web (Kitamura, Kaggle); near-duplicates exist.

``labels.csv`` says hemorrhage or not; ``head_ct/NNN.png`` are the pictures, in any window and size;
``masks/`` holds coarse hand-drawn masks of some, on a grid of their own over the whole picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.items import grey_picture
from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.sources import Kaggle
from ichor.datasets.tables import read_table
from ichor.errors import UsageError
from ichor.exam import Exam, Picture, Source
from ichor.preparing.stacks import picture_geometry
from ichor.preparing.windows import from_grey
from ichor.reading import read

__all__ = ["HeadCt"]


class HeadCt(Dataset):
    """The data set in a folder. Every picture is a patient with one slice.

    Parameters
    ----------
    root
        The folder that holds ``labels.csv``.

    Attributes
    ----------
    notes
        What was left out.

    Raises
    ------
    UsageError
        Where a row of ``labels.csv`` is broken, or its picture is not there.
    """

    name = "head-ct-hemorrhage"
    info = DatasetInfo(
        title="Head CT - hemorrhage",
        citation="Kitamura F., Head CT - hemorrhage, Kaggle 2018",
        licence="research use",
        restriction="research",
        url="https://www.kaggle.com/datasets/felipekitamura/head-ct-hemorrhage",
        kind="pictures",
        access="Kaggle; needs a login and its client's token",
        expected=("labels.csv", "head_ct/*.png"),
        content="pictures of slices from the web: 200, of which 140 are used here; near-duplicates",
        labels="yes or no, some coarse masks",
        remark="pictures gathered from the web, in any window and size, with near-duplicates",
        source=Kaggle("datasets", "felipekitamura/head-ct-hemorrhage"),
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        path = self.root / "labels.csv"
        self._labels: dict[str, float] = {}
        for row in read_table(path, ("id", "hemorrhage")):
            name = f"{row.whole('id'):03d}"
            if name in self._labels:
                raise row.error(f"picture {name} again", "each once")
            self._labels[name] = row.flag("hemorrhage")
            if not self.path(name).is_file():
                raise row.error(f"no head_ct/{name}.png", "a picture for each row", "get the data set again")
        unlabelled = sorted(p.stem for p in self.path("").parent.glob("*.png") if p.stem not in self._labels)
        self.notes: list[str] = []
        if unlabelled:
            self.notes.append(
                f"{len(unlabelled):,} pictures without a row in labels.csv were left out, first {unlabelled[0]}"
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

    def load(self, patient: str) -> LabelledExam:
        """Read one picture: the slice in it, taken to be in the brain window."""
        picture = read(self.path(patient))
        if not isinstance(picture, Picture):
            raise UsageError(
                f"{self.path(patient)}: found no picture; expected a PNG; get the data set again"
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
        return LabelledExam(
            self.name, patient, exam, self.slice_labels(patient), blood, (0.0, 80.0), "unknown"
        )

    def mask(self, patient: str) -> NDArray[np.bool_] | None:
        """Return the hand mask ``(rows, columns)`` on the picture's own grid, None where there is none."""
        path = self.root / "masks" / f"{patient}.png"
        if not path.is_file():
            return None
        rows, columns = grey_picture(self.path(patient), f"{self.name}/{patient}").shape
        mask = Image.fromarray(grey_picture(path, f"{self.name}/{patient}"))
        return np.asarray(mask.resize((columns, rows), Image.Resampling.BILINEAR)) > 127

    def path(self, patient: str) -> Path:
        """Return the file of a picture."""
        return self.root / "head_ct" / f"{patient}.png"

"""Single slices of RSNA 2019, as repositories re-publish them: pictures of 8 bits, each in a window of its own.

``slices.csv`` has a row a slice: six labels (empty where not labelled), ``group`` (slices of one patient, study or
series), and what is known of the window: its ``width``, its ``center``, and how the center was found. HU are
``center - width / 2 + grey * width / 255``, clipped to the window. Some slices show no brain.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import grey_picture
from ichor.datasets.labelled import UNKNOWN, Confidence, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.tables import Row, read_table
from ichor.exam import Exam, Source
from ichor.labels import LABEL_NAMES
from ichor.preparing.stacks import picture_geometry
from ichor.preparing.windows import BRAIN, Window, from_grey

__all__ = ["RsnaSlices", "SliceWindow"]

_LABELS = ("hemorrhage", *LABEL_NAMES[1:])
"""Columns in the order of ichor.labels.LABEL_NAMES."""
_COLUMNS = ("id", "file", *_LABELS, "group", "width", "center", "center_from")
_CONFIDENCES: dict[str, Confidence] = {
    "measured": "measured",
    "levels": "inferred",
    "guess": "guessed",
    "unknown": "unknown",
}
"""By the first word of ``center_from``."""


@dataclass(frozen=True)
class SliceWindow:
    """The window that a slice is stored in.

    Attributes
    ----------
    window
        Level and width, in HU; where the level is unknown, the middle of those that it may be, and where the width
        is, that of the brain window.
    confidence
        How the level was found: ``measured`` against the DICOM file, ``inferred`` from the windows of its source,
        ``guessed`` from the brain's commonest grey, ``unknown``.
    levels
        Of an unknown level, those that it may be; empty where nothing is known of it.
    """

    window: Window
    confidence: Confidence
    levels: tuple[float, ...] = ()


class RsnaSlices(Dataset):
    """The data set in a folder. Every slice is an exam of its own, without neighbours and without spacing.

    Parameters
    ----------
    root
        The folder that holds ``slices.csv``.

    Attributes
    ----------
    notes
        How many slices have a window of which the level is not known.

    Raises
    ------
    UsageError
        Where a row of the table is broken, or its picture is not there.
    """

    name = "rsna-slices"
    info = DatasetInfo(
        title="Single slices of RSNA 2019 Intracranial Hemorrhage Detection",
        citation="Flanders et al., Construction of a Machine Learning Dataset through Collaboration: The RSNA 2019 "
        "Brain CT Hemorrhage Challenge, Radiology: Artificial Intelligence 2020, 2(3):e190211",
        licence="RSNA 2019 terms: non-commercial use, academic research and education only",
        restriction="non-commercial use, academic research and education",
        url="https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection",
        kind="pictures",
        access="re-published by repositories; the whole of it is Kaggle's: accept the competition's rules there",
        expected=("slices.csv", "images/*.jpg"),
        content="3,366 single slices of RSNA 2019, JPEG, each in a window of its own",
        labels="six labels a slice",
        remark="single slices of many scanners, mostly one a patient, each in a window that is partly known; drawn "
        "from RSNA 2019: not to be measured on what was trained on that",
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._rows: dict[str, Row] = {}
        self._labels: dict[str, NDArray[np.float32]] = {}
        self._windows: dict[str, SliceWindow] = {}
        for row in read_table(self.root / "slices.csv", _COLUMNS):
            name = row["id"]
            if not name or name in self._rows:
                raise row.error(f"id = {name!r} {'again' if name else ''}".rstrip(), "each slice once")
            if not row["group"]:
                raise row.error("no group", "what must stay on one side of a split")
            if not (self.root / row["file"]).is_file():
                raise row.error(f"no {row['file']}", "a picture for each row", "get the data set again")
            self._rows[name] = row
            self._labels[name] = _labels(row)
            self._windows[name] = _window(row)
        unknown = Counter(window.confidence for window in self._windows.values())["unknown"]
        if unknown:
            self.notes = [
                f"{unknown:,} slices have a window whose level is not known: their HU may be wrong by 10 or more"
            ]

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each slice, NaN where not labelled."""
        return {name: labels.copy() for name, labels in self._labels.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(1, 6)`` labels."""
        return self._labels[patient][None].copy()

    def groups(self) -> dict[str, str]:
        """Return what each slice shares with others of its patient, study or series."""
        return {name: row["group"] for name, row in self._rows.items()}

    def window(self, patient: str) -> SliceWindow:
        """Return the window that a slice is stored in, and how sure it is."""
        return self._windows[patient]

    def path(self, patient: str) -> Path:
        """Return the file of a slice."""
        return self.root / self._rows[patient]["file"]

    def load(self, patient: str) -> LabelledExam:
        """Read one slice, in HU as far as its window is known.

        Raises
        ------
        RefusedInput
            Where its picture cannot be read.
        """
        known = self._windows[patient]
        name = f"{self.name}/{patient}"
        volume = from_grey(grey_picture(self.path(patient), name), known.window)[None]
        labels = self.slice_labels(patient)
        blood = np.full(volume.shape, 0 if labels[0, 0] == 0 else UNKNOWN, np.uint8)
        exam = Exam(volume, picture_geometry(), Source(name, "picture"))
        clipped = (known.window.low, known.window.high)
        return LabelledExam(self.name, patient, exam, labels, blood, clipped, known.confidence)


def _labels(row: Row) -> NDArray[np.float32]:
    labels = np.array([row.flag(c) if row[c] else np.nan for c in _LABELS], np.float32)
    if labels[0] == 0 and (labels[1:] == 1).any():
        raise row.error("a subtype where hemorrhage is 0", "hemorrhage to be 1 with a subtype")
    if (labels[1:] == 1).any():
        labels[0] = 1
    elif labels[0] == 0:
        labels[:] = 0
    return labels


def _window(row: Row) -> SliceWindow:
    word = row["center_from"].split(maxsplit=1)[0] if row["center_from"] else ""
    if word not in _CONFIDENCES:
        raise row.error(
            f"center_from = {row['center_from']!r}", f"{', '.join(_CONFIDENCES)} as its first word"
        )
    confidence = _CONFIDENCES[word]
    width = row.number("width", least=1) if row["width"] else BRAIN.width
    if confidence != "unknown":
        return SliceWindow(Window(row.number("center"), width), confidence)
    levels = tuple(float(level) for level in re.findall(r"\d+(?:\.\d+)?", row["center_from"]))
    return SliceWindow(Window(float(np.mean(levels)) if levels else BRAIN.level, width), confidence, levels)

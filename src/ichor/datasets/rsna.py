"""RSNA 2019 Intracranial Hemorrhage Detection, in Kaggle's own layout (Flanders et al., Radiology: AI 2020).

``stage_2_train.csv`` has six rows an image, ``ID_..._subtype`` and 0 or 1, some of them twice; ``stage_2_train/``
the DICOM files in no order. Headers tell which images are of one study and where they lie; one file's pixels are
known to be corrupt.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import HU_RANGE, read_files
from ichor.datasets.labelled import UNKNOWN, DatasetInfo, LabelledExam
from ichor.datasets.rsna_index import IndexedImage, build_index
from ichor.errors import RefusedInput, UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["CORRUPT", "Rsna"]

CORRUPT = ("ID_6431af929",)
"""Images whose pixels are cut short in the published files."""
_MIN_SLICES = 3


class Rsna:
    """The training part in a folder. An exam is a study, and the patient's studies stay together in a split.

    Parameters
    ----------
    root
        The folder that holds ``stage_2_train.csv`` and ``stage_2_train``.
    index
        Where to keep what the headers say; ``ichor-index.csv`` in ``root``, or, where that cannot be written,
        in the user's cache.

    Attributes
    ----------
    notes
        What was left out, and why.

    Raises
    ------
    UsageError
        Where the table is broken, or contradicts itself.
    """

    name = "rsna"
    info = DatasetInfo(
        title="RSNA 2019 Intracranial Hemorrhage Detection",
        citation="Flanders et al., Construction of a Machine Learning Dataset through Collaboration: The RSNA 2019 "
        "Brain CT Hemorrhage Challenge, Radiology: Artificial Intelligence 2020, 2(3):e190211",
        licence="RSNA's terms: non-commercial research and teaching",
        url="https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection",
        kind="exams",
        access="Kaggle; accept the competition's rules there; needs its client's token; 180 GB",
        expected=("stage_2_train.csv", "stage_2_train/*.dcm"),
    )

    def __init__(self, root: Path, index: Path | None = None) -> None:
        self.root = Path(root)
        self._index = index or _index_path(self.root)
        self.notes: list[str] = []
        self._labels = self._read_labels()

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each study."""
        return {study: self.slice_labels(study).max(axis=0) for study in self._studies}

    def groups(self) -> dict[str, str]:
        """Return the patient of each study."""
        return {study: images[0].patient for study, images in self._studies.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels of a study, upward."""
        return np.stack([self._labels[image.image] for image in self._studies[patient]])

    def images(self, patient: str) -> list[str]:
        """Return the images of a study, upward."""
        return [image.image for image in self._studies[patient]]

    def traits(self, patient: str) -> dict[str, float]:
        """Return nothing: age was taken out."""
        return {}

    def load(self, patient: str) -> LabelledExam:
        """Read one study, its slices in the order of :meth:`images`.

        Raises
        ------
        RefusedInput
            Where a file's pixels cannot be read.
        """
        folder, names = self.root / "stage_2_train", self.images(patient)
        exam = read_files([folder / f"{name}.dcm" for name in names], f"{self.name}/{patient}")
        if list(exam.source.sop_instance_uids) != names:
            raise RefusedInput(
                f"{self.name}/{patient}",
                "unreadable",
                found=f"{exam.n_slices} usable slices, or another order",
                expected=f"the {len(names)} labelled ones, upward",
                remedy="leave this study out",
            )
        labels = self.slice_labels(patient)
        blood = np.zeros(exam.volume.shape, np.uint8)
        blood[labels[:, 0] != 0] = UNKNOWN
        return LabelledExam(self.name, patient, exam, labels, blood, HU_RANGE)

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(study) for study in self._studies)

    @cached_property
    def _studies(self) -> dict[str, list[IndexedImage]]:
        found = build_index(self.root / "stage_2_train", self._index, self.notes.append)
        self.notes = [note for note in self.notes if not note.startswith("headers:")]
        studies: dict[str, list[IndexedImage]] = {}
        faults, unlabelled = [], []
        for image, row in found.items():
            if row.fault or image in CORRUPT:
                faults.append(image)
            elif image not in self._labels:
                unlabelled.append(image)
            else:
                studies.setdefault(row.study, []).append(row)
        missing = set(self._labels) - set(found)
        short = [study for study, rows in studies.items() if len(rows) < _MIN_SLICES]
        for what, images in (
            ("with a corrupt file", faults),
            ("without labels", unlabelled),
            ("labelled without a file", sorted(missing)),
            (f"in studies of fewer than {_MIN_SLICES} images", [r.image for s in short for r in studies[s]]),
        ):
            if images:
                self.notes.append(f"{len(images)} images {what} were left out, first {images[0]}")
        for study in short:
            del studies[study]
        return {study: sorted(rows, key=lambda r: r.height) for study, rows in sorted(studies.items())}

    def _read_labels(self) -> dict[str, NDArray[np.float32]]:
        path = self.root / "stage_2_train.csv"
        places = {name: place for place, name in enumerate(LABEL_NAMES)}
        labels: dict[str, NDArray[np.float32]] = {}
        repeated = 0
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            next(rows, None)
            for line, row in enumerate(rows, start=2):
                try:
                    image, _, subtype = row[0].rpartition("_")
                    place, value = places[subtype], float(row[1])
                except (IndexError, KeyError, ValueError):
                    raise UsageError(f"{path}, line {line}: found {row}; expected ID_..._subtype,0 or 1") from None
                values = labels.setdefault(image, np.full(6, np.nan, np.float32))
                if not np.isnan(values[place]):
                    if values[place] != value:
                        raise UsageError(f"{path}, line {line}: found {row[0]} again with another label")
                    repeated += 1
                values[place] = value
        part = [image for image, values in labels.items() if np.isnan(values).any()]
        if part:
            raise UsageError(f"{path}: found {len(part)} images without all six labels, first {part[0]}")
        if repeated:
            self.notes.append(f"{repeated} rows of the table repeat others and were taken once")
        return labels


def _index_path(root: Path) -> Path:
    if os.access(root, os.W_OK):
        return root / "ichor-index.csv"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ichor" / "rsna-index.csv"

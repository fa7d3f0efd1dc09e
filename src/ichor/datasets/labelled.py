"""What every data set gives: exams with what is known of each slice and each voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.datasets.sources import Source
from ichor.exam import Exam

__all__ = [
    "ANY_SUBTYPE",
    "BLOOD_HU",
    "UNKNOWN",
    "Confidence",
    "Dataset",
    "DatasetInfo",
    "LabelledExam",
    "blood_in_box",
]

Confidence = Literal["measured", "inferred", "guessed", "unknown"]
"""How sure Hounsfield units are: measured, inferred from others of their source, guessed from the image, unknown."""
UNKNOWN = 255
"""In a blood map: nothing is known of this voxel."""
ANY_SUBTYPE = 6
"""In a blood map: blood of a subtype that is not labelled."""
BLOOD_HU = (46.0, 95.0)
"""Smoothed HU between which a pixel inside a box is taken for blood."""
_DOUBTFUL_HU = 38.0
"""Above this and below blood, a pixel inside a box may be either: unknown."""
_BONE_HU = 110.0


@dataclass(frozen=True)
class LabelledExam:
    """An exam with its truth.

    Attributes
    ----------
    dataset, patient
        Which data set, and its own pseudonym of the patient: the unit of every split.
    exam
        The volume.
    labels
        ``(n, 6)`` float32 in the order of :data:`ichor.labels.LABEL_NAMES`: 1, 0, or NaN for unknown.
    blood
        ``(n, rows, columns)`` uint8: 0 none, 1 to 5 the subtype (place in ``LABEL_NAMES``),
        ``ANY_SUBTYPE`` or ``UNKNOWN``.
    hu_range
        HU below and above which the source is clipped.
    hu_confidence
        How sure its HU are: of pictures, how the window they were turned back by is known.
    """

    dataset: str
    patient: str
    exam: Exam
    labels: NDArray[np.float32]
    blood: NDArray[np.uint8]
    hu_range: tuple[float, float]
    hu_confidence: Confidence = "measured"


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know of a data set before using it, and how its files are obtained.

    Attributes
    ----------
    title, citation, licence, url
        As its publishers give them. Model cards repeat citation and licence.
    kind
        ``exams``, or ``pictures`` of one slice each.
    access
        How to get it, and what licence or login that needs.
    expected
        Files and patterns that must lie in its folder.
    content, labels
        Number and kind of the exams, and what is labelled: a phrase each, for the table of data sets.
    remark
        What a person who uses a model trained on it should know: its population, its selection.
    source
        Where ``ichor data get`` fetches it from; None where it can only be fetched by hand.
    after_fetching
        What is still to be done by hand with the fetched files.
    restriction
        What its terms allow only, as a bundle that learned from it must tell; empty where any use is free, with
        citation.
    private
        Whether these are a user's own files, whose names may name a person.
    slow_to_count
        Whether every file must be read to count its exams.
    """

    title: str
    citation: str
    licence: str
    url: str
    kind: Literal["exams", "pictures"]
    access: str
    expected: tuple[str, ...]
    content: str = ""
    labels: str = ""
    remark: str = ""
    source: Source | None = None
    after_fetching: str = ""
    restriction: str = ""
    private: bool = False
    slow_to_count: bool = False

    def missing(self, root: Path) -> list[str]:
        """Return what of ``expected`` is not in a folder."""
        return [pattern for pattern in self.expected if next(iter(Path(root).glob(pattern)), None) is None]


class Dataset(ABC):
    """A data set on disk.

    A new one defines ``name``, ``info`` and the abstract methods, and overrides what else it knows.

    Parameters
    ----------
    root
        Its folder, or the table that describes it.

    Attributes
    ----------
    name
        As the registry and the commands call it.
    info
        What a person should know of it.
    notes
        What was left out, and why: a sentence each.
    """

    name: str
    info: DatasetInfo
    notes: Sequence[str] = ()

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @abstractmethod
    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels (NaN for unknown) by patient."""

    @abstractmethod
    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels (NaN for unknown)."""

    @abstractmethod
    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam."""

    def groups(self) -> dict[str, str] | None:
        """Return what must stay on one side of a split, by patient; None where that is not recorded."""
        return None

    def images(self, patient: str) -> list[str] | None:
        """Return the names of an exam's slices in its order; None where they have none. A picture has its own."""
        return [patient] if self.info.kind == "pictures" else None

    def path(self, patient: str) -> Path | None:
        """Return the file of a picture, as it was published; None where an exam has none of its own."""
        return None

    def label_files(self) -> list[Path]:
        """Return the tables that labels are read from: where one changes, a prepared store is built anew."""
        return [self.root] if self.root.is_file() else sorted(self.root.glob("*.csv"))

    def subgroup_values(self, patient: str) -> dict[str, float]:
        """Return what is known of a patient for subgroup figures: ``age_years``, ``thickness_mm``."""
        return {}

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(patient) for patient in self.patients())


def blood_in_box(
    blood: NDArray[np.uint8],
    hu: NDArray[np.floating] | NDArray[np.integer],
    box: tuple[float, float, float, float],
    subtype: int,
) -> None:
    """Mark what looks like blood inside a loose box: a weak mask.

    Parameters
    ----------
    blood
        ``(rows, columns)`` of one slice; changed in place.
    hu
        ``(rows, columns)`` HU of the same slice.
    box
        x0, y0, x1, y1 in pixels.
    subtype
        Place in ``LABEL_NAMES``, 1 to 5, or ``ANY_SUBTYPE``.
    """
    x0, y0, x1, y1 = box
    area = np.s_[max(0, int(y0)) : int(np.ceil(y1)) + 1, max(0, int(x0)) : int(np.ceil(x1)) + 1]
    part = hu[area].astype(np.float32)
    smooth = ndimage.gaussian_filter(np.clip(part, -20, 100), 1.2)
    # Bone and the pixel beside it share a slice's thickness with blood's own HU: not blood.
    bone = ndimage.binary_dilation(ndimage.grey_opening(part, 3) >= min(_BONE_HU, float(hu.max()) - 0.5))
    likely = (smooth >= BLOOD_HU[0]) & (smooth <= BLOOD_HU[1]) & ~bone
    doubtful = (smooth >= _DOUBTFUL_HU) & ~likely & ~bone
    view = blood[area]
    view[doubtful & (view == 0)] = UNKNOWN
    view[likely] = subtype

"""What every data set gives: exams with what is known of each slice and each voxel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.exam import Exam

__all__ = ["ANY_SUBTYPE", "BLOOD_HU", "UNKNOWN", "Dataset", "DatasetInfo", "LabelledExam", "blood_in_box"]

UNKNOWN = 255
"""In a blood map: nothing is known of this voxel."""
ANY_SUBTYPE = 6
"""In a blood map: blood, of a subtype that the labels do not tell."""
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
    """

    dataset: str
    patient: str
    exam: Exam
    labels: NDArray[np.float32]
    blood: NDArray[np.uint8]
    hu_range: tuple[float, float]


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know of a data set before using it.

    Attributes
    ----------
    title, citation, licence, url
        As its publishers say.
    kind
        ``exams``, or ``pictures`` of one slice each.
    access
        How to get it, and what licence or login that needs.
    expected
        Files and patterns that must lie in its folder.
    """

    title: str
    citation: str
    licence: str
    url: str
    kind: Literal["exams", "pictures"]
    access: str
    expected: tuple[str, ...]

    def missing(self, root: Path) -> list[str]:
        """Return what of ``expected`` is not in a folder."""
        return [pattern for pattern in self.expected if next(iter(Path(root).glob(pattern)), None) is None]


class Dataset(Protocol):
    """A public data set on disk."""

    name: str
    info: DatasetInfo

    def __init__(self, root: Path) -> None: ...

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` exam labels (NaN for unknown) by patient."""
        ...

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels (NaN for unknown)."""
        ...

    def load(self, patient: str) -> LabelledExam:
        """Read one patient's exam."""
        ...

    def traits(self, patient: str) -> dict[str, float]:
        """Return what is known of a patient for subgroups: ``age_years``, ``thickness_mm``."""
        ...

    def __iter__(self) -> Iterator[LabelledExam]: ...


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

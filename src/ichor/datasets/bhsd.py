"""BHSD: 192 head CT volumes with five classes of hemorrhage, voxel by voxel (Wu et al., MLMI 2023).

NIfTI: ``images/NAME.nii.gz`` and ``ground truths/NAME.nii.gz`` with 0 for none and 1 to 5 for epidural,
intraparenchymal, intraventricular, subarachnoid and subdural. The exams come from RSNA 2019: do not measure on one
what was trained on the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import DatasetInfo, LabelledExam
from ichor.datasets.masked import read_with_mask
from ichor.errors import UsageError

__all__ = ["Bhsd"]

_ENDINGS = (".nii.gz", ".nii")


class Bhsd:
    """The data set in a folder.

    Parameters
    ----------
    root
        The folder that holds ``images`` and ``ground truths``.

    Raises
    ------
    UsageError
        Where a volume has no mask or a mask no volume.
    """

    name = "bhsd"
    info = DatasetInfo(
        title="BHSD: a 3D multi-class brain hemorrhage segmentation dataset",
        citation="Wu et al., BHSD: A 3D Multi-Class Brain Hemorrhage Segmentation Dataset, MLMI 2023",
        licence="MIT by its repository; the images are RSNA's: non-commercial research",
        url="https://github.com/White65534/BHSD",
        kind="exams",
        access="the publisher's repository; no login",
        expected=("images/*.nii*", "ground truths/*.nii*"),
    )

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._images, self._masks = (_volumes(self.root / part) for part in ("images", "ground truths"))
        lone = sorted(set(self._images) ^ set(self._masks))
        if lone:
            raise UsageError(
                f"{self.root}: found {len(lone)} volumes without a mask, or masks without a volume ({lone[0]}); "
                "expected a pair each; get the data set again"
            )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each exam; every mask is read once."""
        return {name: rows.max(axis=0) for name, rows in self._slices.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels: what the mask has in each slice."""
        return self._slices[patient].copy()

    def traits(self, patient: str) -> dict[str, float]:
        """Return nothing: age is not told."""
        return {}

    def load(self, patient: str) -> LabelledExam:
        """Read one exam and its mask."""
        exam, classes = read_with_mask(self._images[patient], self._masks[patient], f"{self.name}/{patient}")
        found = sorted(int(v) for v in np.unique(classes))
        if found[0] < 0 or found[-1] > 5:
            raise UsageError(f"{self._masks[patient]}: found the classes {found}; expected 0 to 5")
        blood = classes.astype(np.uint8)
        return LabelledExam(self.name, patient, exam, _labels(blood), blood, (-1024.0, 3071.0))

    def __iter__(self) -> Iterator[LabelledExam]:
        return (self.load(name) for name in self._images)

    @cached_property
    def _slices(self) -> dict[str, NDArray[np.float32]]:
        return {name: self.load(name).labels for name in self._images}


def _volumes(folder: Path) -> dict[str, Path]:
    out = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
        if ending:
            out[path.name[: -len(ending)]] = path
    return out


def _labels(blood: NDArray[np.uint8]) -> NDArray[np.float32]:
    there = np.stack([(blood == k).any(axis=(1, 2)) for k in range(1, 6)], axis=1)
    return np.concatenate([there.any(axis=1, keepdims=True), there], axis=1).astype(np.float32)

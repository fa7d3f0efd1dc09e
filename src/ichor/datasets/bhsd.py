"""BHSD: 192 head CT volumes with five classes of hemorrhage, voxel by voxel (Wu et al., MLMI 2023).

NIfTI: ``images/NAME.nii.gz`` and ``ground truths/NAME.nii.gz`` with 0 for none and 1 to 5 for epidural,
intraparenchymal, intraventricular, subarachnoid and subdural. Every exam bleeds. They come from RSNA 2019: do not
measure on one what was trained on the other.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.fetching import Remote
from ichor.datasets.items import HU_RANGE, broken
from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.datasets.masked import read_mask, read_with_mask
from ichor.datasets.sources import Archives
from ichor.errors import RefusedInput, UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["Bhsd"]

_PUBLISHED = "https://huggingface.co/datasets/Wendy-Fly/BHSD/resolve/main/label_192.zip"
_ENDINGS = (".nii.gz", ".nii")


class Bhsd(Dataset):
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
        restriction="non-commercial research",
        url="https://github.com/White65534/BHSD",
        kind="exams",
        access="the publisher's repository; no login",
        expected=("images/*.nii*", "ground truths/*.nii*"),
        content="192 exams in NIfTI, all with hemorrhage; taken from RSNA's",
        labels="five classes, voxel by voxel",
        remark="every exam has a hemorrhage; taken from RSNA 2019: not to be measured on what was trained on that",
        source=Archives((Remote(_PUBLISHED, "label_192.zip"),), strip="label_192"),
        slow_to_count=True,
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._images, self._masks = (_volumes(self.root / part) for part in ("images", "ground truths"))
        unpaired = sorted(set(self._images) ^ set(self._masks))
        if unpaired:
            raise UsageError(
                f"{self.root}: found {len(unpaired)} volumes without a mask, or masks without a volume "
                f"({unpaired[0]}); expected a pair each; get the data set again"
            )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each exam: every mask is read once. Unknown where it cannot be read."""
        return {name: labels.copy() for name, labels in self._labels.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels: what the mask has in each slice."""
        return self.load(patient).labels

    def load(self, patient: str) -> LabelledExam:
        """Read one exam and its mask."""
        name = f"{self.name}/{patient}"
        exam, classes = read_with_mask(self._images[patient], self._masks[patient], name)
        rows = np.stack([_labels(plane, name) for plane in classes])
        return LabelledExam(self.name, patient, exam, rows, classes.astype(np.uint8), HU_RANGE)

    @cached_property
    def _labels(self) -> dict[str, NDArray[np.float32]]:
        return {name: self._read_labels(name) for name in self._images}

    def _read_labels(self, patient: str) -> NDArray[np.float32]:
        name = f"{self.name}/{patient}"
        try:
            return _labels(read_mask(self._masks[patient], name), name)
        except RefusedInput:  # reported when the exam is loaded; one broken file stops nothing
            return np.full(len(LABEL_NAMES), np.nan, np.float32)


def _volumes(folder: Path) -> dict[str, Path]:
    out = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
        if ending and not path.name.startswith("."):
            out[path.name[: -len(ending)]] = path
    return out


def _labels(classes: NDArray[np.int16], name: str) -> NDArray[np.float32]:
    """``(6,)`` which classes a mask, or a slice of it, has."""
    found = np.unique(classes).tolist()
    if found[0] < 0 or found[-1] >= len(LABEL_NAMES):
        raise broken(name, f"a mask with the classes {found}", f"0 to {len(LABEL_NAMES) - 1}")
    labels = np.zeros(len(LABEL_NAMES), np.float32)
    labels[[k for k in found if k]] = 1
    labels[0] = labels.max()
    return labels

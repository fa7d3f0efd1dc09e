"""Exams without labels: a folder of studies, or a data set whose labels are hidden."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import exam_of, labelled
from ichor.datasets.labelled import UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.registry import DATASETS, open_dataset
from ichor.errors import RefusedInput, UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["HiddenLabels", "Studies", "open_unlabelled"]


class HiddenLabels(Dataset):
    """The exams of a data set, of whose labels and masks nothing is known.

    Parameters
    ----------
    dataset
        Whose labels are hidden.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset.root)
        self._dataset = dataset
        self.name, self.notes = dataset.name, dataset.notes
        self.info = dataset.info

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return NaN for each label of each exam."""
        return {patient: _nothing_known(1)[0] for patient in self._dataset.patients()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` NaN."""
        return _nothing_known(len(self._dataset.slice_labels(patient)))

    def load(self, patient: str) -> LabelledExam:
        """Read one exam."""
        item = self._dataset.load(patient)
        nothing = np.full(item.blood.shape, UNKNOWN, np.uint8)
        return replace(item, labels=_nothing_known(len(item.labels)), blood=nothing)

    def groups(self) -> dict[str, str] | None:
        """Return the groups of the data set."""
        return self._dataset.groups()

    def label_files(self) -> list[Path]:
        """Return no tables: none is used."""
        return []


class Studies(Dataset):
    """A folder in which each file, archive or sub-folder is one study, as ``ichor detect`` reads it.

    Exams are named by a hash: the names of files may name a person.

    Parameters
    ----------
    root
        The folder.

    Raises
    ------
    UsageError
        Where it holds nothing.
    """

    name = "studies"
    info = DatasetInfo(
        title="studies without labels",
        citation="",
        licence="the user's own",
        url="",
        kind="exams",
        access="here",
        expected=(),
        private=True,
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        found = sorted(path for path in self.root.iterdir() if not path.name.startswith("."))
        if not found:
            raise UsageError(f"{self.root}: found nothing in it; expected studies, each a file or a folder")
        self._paths = {hashlib.sha256(path.name.encode()).hexdigest()[:12]: path for path in found}

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return NaN for each label of each study."""
        return {name: _nothing_known(1)[0] for name in self._paths}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` NaN; the study is read for its number of slices."""
        return _nothing_known(exam_of(self._paths[patient], f"{self.name}/{patient}")[0].n_slices)

    def load(self, patient: str) -> LabelledExam:
        """Read one study.

        Raises
        ------
        RefusedInput
            By the study's hash: the name of its file may name a person.
        """
        name = f"{self.name}/{patient}"
        try:
            return labelled(self.name, patient, self._paths[patient], _nothing_known(1)[0])
        except RefusedInput as refusal:
            found, expected, remedy = refusal.found, refusal.expected, refusal.remedy
            raise RefusedInput(name, refusal.code, found=found, expected=expected, remedy=remedy) from None

    def label_files(self) -> list[Path]:
        """Return no tables: there are none."""
        return []


def open_unlabelled(name: str, data: Path) -> Dataset:
    """Open exams of which no labels are used.

    Parameters
    ----------
    name
        A folder of studies (:class:`Studies`); or a data set, as :func:`ichor.datasets.registry.open_dataset` takes
        it, whose labels are hidden.
    data
        Folder with one sub-folder a data set.

    Raises
    ------
    UsageError
        Where there is none such, or it holds pictures.
    """
    if name not in DATASETS and Path(name).is_dir():
        return Studies(Path(name))
    dataset = open_dataset(name, data)
    if dataset.info.kind != "exams":
        raise UsageError(f"data set {name!r}: found pictures; expected exams, which a teacher can assess")
    return HiddenLabels(dataset)


def _nothing_known(n: int) -> NDArray[np.float32]:
    return np.full((n, len(LABEL_NAMES)), np.nan, np.float32)

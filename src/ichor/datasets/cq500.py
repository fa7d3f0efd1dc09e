"""CQ500: 491 head CT exams, each read by three radiologists (Chilamkurthy et al., Lancet 2018; Qure.ai).

DICOM in a folder an exam, ``reads.csv`` with three reads a row. An exam has what most readers saw; how many saw it
is kept. Slices are not labelled: a negative exam has negative slices, of a positive one nothing is known.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.fetching import Remote
from ichor.datasets.items import exam_of, labelled, repeat_exam_labels
from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.datasets.sources import Archives
from ichor.datasets.tables import read_table
from ichor.errors import UsageError

__all__ = ["Cq500"]

_COLUMNS = ("ICH", "EDH", "IPH", "IVH", "SAH", "SDH")
"""In the order of ichor.labels.LABEL_NAMES."""
_PUBLISHED = "https://s3.ap-south-1.amazonaws.com/qure.headct.study"
_READERS = ("R1", "R2", "R3")
_FOLDER = re.compile(r"CQ500-?CT-?(\d+)", re.IGNORECASE)


class Cq500(Dataset):
    """The data set in a folder: those exams whose images are there.

    Parameters
    ----------
    root
        The folder that holds ``reads.csv`` and the exams' folders.

    Attributes
    ----------
    notes
        What was left out.

    Raises
    ------
    UsageError
        Where a read is no 0 or 1, an exam's folder has no read, or two folders are of one exam.
    """

    name = "cq500"
    info = DatasetInfo(
        title="CQ500",
        citation="Chilamkurthy et al., Deep learning algorithms for detection of critical findings in head CT scans, "
        "Lancet 2018; 392: 2388-96",
        licence="CC BY-NC-SA 4.0",
        restriction="non-commercial use, shared alike (CC BY-NC-SA 4.0)",
        url="http://headctstudy.qure.ai/dataset",
        kind="exams",
        access="the publisher's page or Academic Torrents; accept the licence there",
        expected=("reads.csv", "CQ500*"),
        content="491 exams in DICOM",
        labels="three radiologists, an exam",
        remark="radiology centres of one city, labelled by the majority of three readers",
        source=Archives(
            (
                Remote(f"{_PUBLISHED}/reads.csv", "reads.csv"),
                *(Remote(f"{_PUBLISHED}/CQ500-CT-{n}.zip", f"CQ500-CT-{n}.zip") for n in range(491)),
            )
        ),
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._folders: dict[int, Path] = {}
        for path in sorted(self.root.iterdir()):
            match = _FOLDER.search(path.name)
            if match is None or not path.is_dir():
                continue
            if (number := int(match[1])) in self._folders:
                raise UsageError(
                    f"{path}: found exam {number} in {self._folders[number].name}, too; expected it once; remove one"
                )
            self._folders[number] = path
        unread = [str(number) for number in self._folders if number not in self._reads]
        if unread:
            raise UsageError(
                f"{self.root / 'reads.csv'}: found no row for exam {', '.join(unread[:3])}; expected one an exam; "
                "get reads.csv again"
            )
        absent = len(self._reads) - len(self._folders)
        self.notes = [f"{absent} exams of reads.csv have no images here"] if absent else []

    @cached_property
    def _reads(self) -> dict[int, NDArray[np.float32]]:
        """``(3, 6)`` what each reader saw, by exam number."""
        out: dict[int, NDArray[np.float32]] = {}
        columns = [[f"{reader}:{column}" for column in _COLUMNS] for reader in _READERS]
        for row in read_table(self.root / "reads.csv", ("name", *(c for part in columns for c in part))):
            match = _FOLDER.search(row["name"])
            if match is None or int(match[1]) in out:
                raise row.error(f"name = {row['name']!r}", "CQ500-CT-N, each once")
            out[int(match[1])] = np.array([[row.flag(c) for c in part] for part in columns], np.float32)
        return out

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each exam that is here, by majority."""
        return {str(number): self._majority(number) for number in self._folders}

    def agreement(self, patient: str) -> NDArray[np.float32]:
        """Return ``(6,)`` share of the three readers who saw each label."""
        return np.asarray(self._reads[int(patient)].mean(axis=0))

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels; the exam is read for its number of slices."""
        n = exam_of(self._folders[int(patient)], f"{self.name}/{patient}")[0].n_slices
        return repeat_exam_labels(self._majority(int(patient)), n)

    def load(self, patient: str) -> LabelledExam:
        """Read one exam: of its series, the one that detection would choose."""
        return labelled(self.name, patient, self._folders[int(patient)], self._majority(int(patient)))

    def _majority(self, number: int) -> NDArray[np.float32]:
        seen = np.asarray(self._reads[number].sum(axis=0) >= 2, np.float32)
        seen[0] = max(seen)  # a subtype that two saw is a hemorrhage
        return seen

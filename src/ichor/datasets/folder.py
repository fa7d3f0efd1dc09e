"""A folder a class: pictures, volumes or DICOM folders, sorted by what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import PICTURE_NAMES, exam_of, label_named, labelled, repeat_exam_labels
from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.errors import UsageError

__all__ = ["Folder"]

_VOLUMES = (".nii", ".nii.gz", ".dcm", ".zip")


class Folder(Dataset):
    """A folder whose sub-folders are classes.

    ``normal`` (or no, negative, 0 ...) and ``hemorrhage`` (or yes, positive, 1, ich ...) are understood, and
    the names of the five subtypes, short or long. Each file, and each sub-folder of a class, is an exam or a
    picture of its own: where a person has several, name the groups in a CSV instead
    (:mod:`ichor.datasets.listing`).

    Parameters
    ----------
    root
        The folder.
    positive
        Name of the class that bleeds, where its name does not say so; every other class then does not.

    Attributes
    ----------
    notes
        What was left out.

    Raises
    ------
    UsageError
        Where a class is not understood, or holds nothing, or there are fewer than two.
    """

    name = "folder"

    def __init__(self, root: Path, positive: str | None = None) -> None:
        super().__init__(root)
        classes = sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if len(classes) < 2:
            raise UsageError(
                f"{self.root}: found {len(classes)} sub-folders; expected one a class, such as normal and hemorrhage"
            )
        if positive is not None and positive not in {c.name for c in classes}:
            raise UsageError(
                f"{self.root}: found no class {positive!r}; expected one of {', '.join(c.name for c in classes)}"
            )
        self._items: dict[str, tuple[Path, NDArray[np.float32]]] = {}
        self.notes: list[str] = []
        for folder in classes:
            place = label_named(folder.name) if positive is None else (0 if folder.name == positive else -1)
            if place is None:
                raise UsageError(
                    f"{folder}: found a class of this name; expected normal, hemorrhage or a subtype; rename it, or "
                    f"say which class bleeds: folder:{self.root}?positive=NAME"
                )
            items = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
            usable = [p for p in items if p.is_dir() or p.name.lower().endswith((*PICTURE_NAMES, *_VOLUMES))]
            if not usable:
                raise UsageError(
                    f"{folder}: found no picture and no volume among {len(items)} files; expected some"
                )
            if others := sorted(set(items) - set(usable)):
                self.notes.append(
                    f"{len(others):,} files of {folder.name} are neither pictures nor volumes and were left out, "
                    f"first {others[0].name}"
                )
            for item in usable:
                self._items[f"{folder.name}/{item.name}"] = (item, _labels(place))
        loose = [p for p in self.root.iterdir() if p.is_file() and not p.name.startswith(".")]
        if loose:
            self.notes.append(
                f"{len(loose):,} files beside the classes were left out, first {min(loose).name}"
            )
        pictures = all(p.name.lower().endswith(PICTURE_NAMES) for p, _ in self._items.values())
        self.info = DatasetInfo(
            title=f"folder {self.root.name}",
            citation="",
            licence="the user's own",
            url="",
            kind="pictures" if pictures else "exams",
            access="here",
            expected=(),
            private=True,
        )

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each item."""
        return {name: labels.copy() for name, (_, labels) in self._items.items()}

    def path(self, patient: str) -> Path | None:
        """Return the file of a picture; None of an exam."""
        path, _ = self._items[patient]
        return path if path.name.lower().endswith(PICTURE_NAMES) else None

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels; an exam is read for its number of slices."""
        path, labels = self._items[patient]
        if path.name.lower().endswith(PICTURE_NAMES):
            return repeat_exam_labels(labels, 1)
        return repeat_exam_labels(labels, exam_of(path, patient)[0].n_slices)

    def load(self, patient: str) -> LabelledExam:
        """Read one item."""
        path, labels = self._items[patient]
        return labelled(self.name, patient, path, labels)


def _labels(place: int) -> NDArray[np.float32]:
    labels = np.zeros(6, np.float32)
    if place >= 0:
        labels[:] = np.nan  # other subtypes may be there, too
        labels[[0, place]] = 1
    return labels

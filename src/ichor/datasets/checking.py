"""A data set on disk, looked through: is everything there, can it be read, do labels and files agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset, LabelledExam
from ichor.datasets.registry import DATASETS, open_dataset
from ichor.errors import IchorError, UsageError
from ichor.labels import LABEL_NAMES
from ichor.progress import Progress

__all__ = ["Report", "check"]

_READ_ERRORS = (IchorError, OSError, ValueError, KeyError, SyntaxError)
"""What broken files raise, in pydicom, nibabel and Pillow."""


@dataclass
class Report:
    """What was found.

    Attributes
    ----------
    counts
        What there is, by what it is.
    positives
        Exams (or pictures) that have each label, and those of which it is not known: by label.
    faults
        What makes the data set wrong or unusable, a sentence each.
    unreadable
        Patients, studies or pictures whose files cannot be read.
    notes
        What was left out, or should be known.
    """

    counts: dict[str, int] = field(default_factory=dict)
    positives: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(name: str, data: Path, progress: Progress, most: int | None = None) -> Report:
    """Look a data set through.

    Parameters
    ----------
    name
        As in :func:`ichor.datasets.registry.open_dataset`.
    data
        Folder with one sub-folder a data set.
    progress
        Called with how far it is.
    most
        How many exams to read, evenly chosen; all by default.

    Raises
    ------
    UsageError
        Where there is no such data set, or none in its folder.
    """
    found = Report()
    if name in DATASETS and all(form.info.missing(data / name) for form in DATASETS[name]):
        open_dataset(name, data)  # raises, with what is missing and what to do
    try:
        dataset = open_dataset(name, data)
        patients = dataset.patients()
    except UsageError as error:
        found.faults.append(str(error))
        return found
    labels = np.stack(list(patients.values())) if patients else np.zeros((0, len(LABEL_NAMES)))
    kind = "pictures" if dataset.info.kind == "pictures" else "exams"
    found.counts[kind] = len(patients)
    groups = dataset.groups()
    if groups is not None:
        found.counts["patients"] = len(set(groups.values()))
    for place, label in enumerate(LABEL_NAMES):
        column = labels[:, place]
        found.positives[label] = (int((column == 1).sum()), int(np.isnan(column).sum()))
    if not patients:
        found.faults.append(f"{name}: found no {kind}; expected some; get the data set again")
    chosen = list(patients)
    if most is not None and most < len(chosen):
        chosen = (
            [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, most).astype(int))] if most else []
        )
        found.notes.append(f"{len(chosen):,} of {len(patients):,} {kind} were read")
    _read_each(dataset, chosen, found, progress)
    found.notes += dataset.notes
    return found


def _read_each(dataset: Dataset, chosen: list[str], found: Report, progress: Progress) -> None:
    slices = 0
    for number, patient in enumerate(chosen):
        progress(f"reading {number + 1} of {len(chosen)}", number / len(chosen))
        try:
            item = dataset.load(patient)
            labels = dataset.slice_labels(patient)
        except _READ_ERRORS as error:
            what = str(error) if isinstance(error, IchorError) else f"{type(error).__name__}: {error}"
            found.unreadable.append(patient)
            found.faults.append(f"{patient}: found that it cannot be read ({what})")
            continue
        slices += item.exam.n_slices
        found.faults += [f"{patient}: {fault}" for fault in _disagreements(item, labels.shape)]
    found.counts["slices read"] = slices


def _disagreements(item: LabelledExam, labelled: tuple[int, ...]) -> list[str]:
    """Return where labels, masks and pixels do not fit each other."""
    n = item.exam.n_slices
    out = []
    if labelled != (n, len(LABEL_NAMES)):
        out.append(f"found labels of {labelled[0]} slices; expected {n}, as its images have")
    if item.blood.shape != item.exam.volume.shape:
        out.append(f"found a mask of {item.blood.shape}; expected {item.exam.volume.shape}, as the images")
    elif item.labels.shape == (n, len(LABEL_NAMES)):
        # 1 to 6 are blood; 255 is unknown.
        marked = ((item.blood > 0) & (item.blood <= len(LABEL_NAMES))).any(axis=(1, 2))
        if wrong := int((marked & (item.labels[:, 0] == 0)).sum()):
            out.append(f"found a mask on {wrong} slices labelled negative; expected none")
    any_label, subtypes = item.labels[:, 0], np.nan_to_num(item.labels[:, 1:]).max(axis=1)
    if wrong := int(((any_label == 0) & (subtypes == 1)).sum()):
        out.append(f"found a subtype on {wrong} slices without any hemorrhage; expected any = 1 there")
    if item.exam.volume.size and item.exam.volume.min() == item.exam.volume.max():
        out.append("found images of one value; expected a head")
    return out

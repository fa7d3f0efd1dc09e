"""Folds by patient and by near-duplicate group, kept in a file, and guarded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.duplicates import ALIKE, duplicate_pairs, groups_of
from ichor.datasets.labelled import Dataset
from ichor.errors import RefusedInput, UsageError
from ichor.preparing.windows import BRAIN

__all__ = [
    "Split",
    "folds_of",
    "grouped",
    "guard",
    "load_split",
    "patient_folds",
    "save_split",
    "split_of",
    "torn_groups",
    "train_validation",
]

Labels = Mapping[str, NDArray[np.float32]]
_MOST_NAMED = 3


@dataclass(frozen=True)
class Split:
    """Who is in which fold.

    Attributes
    ----------
    dataset
        Name of the data set.
    seed
        That it was dealt with.
    folds
        Fold number by patient (or picture).
    groups
        What must stay together, by patient: a person, or pictures that are near-duplicates.
    """

    dataset: str
    seed: int
    folds: dict[str, int]
    groups: dict[str, str]


def patient_folds(patients: Labels, n_folds: int, seed: int) -> dict[str, int]:
    """Deal patients to folds so that each fold gets its share of every label, the rarest first.

    Parameters
    ----------
    patients
        ``(6,)`` exam labels by patient.
    n_folds
        How many folds.
    seed
        Shuffles patients of the same labels.

    Returns
    -------
    dict
        Fold number by patient; the same for the same patients and seed.
    """
    names = sorted(patients)
    labels = np.nan_to_num(np.stack([patients[n] for n in names]))
    counts = labels.sum(axis=0)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    rarest = [
        min((counts[j], j) for j in np.flatnonzero(row)) if row.any() else (np.inf, 6) for row in labels
    ]
    order = sorted(shuffled, key=lambda i: rarest[i])
    return {names[i]: place % n_folds for place, i in enumerate(order)}


def split_of(dataset: Dataset, n_folds: int, seed: int) -> Split:
    """Deal a data set to folds: groups stay together, rare subtypes are shared out.

    Parameters
    ----------
    dataset
        Its patients are the groups; of pictures, whose patients are not known, those that look alike are
        (:data:`ichor.datasets.duplicates.ALIKE`); where the data set knows its ``groups()``, those.
    n_folds, seed
        As in :func:`patient_folds`.

    Raises
    ------
    UsageError
        Where there are fewer groups than folds.
    """
    patients = dataset.patients()
    groups = grouped(dataset, list(patients))
    together: dict[str, NDArray[np.float32]] = {}
    for name, labels in patients.items():
        # A group has what any of its members has.
        together[groups[name]] = np.fmax(together.get(groups[name], labels), labels)
    if len(together) < n_folds:
        raise UsageError(
            f"data set {dataset.name}: found {len(together)} patients or groups; expected {n_folds} or more, "
            "one a fold; give more data, or fewer folds"
        )
    dealt = patient_folds(together, n_folds, seed)
    split = Split(dataset.name, seed, {name: dealt[groups[name]] for name in patients}, groups)
    guard(split.folds, split.groups, dataset.name)
    return split


def folds_of(dataset: Dataset, n_folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each patient: see :func:`split_of`."""
    return split_of(dataset, n_folds, seed).folds


def guard(folds: Mapping[str, int | str], groups: Mapping[str, str], name: str) -> None:
    """Refuse a split in which a patient, or a group of near-duplicates, stands on both sides.

    Parameters
    ----------
    folds
        Fold (or side: training, test) by patient or picture.
    groups
        What must stay together.
    name
        Of the split, for the error.

    Raises
    ------
    UsageError
        Naming how many groups, and the first of them.
    """
    torn = torn_groups({member: {str(fold)} for member, fold in folds.items()}, groups)
    if torn:
        named = "; ".join(
            f"{group} in {', '.join(sorted(found))}" for group, found in list(torn.items())[:_MOST_NAMED]
        )
        raise UsageError(
            f"split {name}: found {len(torn)} patients or near-duplicate groups on several sides ({named}); "
            "expected each on one; results would be too good: deal the split again by group"
        )


def torn_groups(sides: Mapping[str, set[str]], groups: Mapping[str, str]) -> dict[str, set[str]]:
    """Find what stands on several sides of a split.

    Parameters
    ----------
    sides
        Folds or sides by patient or picture.
    groups
        What must stay together; who is not in it is a group of its own.

    Returns
    -------
    dict
        The sides of each group that has more than one.
    """
    found: dict[str, set[str]] = {}
    for member, member_sides in sides.items():
        found.setdefault(groups.get(member, member), set()).update(member_sides)
    return {group: several for group, several in found.items() if len(several) > 1}


def train_validation(patients: Labels, share: float, seed: int) -> tuple[set[str], set[str]]:
    """Hold a share of training patients back, to choose by.

    Parameters
    ----------
    patients
        ``(6,)`` exam labels by patient.
    share
        Of the patients to hold back.
    seed
        Of the dealing.

    Returns
    -------
    training, validation
        Sets of patients.
    """
    folds = patient_folds(patients, max(2, round(1 / share)), seed)
    held_back = {patient for patient, fold in folds.items() if fold == 0}
    return set(patients) - held_back, held_back


def save_split(split: Split, path: Path) -> None:
    """Write a split as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(split), indent=1) + "\n")
    temporary.rename(path)


def load_split(path: Path, dataset: Dataset | None = None) -> Split:
    """Read a split, and refuse one with leakage or of other patients than its data set has.

    Raises
    ------
    UsageError
        Where the file is none, tears a group apart, or names other patients than the data set has.
    """
    try:
        data = json.loads(path.read_text())
        split = Split(data["dataset"], data["seed"], data["folds"], data["groups"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: found no split ({type(error).__name__}); expected dataset, seed, folds and groups; "
            "let ichor train write it"
        ) from None
    guard(split.folds, split.groups, str(path))
    if dataset is not None and set(split.folds) != set(dataset.patients()):
        raise UsageError(
            f"{path}: found a split of {len(split.folds)} patients of {split.dataset}; expected those "
            f"{len(dataset.patients())} of {dataset.name}; remove the file to deal the split again"
        )
    return split


def grouped(dataset: Dataset, names: list[str]) -> dict[str, str]:
    """Return what must stay together: the data set's groups, else a patient, or pictures that look alike.

    Parameters
    ----------
    dataset
        Its pictures are read where their groups are not recorded; one that cannot be read is a group of its own, and
        left to whoever needs it to refuse.
    names
        Patients or pictures.
    """
    known = dataset.groups()
    if known is not None:
        return {name: known.get(name, name) for name in names}
    if dataset.info.kind != "pictures":
        return {name: name for name in names}
    greys = {}
    for name in names:
        with contextlib.suppress(RefusedInput):
            greys[name] = BRAIN.to_grey(dataset.load(name).exam.volume[0])
    return groups_of(names, duplicate_pairs(greys, ALIKE))

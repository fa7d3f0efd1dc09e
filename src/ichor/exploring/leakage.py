"""Splits as they are found, and the patients or duplicates that they tear apart: split leakage."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from ichor.datasets.duplicates import DuplicatePair, groups_of
from ichor.datasets.labelled import Dataset
from ichor.datasets.splits import torn_groups
from ichor.errors import UsageError
from ichor.exploring.duplicates import Duplicate
from ichor.exploring.survey import Survey

__all__ = ["Leakage", "Sides", "find_leakage", "read_sides"]

_SIDE_COLUMNS = ("fold", "split", "side", "set")


@dataclass(frozen=True)
class Sides:
    """A split as it was found, however wrong.

    Attributes
    ----------
    name
        Of the file or folder.
    sides
        Where each patient stands; on several sides where there is leakage.
    """

    name: str
    sides: dict[str, set[str]]

    @property
    def names(self) -> list[str]:
        """The sides, in order."""
        return sorted({side for several in self.sides.values() for side in several})


@dataclass(frozen=True)
class Leakage:
    """A patient, or a group of duplicates, on several sides of a split.

    Attributes
    ----------
    kind
        ``patient`` or ``near-duplicates``.
    members
        The exams concerned.
    sides
        Where they stand.
    """

    kind: str
    members: tuple[str, ...]
    sides: tuple[str, ...]


def find_leakage(
    split: Sides, dataset: Dataset, survey: Survey, duplicates: list[Duplicate]
) -> list[Leakage]:
    """Find patients on several sides, and duplicates of which one is trained on and another assessed.

    Parameters
    ----------
    split
        To be searched.
    dataset
        Its groups are the patients, where it knows them.
    survey
        Its exams.
    duplicates
        What :func:`~ichor.exploring.duplicates.find_duplicates` found.
    """
    persons = dataset.groups() or {}
    leakage = []
    torn_persons = torn_groups(split.sides, persons)
    for person, sides in torn_persons.items():
        members = tuple(name for name in split.sides if persons.get(name, name) == person)
        leakage.append(Leakage("patient", members, tuple(sorted(sides))))
    names = list(survey.patients)
    pairs = [DuplicatePair(c.first, c.second, c.correlation, False, False) for c in duplicates]
    groups = groups_of(names, pairs)
    for group, sides in torn_groups(split.sides, groups).items():
        members = tuple(name for name in split.sides if groups.get(name, name) == group)
        if len(members) > 1:
            leakage.append(Leakage("near-duplicates", members, tuple(sorted(sides))))
    return leakage


def read_sides(path: Path) -> Sides:
    """Read a split from what there is: ``split.json``, a run's folder, or a CSV with ``patient`` and ``fold``.

    Raises
    ------
    UsageError
        Where none of these is there.
    """
    if path.is_dir():
        kept = path / "split.json"
        predictions = sorted(path.glob("fold-*/predictions.csv"))
        if kept.is_file():
            return Sides(path.resolve().name, _from_json(kept))
        if predictions:
            sides: dict[str, set[str]] = {}
            for file in predictions:
                for row in _rows(file, "patient"):
                    sides.setdefault(row["patient"], set()).add(file.parent.name.removeprefix("fold-"))
            return Sides(path.resolve().name, sides)
        raise _no_split(path, "a folder with neither split.json nor fold-*/predictions.csv")
    if not path.is_file():
        raise _no_split(path, "nothing there")
    if path.suffix.lower() == ".json":
        return Sides(path.name, _from_json(path))
    rows = _rows(path, "patient")
    column = next((c for c in _SIDE_COLUMNS if rows and c in rows[0]), None)
    if column is None:
        raise _no_split(path, f"a table without a column {', '.join(_SIDE_COLUMNS)}, or without rows")
    out: dict[str, set[str]] = {}
    for row in rows:
        out.setdefault(row["patient"], set()).add(row[column])
    return Sides(path.name, out)


def _from_json(path: Path) -> dict[str, set[str]]:
    try:
        folds = json.loads(path.read_text())["folds"]
        return {str(name): {str(fold)} for name, fold in folds.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_split(path, f"no split in it ({type(error).__name__})") from None


def _rows(path: Path, needed: str) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _no_split(path, f"no readable table ({type(error).__name__})") from None
    if rows and needed not in rows[0]:
        raise _no_split(path, f"a table without a column {needed}")
    return rows


def _no_split(path: Path, what: str) -> UsageError:
    return UsageError(
        f"{path}: found {what}; expected a split: the split.json that ichor train writes, a run's folder, or a CSV "
        "with patient and fold; check --splits"
    )

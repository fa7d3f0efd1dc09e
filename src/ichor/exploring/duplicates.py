"""Exams and pictures that a data set holds twice, and splits that tear them, or a patient, apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichor.datasets.duplicates import ALIKE, SAME, DuplicatePair, duplicate_pairs, groups_of
from ichor.datasets.labelled import Dataset
from ichor.datasets.splits import torn_groups
from ichor.errors import UsageError
from ichor.exploring.survey import Gathered

__all__ = ["Copy", "Leak", "Sides", "find_copies", "find_leaks", "read_sides"]

_EXAM_BITS = 8
_EXAM_SAME = 0.97
"""Slices of different heads, cut to the head, correlate up to 0.955 in CT-ICH; one stored anew, above this."""
_EXAM_LEAST_SLICES = 3
_SIDE_COLUMNS = ("fold", "split", "side", "set")


@dataclass(frozen=True)
class Copy:
    """Two exams, or two pictures, that are one.

    Attributes
    ----------
    first, second
        Their pseudonyms.
    kind
        ``equal`` pixel by pixel; a ``copy`` (resized, mirrored, windowed anew); ``alike``: perhaps neighbouring
        slices of one head.
    correlation
        Of the best pair of slices.
    slices
        How many slices of the first have a copy in the second.
    best
        The slice of either that is shown.
    form
        How one lies against the other: empty, or mirrored, turned.
    labels_differ
        Whether both are labelled otherwise.
    """

    first: str
    second: str
    kind: str
    correlation: float
    slices: int
    best: tuple[int, int]
    form: str
    labels_differ: bool


@dataclass(frozen=True)
class Sides:
    """A split as it was found, however wrong.

    Attributes
    ----------
    name
        Of the file or folder.
    sides
        Where each patient stands; on several sides where the split leaks.
    """

    name: str
    sides: dict[str, set[str]]

    @property
    def names(self) -> list[str]:
        """The sides, in order."""
        return sorted({side for here in self.sides.values() for side in here})


@dataclass(frozen=True)
class Leak:
    """A patient, or a group of copies, on several sides of a split."""

    what: str
    members: tuple[str, ...]
    sides: tuple[str, ...]


def find_copies(found: Gathered, pictures: bool) -> list[Copy]:
    """Find pictures, or exams, that are there twice; the surest first.

    Parameters
    ----------
    found
        What was gathered.
    pictures
        Whether each exam is a lone picture: then those that are merely alike are told, too.
    """
    keys = {f"{k:06d}": key for k, key in enumerate(found.compared)}
    greys = {name: found.compared[key] for name, key in keys.items()}
    exams = {name: key[0] for name, key in keys.items()}
    if pictures:
        pairs = duplicate_pairs(greys, ALIKE)
    else:
        pairs = duplicate_pairs(greys, _EXAM_SAME, bits=_EXAM_BITS, apart=exams)
    by_exams: dict[tuple[str, str], list[DuplicatePair]] = {}
    for pair in pairs:
        by_exams.setdefault((exams[pair.first], exams[pair.second]), []).append(pair)
    out = []
    for (first, second), here in by_exams.items():
        equal = {p.first for p in here if found.digests[keys[p.first]] == found.digests[keys[p.second]]}
        matched = len({p.first for p in here})
        if not pictures and not equal and matched < _EXAM_LEAST_SLICES:
            continue  # smooth slices near the vertex look alike by chance
        best = max(here, key=lambda p: (p.first in equal and p.exact, p.correlation))
        kind = "equal" if equal else "copy" if best.correlation >= SAME else "alike"
        a, b = found.patients[first], found.patients[second]
        out.append(
            Copy(
                first,
                second,
                kind,
                best.correlation,
                matched,
                (keys[best.first][1], keys[best.second][1]),
                _form(best),
                bool(np.any((a != b) & np.isfinite(a) & np.isfinite(b))),
            )
        )
    order = {"equal": 0, "copy": 1, "alike": 2}
    return sorted(out, key=lambda c: (order[c.kind], -c.correlation))


def find_leaks(split: Sides, dataset: Dataset, found: Gathered, copies: list[Copy]) -> list[Leak]:
    """Find patients on several sides, and copies of which one is trained on and another judged.

    Parameters
    ----------
    split
        To be searched.
    dataset
        Says which exams are of one patient, where it knows.
    found
        Its patients.
    copies
        What :func:`find_copies` found.
    """
    told = getattr(dataset, "groups", None)
    persons: Mapping[str, str] = told() if told is not None else {}
    leaks = []
    torn_persons = torn_groups(split.sides, persons)
    for person, sides in torn_persons.items():
        members = tuple(name for name in split.sides if persons.get(name, name) == person)
        leaks.append(Leak("patient", members, tuple(sorted(sides))))
    names = list(found.patients)
    pairs = [DuplicatePair(c.first, c.second, c.correlation, False, False) for c in copies]
    groups = groups_of(names, pairs)
    for group, sides in torn_groups(split.sides, groups).items():
        members = tuple(name for name in split.sides if groups.get(name, name) == group)
        if len(members) > 1:
            leaks.append(Leak("near-duplicates", members, tuple(sorted(sides))))
    return leaks


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


def _form(pair: DuplicatePair) -> str:
    words = ["mirrored"] * pair.mirrored + [f"turned by {pair.turned}°"] * bool(pair.turned)
    return ", ".join(words)

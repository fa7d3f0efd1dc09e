"""``predictions.csv``: the logits of exams, of their slices and of the model's grid, as scoring gave them.

An exam's logit is pooled over the slices of the model's grid, and cannot be found from native slices where those are
thinner. So every level has its rows: ``exam`` (one an exam), ``slice`` (the exam's own slices, which have labels) and,
where they are not the same, ``grid`` (the model's slices, on which stacking is fitted).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.scoring import Scores, mixed
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES
from ichor.preparing.grid import SliceDistances

__all__ = [
    "EXAM",
    "GRID",
    "SLICE",
    "ScoredExam",
    "prediction_rows",
    "read_scores",
    "read_single_scores",
    "write_predictions",
]

EXAM, SLICE, GRID = "exam", "slice", "grid"
"""What a row of the file is of: the column ``level``."""
_MILLIMETRES = "mm"
"""Column of where a slice lies along the normal; filled only where the grid's slices are not the native ones."""
_COLUMNS = ("dataset", "patient", "level", "slice", _MILLIMETRES)


class ScoredExam:
    """The logits of one head for one exam, as a file holds them.

    Parameters
    ----------
    exam
        ``(6,)``.
    native
        ``(n, 6)`` of the exam's own slices.
    grid
        ``(m, 6)`` of the model's grid; the native ones by default.
    distances
        Of both; by default the slices of the grid are the native ones.
    """

    def __init__(
        self,
        exam: NDArray[np.float64],
        native: NDArray[np.float64],
        grid: NDArray[np.float64] | None = None,
        distances: SliceDistances | None = None,
    ) -> None:
        self.exam, self.native = exam, native
        self.grid = native if grid is None else grid
        places = np.arange(len(native), dtype=np.float64)
        self.distances = SliceDistances(places, places) if distances is None else distances


def prediction_rows(
    dataset: str, patient: str, scores: Mapping[str, Scores], distances: SliceDistances
) -> Iterator[dict[str, object]]:
    """Yield the rows of one exam.

    Parameters
    ----------
    dataset, patient
        Whose.
    scores
        Of each head, by its name.
    distances
        Of the exam's slices.

    Yields
    ------
    dict
        The exam's row, those of its slices, and those of the grid where it has other slices.
    """
    same = np.array_equal(distances.grid, distances.native)

    def row(level: str, index: int | str, mm: float | str, digits: int = 5) -> dict[str, object]:
        found: dict[str, object] = dict(zip(_COLUMNS, (dataset, patient, level, index, mm), strict=True))
        for head, one in scores.items():
            values = {EXAM: one.exam, SLICE: one.native, GRID: one.grid}[level]
            values = values if level == EXAM else values[int(index)]
            found |= {
                f"{head}_{n}": f"{float(v):.{digits}f}" for n, v in zip(LABEL_NAMES, values, strict=True)
            }
        return found

    yield row(EXAM, "", "", digits=6)  # the mean of two numbers of five digits has six
    for level, places in ((SLICE, distances.native), (GRID, () if same else distances.grid)):
        for k, mm in enumerate(places):
            yield row(level, k, "" if same else round(float(mm), 4))


def write_predictions(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write rows of :func:`prediction_rows`; the file is there whole or not at all."""
    rows = list(rows)
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def read_scores(file: Path, head: str) -> dict[str, ScoredExam]:
    """Read the logits of one head, by patient.

    Raises
    ------
    UsageError
        Where the file has no such head, has no levels (it is of an older ichor), or lacks an exam's row.
    """
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or ()
        _check_columns(file, head, columns)
        exams: dict[str, NDArray[np.float64]] = {}
        levels: dict[str, dict[str, list[tuple[str, list[float]]]]] = {}
        for line, row in enumerate(reader, start=2):
            level, patient = row["level"], row["patient"]
            logits = _logits(file, line, head, row)
            if level == EXAM:
                if patient in exams:
                    raise UsageError(f"{file}, line {line}: found a second row of an exam; expected one")
                exams[patient] = np.array(logits)
            elif level in (SLICE, GRID):
                found = levels.setdefault(patient, {SLICE: [], GRID: []})[level]
                if row["slice"] != str(len(found)):
                    raise UsageError(
                        f"{file}, line {line}: found slice {row['slice']!r}; expected {len(found)}: 0, 1, ... in order"
                    )
                found.append((row.get(_MILLIMETRES) or "", logits))
            else:
                raise UsageError(
                    f"{file}, line {line}: found the level {level!r}; expected {EXAM}, {SLICE} or {GRID}"
                )
    lacking = len(levels.keys() ^ exams.keys()) + sum(not found[SLICE] for found in levels.values())
    if lacking:
        raise UsageError(
            f"{file}: found {lacking} exams without their exam row or without slices; expected both of each; "
            "remove the file and predict again: ichor train"
        )
    return {patient: _scored(file, exams[patient], found) for patient, found in levels.items()}


def read_single_scores(file: Path, pooled_share: float) -> dict[str, ScoredExam]:
    """Read the logits that the slices of a map model's exams have by themselves, by patient.

    Parameters
    ----------
    file
        Of a map model.
    pooled_share
        Of the pooled head, as :class:`~ichor.detecting.rules.SliceRule` has it.

    Raises
    ------
    UsageError
        As :func:`read_scores` does.
    """
    found = read_scores(file, "map")
    if not pooled_share:
        return found
    pooled = read_scores(file, "pooled")
    return {
        patient: ScoredExam(
            mixed(one.exam, pooled[patient].exam, pooled_share),
            mixed(one.native, pooled[patient].native, pooled_share),
            mixed(one.grid, pooled[patient].grid, pooled_share),
            one.distances,
        )
        for patient, one in found.items()
    }


def _check_columns(file: Path, head: str, columns: Iterable[str]) -> None:
    if f"{head}_any" not in columns:
        raise UsageError(f"{file}: found no column {head}_any; expected one: this model has no such head")
    if "level" not in columns:
        raise UsageError(
            f"{file}: found no column 'level'; expected rows of exams beside those of slices: an exam's logit is that "
            "of the model's grid, and cannot be found from thin slices; convert the run (python -m "
            f"ichor.evaluating.convert {file.parents[1]} --data DATA), or remove the file and predict again"
        )


def _logits(file: Path, line: int, head: str, row: Mapping[str, str]) -> list[float]:
    try:
        return [float(row[f"{head}_{name}"]) for name in LABEL_NAMES]
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{file}, line {line}: found no number for a label; expected six logits of {head!r}; "
            "remove the file and predict again: ichor train"
        ) from None


def _scored(
    file: Path, exam: NDArray[np.float64], found: Mapping[str, list[tuple[str, list[float]]]]
) -> ScoredExam:
    native = np.array([logits for _, logits in found[SLICE]])
    if not found[GRID]:
        return ScoredExam(exam, native)
    try:
        places = [np.array([float(mm) for mm, _ in found[level]]) for level in (GRID, SLICE)]
    except ValueError:
        raise UsageError(
            f"{file}: found slices of a grid without their places; expected the column {_MILLIMETRES!r} filled; "
            "remove the file and predict again: ichor train"
        ) from None
    return ScoredExam(
        exam, native, np.array([logits for _, logits in found[GRID]]), SliceDistances(places[0], places[1])
    )

"""Reference ranges of a run's exams, with which a bundle compares an input."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ichor.datasets.registry import open_dataset
from ichor.detecting.out_of_distribution import QUANTITIES, quantities, reference_ranges
from ichor.preparing import prepare
from ichor.training.run_data import RunData

__all__ = ["QUANTITIES_FILE", "exam_quantities", "input_profile"]

QUANTITIES_FILE = "traits.csv"
Row = Mapping[str, str]


def exam_quantities(data: RunData) -> list[Row]:
    """Measure every exam that a run learns from, and keep the quantities in its folder.

    Returns
    -------
    list of dict
        ``dataset``, ``patient`` and the quantities as text, empty where unknown.
    """
    recipe = data.folder.recipe
    path = data.folder.path / QUANTITIES_FILE
    names = ("dataset", "patient", *QUANTITIES)
    if path.is_file():
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows: list[Row] = list(reader)
        if tuple(reader.fieldnames or ()) == names:
            return rows
    rows = []
    for name in (recipe.target, *recipe.extra):
        dataset = open_dataset(name, data.root)
        if dataset.info.kind != "exams":
            continue
        for patient in dataset.patients():
            exam = dataset.load(patient).exam
            found = quantities(exam, prepare(exam, recipe.preparation))
            known = {key: f"{value:.5g}" for key, value in found.items()}
            rows.append({"dataset": name, "patient": patient, **dict.fromkeys(QUANTITIES, ""), **known})
    _write(path, names, rows)
    return rows


def input_profile(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """Return the range of each quantity over some rows of :func:`exam_quantities`.

    Each data set has its own cuts, and the widest count: two sources that are far apart must not make each other's
    tails look short.
    """
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(row["dataset"], []).append(row)
    found: dict[str, tuple[float, float]] = {}
    for some in by_source.values():
        for key, (low, high) in reference_ranges(
            {k: [float(r[k]) for r in some if r[k]] for k in QUANTITIES}
        ).items():
            before = found.get(key, (low, high))
            found[key] = (min(low, before[0]), max(high, before[1]))
    return found


def _write(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)

"""Tables of any system's predictions: read, checked, and joined with the labels of a data set."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.detecting.rules import ExamRule
from ichor.detecting.scoring import top_k_mean
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import EXAM, SLICE, ScoredExam
from ichor.evaluating.predictions import OutOfFold, joined
from ichor.labels import LABEL_NAMES, LABELS

__all__ = ["read_table"]

_CLIP = 1e-15
_NEVER = -20.0
"""Logit of a label that a table does not hold; it is not measured."""
_ALIASES = {
    **{label.abbreviation.lower(): label.name for label in LABELS},
    **dict.fromkeys(("hemorrhage", "haemorrhage", "any_hemorrhage"), "any"),
    **dict.fromkeys(("patient_id", "patientid"), "patient"),
    **dict.fromkeys(("image", "image_id", "sop_instance_uid"), "id"),
    "slice_index": "slice",
}
_PREFIX = re.compile(r"^(?:p|prob|probability|logit|rule)_")
Line = tuple[int, dict[str, str]]


@dataclass
class _Table:
    """What a table holds, by patient: values of slices and of exams (in the order of ``labels``), and folds."""

    path: Path
    labels: Sequence[str]
    slices: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    exams: dict[str, list[float]] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)


def read_table(path: Path, dataset: Dataset, exam_rule: ExamRule | None = None) -> OutOfFold:
    """Read any system's probabilities and join the labels of the data set.

    Parameters
    ----------
    path
        CSV with a column ``patient``, a column ``slice`` (0, 1, ... upward; not needed where each patient has
        one slice), and a probability for ``any`` and for whichever subtypes the system predicts; others
        are not measured. Instead of patient and slice, ``id`` may name the image, where the data set knows
        images by name; and Kaggle's long form is taken too, ``ID,Label`` with a row for each image and label.
        Where any value lies outside 0..1, all are taken for logits. A column ``fold`` names the fold that predicted
        a patient: with it, thresholds are chosen on the other folds. A column ``level`` may mark rows of exams
        (``exam``, without a slice): one of each patient, or none at all.
    dataset
        What was predicted.
    exam_rule
        By which an exam is pooled from its slices where the table has no rows of exams: such a system has no grid
        of ichor's. The rule of a bundle that says nothing else by default.

    Raises
    ------
    UsageError
        Where a column, a patient or a slice is missing, twice there, or no number.
    """
    lines, columns = _lines(path)
    if {"id", "label"} <= set(columns) and "any" not in columns:
        lines = _widened(path, lines)
        columns = ["id", *LABEL_NAMES]
    if "any" not in columns or not {"patient", "id"} & set(columns):
        raise UsageError(
            f"{path}: found the columns {', '.join(columns) or 'none'}; expected 'patient', 'slice', 'any' "
            "and the subtypes that the system predicts (docs/how-to/evaluate.md)"
        )
    table = _Table(path, [name for name in LABEL_NAMES if name in columns])
    images = {} if "patient" in columns else _images(dataset)
    own = _by_number(dataset)
    for line, row in lines:
        if row.get("patient") in own:
            row["patient"] = own[row["patient"]]
        _take(table, line, row, images, dataset.name)
    if table.exams and table.exams.keys() != table.slices.keys():
        raise UsageError(
            f"{path}: found rows of {len(table.exams)} exams for {len(table.slices)} patients; expected one of each, "
            "or none"
        )
    return _out_of_fold(table, dataset, exam_rule or ExamRule())


def _take(
    table: _Table, line: int, row: Mapping[str, str], images: Mapping[str, tuple[str, int]], dataset: str
) -> None:
    """Put a row in its place."""
    place = f"{table.path}, line {line}"
    index: str | int
    if "patient" in row:
        patient, index = row["patient"], row.get("slice") or 0
    elif row["id"] in images:
        patient, index = images[row["id"]]
    else:
        raise UsageError(
            f"{place}: found image {row['id']}, which {dataset} does not have; expected its "
            "own images; check --dataset, or give patient and slice"
        )
    level = row.get("level") or SLICE
    if level not in (EXAM, SLICE):
        raise UsageError(f"{place}: found the level {level!r}; expected {EXAM} or {SLICE}")
    try:
        index = int(index)
        numbers = [float(row[name]) for name in table.labels]
        fold = int(row.get("fold") or 0)
    except (TypeError, ValueError):
        raise UsageError(f"{place}: found text; expected numbers") from None
    if not np.isfinite(numbers).all():
        raise UsageError(f"{place}: found {numbers}; expected finite numbers")
    if table.folds.setdefault(patient, fold) != fold:
        raise UsageError(f"{place}: found a patient in two folds; expected each in one")
    if level == EXAM:
        if patient in table.exams:
            raise UsageError(f"{place}: found an exam of a patient again; expected each once")
        table.exams[patient] = numbers
        return
    slices = table.slices.setdefault(patient, {})
    if index in slices:
        raise UsageError(f"{place}: found slice {index} of a patient again; expected each once")
    slices[index] = numbers


def _by_number(dataset: Dataset) -> dict[str, str]:
    """Return the data set's names by how a spreadsheet writes them: ``7`` for ``007``, if no other has this number."""
    names = [name for name in dataset.patients() if name.isdecimal()]
    plain = [str(int(name)) for name in names]
    known = set(dataset.patients())
    return {
        short: name
        for short, name in zip(plain, names, strict=True)
        if plain.count(short) == 1 and short not in known
    }


def _out_of_fold(table: _Table, dataset: Dataset, exam_rule: ExamRule) -> OutOfFold:
    values = [v for slices in table.slices.values() for v in slices.values()] + list(table.exams.values())
    flat = np.array(values)
    is_probability = bool((flat >= 0).all() and (flat <= 1).all())
    known = [LABEL_NAMES.index(name) for name in table.labels]

    def logits(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        array = np.array(rows)
        if is_probability:
            p = np.clip(array, _CLIP, 1 - _CLIP)
            array = np.log(p) - np.log1p(-p)
        full = np.full((len(array), len(LABEL_NAMES)), _NEVER)
        full[:, known] = array
        return full

    scores = {}
    for patient, slices in table.slices.items():
        if sorted(slices) != list(range(len(slices))):
            raise UsageError(
                f"{table.path}: found slices {min(slices)} to {max(slices)} of patient {patient}, {len(slices)} in "
                "all; expected 0, 1, ... without gaps"
            )
        native = logits([slices[k] for k in range(len(slices))])
        own = table.exams.get(patient)
        exam = top_k_mean(native, exam_rule.slices) if own is None else logits([own])[0]
        scores[patient] = ScoredExam(exam, native)
    pooling = f"exams: mean of each label's {exam_rule.slices} highest slices, pooled here"
    found = joined(
        str(table.path),
        dataset,
        scores,
        table.folds,
        calibrated=is_probability,
        pooling="exams: as the table gives them" if table.exams else pooling,
    )
    unknown = np.setdiff1d(np.arange(len(LABEL_NAMES)), known)
    from ichor.datasets.splits import grouped

    # Pictures of one patient, or one picture twice, are drawn together, as a run's are.
    found = replace(found, groups=grouped(dataset, list(scores)))
    found.labels[:, unknown] = np.nan
    found.exam_labels[:, unknown] = np.nan
    return found


def _lines(path: Path) -> tuple[list[Line], list[str]]:
    """Return each row with its line, and the columns, under the names that are used here."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = {given: _column(given or "") for given in reader.fieldnames or ()}
            rows = [{names.get(k, ""): v for k, v in row.items()} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: found no table that can be read ({type(error).__name__}); expected CSV"
        ) from None
    columns = list(names.values())
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise UsageError(f"{path}: found the column {twice[0]} again; expected each once; leave one")
    return list(enumerate(rows, start=2)), columns if rows else []


def _column(given: str) -> str:
    name = re.sub(r"[\s-]+", "_", given.strip().lower())
    bare = _PREFIX.sub("", name)
    known = _ALIASES.get(bare, bare)
    return known if known in LABEL_NAMES else _ALIASES.get(name, name)


def _widened(path: Path, lines: Iterable[Line]) -> list[Line]:
    """Make one row of Kaggle's six rows of an image."""
    images: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in lines:
        image, _, label = (row["id"] or "").rpartition("_")
        if label not in LABEL_NAMES:
            raise UsageError(
                f"{path}, line {line}: found {row['id']!r}; expected an ID that ends in _any or a subtype"
            )
        _, one = images.setdefault(image, (line, {"id": image}))
        if label in one:
            raise UsageError(f"{path}, line {line}: found {row['id']} again; expected each once")
        one[label] = row["label"]
    for line, one in images.values():
        if len(one) <= len(LABEL_NAMES):
            lacking = ", ".join(name for name in LABEL_NAMES if name not in one)
            raise UsageError(
                f"{path}, line {line}: found {one['id']} without {lacking}; expected six rows an image"
            )
    return list(images.values())


def _images(dataset: Dataset) -> dict[str, tuple[str, int]]:
    """Patient and slice of each image: as the data set names its images, or a picture by its patient."""
    places: dict[str, tuple[str, int]] = {}
    for patient in dataset.patients():
        images = dataset.images(patient)
        if images is None:
            raise UsageError(
                f"data set {dataset.name}: found a table by image, but no images by name; expected the columns "
                "patient and slice (docs/how-to/evaluate.md)"
            )
        places |= {image: (patient, k) for k, image in enumerate(images)}
    return places

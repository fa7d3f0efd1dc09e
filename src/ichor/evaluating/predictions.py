"""What a model said of exams, joined with what is known of them: from a run's folds, or from any CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.detecting.aggregate import exam_logits
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["OutOfFold", "dataset_of", "read_predictions", "read_table"]

_CLIP = 1e-7
_NEVER = -20.0
"""Logit of a label that a table does not speak of."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class OutOfFold:
    """Logits and labels, slices and exams.

    Attributes
    ----------
    patients, folds
        ``(N,)`` of each slice.
    logits, labels
        ``(N, 6)`` of each slice; a label is NaN where it is not known.
    exam_patients, exam_folds
        ``(M,)``.
    exam_logits, exam_labels
        ``(M, 6)``.
    kind
        ``exams``; or ``pictures``, where a slice is all there is of an exam.
    calibrated
        Whether the logits are of probabilities that someone else stands for: they are taken as they are.
    """

    patients: NDArray[np.str_]
    folds: NDArray[np.intp]
    logits: NDArray[np.float64]
    labels: NDArray[np.float32]
    exam_patients: NDArray[np.str_]
    exam_folds: NDArray[np.intp]
    exam_logits: NDArray[np.float64]
    exam_labels: NDArray[np.float32]
    kind: str = "exams"
    calibrated: bool = False

    def of(self, patients: Iterable[str]) -> OutOfFold:
        """Return the part that is of some patients."""
        names = list(patients)
        slices, exams = np.isin(self.patients, names), np.isin(self.exam_patients, names)
        return OutOfFold(
            self.patients[slices],
            self.folds[slices],
            self.logits[slices],
            self.labels[slices],
            self.exam_patients[exams],
            self.exam_folds[exams],
            self.exam_logits[exams],
            self.exam_labels[exams],
            self.kind,
            self.calibrated,
        )


def read_predictions(folder: Path, dataset: Dataset, head: str = "rule") -> OutOfFold:
    """Read ``fold-*/predictions.csv`` of a run and join the labels of the data set.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        The run's target.
    head
        ``rule`` (what detection gives), ``map`` (without smoothing along the stack) or ``pooled`` (the
        auxiliary head); the latter two of map models only.

    Raises
    ------
    UsageError
        Where there are no predictions, or a patient was predicted twice or not at all.
    """
    files = sorted(Path(folder).glob("fold-*/predictions.csv"))
    if not files:
        raise UsageError(
            f"{folder}: found no fold-*/predictions.csv; expected a run's folds; run ichor train first"
        )
    fold_of: dict[str, int] = {}
    logits: dict[str, list[list[float]]] = {}
    for number, file in enumerate(files):
        with file.open(newline="") as stream:
            rows = csv.DictReader(stream)
            if f"{head}_any" not in (rows.fieldnames or ()):
                raise UsageError(
                    f"{file}: found no column {head}_any; expected one: this model has no such head"
                )
            for row in rows:
                if fold_of.setdefault(row["patient"], number) != number:
                    raise UsageError(f"{file}: found a patient predicted in two folds; expected each in one")
                logits.setdefault(row["patient"], []).append([float(row[f"{head}_{n}"]) for n in LABEL_NAMES])
    return _joined(
        str(folder), dataset, {n: np.array(v) for n, v in logits.items()}, fold_of, calibrated=False
    )


def dataset_of(path: Path) -> str:
    """Return the data set that a run was measured on, as its recipe says; ct-ich where there is no recipe."""
    recipe = Path(path) / "recipe.yaml"
    if not recipe.is_file():
        return "ct-ich"
    import yaml

    return str(yaml.safe_load(recipe.read_text())["target"])


def read_table(path: Path, dataset: Dataset) -> OutOfFold:
    """Read any system's probabilities and join the labels of the data set.

    Parameters
    ----------
    path
        CSV with a column ``patient``, a column ``slice`` (0, 1, ... upward; not needed where each patient has
        one slice), and a probability for ``any`` and for whichever subtypes the system tells. Columns that
        hold values outside 0..1 are taken for logits. A column ``fold`` tells who judged whom: with it,
        thresholds are chosen on the other folds.
    dataset
        What was judged.

    Raises
    ------
    UsageError
        Where a column, a patient or a slice is missing, twice there, or no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [{(k or "").strip().lower(): v for k, v in row.items()} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: found no table that can be read ({type(error).__name__}); expected CSV"
        ) from None
    columns = list(rows[0]) if rows else []
    for needed in ("patient", "any"):
        if needed not in columns:
            raise UsageError(
                f"{path}: found the columns {', '.join(columns) or 'none'}; expected 'patient', 'slice', 'any' "
                "and the subtypes that the system tells (docs/how-to/evaluate.md)"
            )
    told = [name for name in LABEL_NAMES if name in columns]
    values: dict[str, dict[int, list[float]]] = {}
    fold_of: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        try:
            index = int(row.get("slice") or 0)
            numbers = [float(row[name]) for name in told]
            fold = int(row.get("fold") or 0)
        except (TypeError, ValueError):
            raise UsageError(f"{path}, line {line}: found text; expected numbers") from None
        if not np.isfinite(numbers).all():
            raise UsageError(f"{path}, line {line}: found {numbers}; expected finite numbers")
        slices = values.setdefault(row["patient"], {})
        if index in slices:
            raise UsageError(
                f"{path}, line {line}: found slice {index} of a patient again; expected each once"
            )
        if fold_of.setdefault(row["patient"], fold) != fold:
            raise UsageError(f"{path}, line {line}: found a patient in two folds; expected each in one")
        slices[index] = numbers
    flat = np.array([v for slices in values.values() for v in slices.values()])
    is_probability = bool((flat >= 0).all() and (flat <= 1).all())
    logits = {}
    for patient, slices in values.items():
        if sorted(slices) != list(range(len(slices))):
            raise UsageError(
                f"{path}: found slices {min(slices)} to {max(slices)} of patient {patient}, {len(slices)} in all; "
                "expected 0, 1, ... without gaps"
            )
        array = np.array([slices[k] for k in range(len(slices))])
        if is_probability:
            p = np.clip(array, _CLIP, 1 - _CLIP)
            array = np.log(p) - np.log1p(-p)
        full = np.full((len(array), len(LABEL_NAMES)), _NEVER)
        full[:, [LABEL_NAMES.index(name) for name in told]] = array
        logits[patient] = full
    return _joined(str(path), dataset, logits, fold_of, calibrated=is_probability)


def _joined(
    source: str,
    dataset: Dataset,
    logits: Mapping[str, NDArray[np.float64]],
    fold_of: Mapping[str, int],
    *,
    calibrated: bool,
) -> OutOfFold:
    known = set(dataset.patients())
    if strangers := sorted(set(logits) - known):
        raise UsageError(
            f"{source}: found predictions for {len(strangers)} patients that {dataset.name} does not have "
            f"({', '.join(strangers[:_MOST_NAMED])}); expected its own; check --dataset"
        )
    if missing := sorted(known - set(logits)):
        raise UsageError(
            f"{source}: found predictions for {len(logits)} patients; expected {len(missing)} more "
            f"({', '.join(missing[:_MOST_NAMED])}); judge them too, or train the folds that are missing"
        )
    names = sorted(logits)
    truth = {n: dataset.slice_labels(n) for n in names}
    for name in names:
        if len(truth[name]) != len(logits[name]):
            raise UsageError(
                f"{source}: found {len(logits[name])} slices of patient {name}; expected {len(truth[name])}"
            )
    counts = [len(logits[n]) for n in names]
    exam_truth = dataset.patients()
    return OutOfFold(
        patients=np.repeat(names, counts),
        folds=np.repeat([fold_of[n] for n in names], counts),
        logits=np.concatenate([logits[n] for n in names]),
        labels=np.concatenate([truth[n] for n in names]),
        exam_patients=np.array(names),
        exam_folds=np.array([fold_of[n] for n in names]),
        exam_logits=np.stack([exam_logits(logits[n]) for n in names]),
        exam_labels=np.stack([exam_truth[n] for n in names]),
        kind=dataset.info.kind,
        calibrated=calibrated,
    )

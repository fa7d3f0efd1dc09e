"""What a model said of exams, joined with what is known of them: from a run's folds, or from any CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.detecting.rules import ExamRule
from ichor.detecting.scoring import top_k_mean
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES, LABELS

__all__ = ["OutOfFold", "dataset_of", "read_predictions", "read_table"]

_CLIP = 1e-15
_NEVER = -20.0
"""Logit of a label that a table does not speak of; it is not measured."""
_MOST_NAMED = 3
_SEQUENCE = "sequence"
"""Folder in a run, and head, of what weighs all slices of an exam."""
_ALIASES = {
    **{label.abbreviation.lower(): label.name for label in LABELS},
    **dict.fromkeys(("hemorrhage", "haemorrhage", "any_hemorrhage"), "any"),
    **dict.fromkeys(("patient_id", "patientid"), "patient"),
    **dict.fromkeys(("image", "image_id", "sop_instance_uid"), "id"),
    "slice_index": "slice",
}
_PREFIX = re.compile(r"^(?:p|prob|probability|logit|rule)_")


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
    groups
        Whom intervals draw, by patient, where that is another: a person with several exams, pictures that are
        near-duplicates.
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
    groups: Mapping[str, str] = field(default_factory=dict)

    def drawn(self, patients: NDArray[np.str_]) -> NDArray[np.str_]:
        """Return whom intervals draw for each of some patients."""
        if not self.groups:
            return patients
        return np.array([self.groups.get(str(p), str(p)) for p in patients])

    def of(self, patients: Iterable[str]) -> OutOfFold:
        """Return the part that is of some patients."""
        names = list(patients)
        slices, exams = np.isin(self.patients, names), np.isin(self.exam_patients, names)
        return replace(
            self,
            patients=self.patients[slices],
            folds=self.folds[slices],
            logits=self.logits[slices],
            labels=self.labels[slices],
            exam_patients=self.exam_patients[exams],
            exam_folds=self.exam_folds[exams],
            exam_logits=self.exam_logits[exams],
            exam_labels=self.exam_labels[exams],
        )


def read_predictions(folder: Path, dataset: Dataset, head: str | None = None) -> OutOfFold:
    """Read the predictions of a run's folds and join the labels of the data set.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        The run's target.
    head
        ``rule`` (the slice rule), ``map`` (without smoothing along the stack), ``pooled`` (the auxiliary head) or
        ``sequence`` (all of these, weighed over the slices of an exam); all but the first of map models only. By
        default what detection gives: ``sequence`` where the run has it, else ``rule``.

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
    weighed = Path(folder) / _SEQUENCE / "predictions.csv"
    if head is None:
        head = _SEQUENCE if weighed.is_file() else "rule"
    fold_of: dict[str, int] = {}
    logits: dict[str, NDArray[np.float64]] = {}
    for number, file in enumerate(files):
        said = _said(file, "rule" if head == _SEQUENCE else head)
        if twice := fold_of.keys() & said.keys():
            raise UsageError(
                f"{file}: found {len(twice)} patients predicted in two folds; expected each in one"
            )
        fold_of |= dict.fromkeys(said, number)
        logits |= said
    if head == _SEQUENCE:
        if not weighed.is_file():
            raise UsageError(
                f"{weighed}: found no file; expected one: this run does not weigh slices together"
            )
        logits = _said(weighed, head)
        if logits.keys() != fold_of.keys():
            raise UsageError(
                f"{weighed}: found {len(logits)} patients; expected the {len(fold_of)} of the folds; remove the "
                "file's folder and train the part again: --parts sequence"
            )
    found = _joined(str(folder), dataset, logits, fold_of, calibrated=False)
    if not (Path(folder) / "split.json").is_file():
        return found
    from ichor.datasets.splits import load_split

    return replace(found, groups=load_split(Path(folder) / "split.json").groups)


def _said(file: Path, head: str) -> dict[str, NDArray[np.float64]]:
    """Read ``(n, 6)`` logits of each patient from a file of predictions."""
    rows_of: dict[str, list[list[float]]] = {}
    with file.open(newline="") as stream:
        rows = csv.DictReader(stream)
        if f"{head}_any" not in (rows.fieldnames or ()):
            raise UsageError(f"{file}: found no column {head}_any; expected one: this model has no such head")
        for row in rows:
            rows_of.setdefault(row["patient"], []).append([float(row[f"{head}_{n}"]) for n in LABEL_NAMES])
    return {patient: np.array(values) for patient, values in rows_of.items()}


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
        one slice), and a probability for ``any`` and for whichever subtypes the system tells; what it does not
        tell is not measured. Instead of patient and slice, ``id`` may name the image, where the data set knows
        images by name; and Kaggle's long form is taken too, ``ID,Label`` with a row for each image and label.
        Where any value lies outside 0..1, all are taken for logits. A column ``fold`` tells who judged whom:
        with it, thresholds are chosen on the other folds.
    dataset
        What was judged.

    Raises
    ------
    UsageError
        Where a column, a patient or a slice is missing, twice there, or no number.
    """
    lines, columns = _lines(path)
    if {"id", "label"} <= set(columns) and "any" not in columns:
        lines = _widened(path, lines)
        columns = ["id", *LABEL_NAMES]
    told = [name for name in LABEL_NAMES if name in columns]
    if "any" not in columns or not {"patient", "id"} & set(columns):
        raise UsageError(
            f"{path}: found the columns {', '.join(columns) or 'none'}; expected 'patient', 'slice', 'any' "
            "and the subtypes that the system tells (docs/how-to/evaluate.md)"
        )
    places = {} if "patient" in columns else _places(dataset)
    values: dict[str, dict[int, list[float]]] = {}
    fold_of: dict[str, int] = {}
    for line, row in lines:
        if "patient" in columns:
            patient, index = row["patient"], row.get("slice") or 0
        elif row["id"] in places:
            patient, index = places[row["id"]]
        else:
            raise UsageError(
                f"{path}, line {line}: found image {row['id']}, which {dataset.name} does not have; expected its "
                "own images; check --dataset, or give patient and slice"
            )
        try:
            index = int(index)
            numbers = [float(row[name]) for name in told]
            fold = int(row.get("fold") or 0)
        except (TypeError, ValueError):
            raise UsageError(f"{path}, line {line}: found text; expected numbers") from None
        if not np.isfinite(numbers).all():
            raise UsageError(f"{path}, line {line}: found {numbers}; expected finite numbers")
        slices = values.setdefault(patient, {})
        if index in slices:
            raise UsageError(
                f"{path}, line {line}: found slice {index} of a patient again; expected each once"
            )
        if fold_of.setdefault(patient, fold) != fold:
            raise UsageError(f"{path}, line {line}: found a patient in two folds; expected each in one")
        slices[index] = numbers
    flat = np.array([v for slices in values.values() for v in slices.values()])
    is_probability = bool((flat >= 0).all() and (flat <= 1).all())
    known = [LABEL_NAMES.index(name) for name in told]
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
        full[:, known] = array
        logits[patient] = full
    found = _joined(str(path), dataset, logits, fold_of, calibrated=is_probability)
    untold = np.setdiff1d(np.arange(len(LABEL_NAMES)), known)
    found.labels[:, untold] = np.nan
    found.exam_labels[:, untold] = np.nan
    return found


def _lines(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
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


def _widened(path: Path, lines: Iterable[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str]]]:
    """Gather Kaggle's six rows of an image in one."""
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


def _places(dataset: Dataset) -> dict[str, tuple[str, int]]:
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
        exam_logits=np.stack([top_k_mean(logits[n], ExamRule().slices) for n in names]),
        exam_labels=np.stack([exam_truth[n] for n in names]),
        kind=dataset.info.kind,
        calibrated=calibrated,
        groups=dataset.groups() or {},
    )

"""Predictions of exams, joined with what is known of them: those of a run's folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.detecting.rules import SliceRule
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import ScoredExam, read_scores, read_single_scores

__all__ = ["OutOfFold", "dataset_of", "joined", "read_predictions"]

_MOST_NAMED = 3
_SEQUENCE = "sequence"
"""Folder in a run, and head, of the stacking model over all slices of an exam."""


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
    pooling
        How the exams' logits came about, where that is not the model's own rule: stated beside figures of exams.
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
    pooling: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def drawn(self, patients: NDArray[np.str_]) -> NDArray[np.str_]:
        """Return whom intervals draw for each of some patients."""
        if not self.groups:
            return patients
        return np.array([self.groups.get(str(p), str(p)) for p in patients])

    @property
    def folded(self) -> bool:
        """Whether several networks predicted, each the patients that it was not trained on."""
        return len(np.unique(self.folds)) > 1

    @property
    def origin(self) -> str:
        """What is known of whom predicted whom, as protocols state it."""
        return (
            "out of fold"
            if self.folded
            else "as predicted; whether these patients were trained on is not known"
        )

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


def read_predictions(
    folder: Path, dataset: Dataset, head: str | None = None, *, single: SliceRule | None = None
) -> OutOfFold:
    """Read the predictions of a run's folds and join the labels of the data set.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        The run's target.
    head
        ``rule`` (the slice rule), ``map`` (without smoothing along the stack), ``pooled`` (the auxiliary head) or
        ``sequence`` (the stacking model over these, for all slices of an exam); all but the first of map models
        only. By default what detection gives: ``sequence`` where the run has it, else ``rule``.
    single
        The rule of a map model: slices are scored by themselves by it, as if each were alone; in place of ``head``.

    Raises
    ------
    UsageError
        Where there are no predictions, or a patient was predicted twice or not at all; or where the files are of an
        older ichor and hold no exams: see :mod:`ichor.evaluating.convert`.
    """
    files = sorted(Path(folder).glob("fold-*/predictions.csv"))
    if not files:
        raise UsageError(
            f"{folder}: found no fold-*/predictions.csv; expected a run's folds; run ichor train first"
        )
    stacked = Path(folder) / _SEQUENCE / "predictions.csv"
    if head is None:
        head = _SEQUENCE if stacked.is_file() and single is None else "rule"
    fold_of: dict[str, int] = {}
    scores: dict[str, ScoredExam] = {}
    for number, file in enumerate(files):
        if single is not None:
            of_fold = read_single_scores(file, single.pooled_share)
        else:
            of_fold = read_scores(file, "rule" if head == _SEQUENCE else head)
        if twice := fold_of.keys() & of_fold.keys():
            raise UsageError(
                f"{file}: found {len(twice)} patients predicted in two folds; expected each in one"
            )
        fold_of |= dict.fromkeys(of_fold, number)
        scores |= of_fold
    if head == _SEQUENCE:
        if not stacked.is_file():
            raise UsageError(f"{stacked}: found no file; expected one: this run has no stacking model")
        scores = read_scores(stacked, head)
        if scores.keys() != fold_of.keys():
            raise UsageError(
                f"{stacked}: found {len(scores)} patients; expected the {len(fold_of)} of the folds; remove the "
                "file's folder and train the part again: --parts sequence"
            )
    found = joined(str(folder), dataset, scores, fold_of)
    if not (Path(folder) / "split.json").is_file():
        return found
    from ichor.datasets.splits import load_split

    return replace(found, groups=load_split(Path(folder) / "split.json").groups)


def dataset_of(path: Path) -> str:
    """Return the data set that a run was measured on, as its recipe says; ct-ich where there is no recipe."""
    recipe = Path(path) / "recipe.yaml"
    if not recipe.is_file():
        return "ct-ich"
    import yaml

    return str(yaml.safe_load(recipe.read_text())["target"])


def joined(
    source: str,
    dataset: Dataset,
    scores: Mapping[str, ScoredExam],
    fold_of: Mapping[str, int],
    *,
    calibrated: bool = False,
    pooling: str = "",
) -> OutOfFold:
    """Join predictions with the labels of a data set.

    Parameters
    ----------
    source
        What errors name.
    dataset
        What was predicted.
    scores, fold_of
        Logits, and the number of the fold, by patient.
    calibrated, pooling
        See :class:`OutOfFold`.

    Raises
    ------
    UsageError
        Where patients or slices are not those of the data set.
    """
    known = set(dataset.patients())
    if strangers := sorted(set(scores) - known):
        raise UsageError(
            f"{source}: found predictions for {len(strangers)} patients that {dataset.name} does not have "
            f"({', '.join(strangers[:_MOST_NAMED])}); expected its own; check --dataset"
        )
    if missing := sorted(known - set(scores)):
        raise UsageError(
            f"{source}: found predictions for {len(scores)} patients; expected {len(missing)} more "
            f"({', '.join(missing[:_MOST_NAMED])}); predict them too, or train the folds that are missing"
        )
    names = sorted(scores)
    truth = {n: dataset.slice_labels(n) for n in names}
    for name in names:
        if len(truth[name]) != len(scores[name].native):
            raise UsageError(
                f"{source}: found {len(scores[name].native)} slices of patient {name}; expected {len(truth[name])}"
            )
    counts = [len(scores[n].native) for n in names]
    exam_truth = dataset.patients()
    return OutOfFold(
        patients=np.repeat(names, counts),
        folds=np.repeat([fold_of[n] for n in names], counts),
        logits=np.concatenate([scores[n].native for n in names]),
        labels=np.concatenate([truth[n] for n in names]),
        exam_patients=np.array(names),
        exam_folds=np.array([fold_of[n] for n in names]),
        exam_logits=np.stack([scores[n].exam for n in names]),
        exam_labels=np.stack([exam_truth[n] for n in names]),
        kind=dataset.info.kind,
        calibrated=calibrated,
        pooling=pooling,
        groups=dataset.groups() or {},
    )

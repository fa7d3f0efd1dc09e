"""Subgroups of patients: how old, how thick the slices, how large the bleed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ichor.datasets.labelled import UNKNOWN, Dataset, LabelledExam
from ichor.evaluating import metrics as m
from ichor.evaluating.metrics import bootstrap
from ichor.evaluating.out_of_fold import Figure, levels
from ichor.evaluating.predictions import OutOfFold

__all__ = ["group_figures", "groups_of", "marked_ml"]

_ADULT_YEARS = 18.0
_THIN_MM = 3.0
_SMALL_ML, _LARGE_ML = 5.0, 30.0


def groups_of(dataset: Dataset, *, sizes: bool = True) -> dict[str, list[str]]:
    """Name the subgroups of a data set, each with its patients; a patient may be in several.

    Parameters
    ----------
    dataset
        Its :meth:`subgroup_values` and, where ``sizes``, its blood maps (every exam is read).
    sizes
        Whether to group bleeds by size; then every exam without a bleed is in each of these groups, since
        only against them can a model be right or wrong.
    """
    groups: dict[str, list[str]] = {}
    patients = dataset.patients()
    for patient in patients:
        known = dataset.subgroup_values(patient)
        if "age_years" in known:
            age = (
                "adults (18 years or more)"
                if known["age_years"] >= _ADULT_YEARS
                else "children (under 18 years)"
            )
            groups.setdefault(age, []).append(patient)
        if "thickness_mm" in known:
            thick = "slices over 3 mm" if known["thickness_mm"] > _THIN_MM else "slices of 3 mm or less"
            groups.setdefault(thick, []).append(patient)
    if sizes and dataset.info.kind == "exams":
        negative = [p for p, labels in patients.items() if labels[0] == 0]
        for patient, labels in patients.items():
            if labels[0] == 1 and (volume := marked_ml(dataset.load(patient))):
                size = "small" if volume < _SMALL_ML else "large" if volume >= _LARGE_ML else "middling"
                bound = {"small": "under 5 mL", "middling": "5 to 30 mL", "large": "30 mL or more"}[size]
                groups.setdefault(f"{size} bleeds ({bound} marked)", list(negative)).append(patient)
    return groups


def marked_ml(item: LabelledExam) -> float:
    """Volume that the data set marks as blood, in mL; 0 where spacing is unknown or nothing is marked."""
    geometry = item.exam.geometry
    if not geometry.spacing_known:
        return 0.0
    marked = int(((item.blood > 0) & (item.blood != UNKNOWN)).sum())
    return float(marked * geometry.spacing[0] * geometry.spacing[1] * geometry.slice_step / 1000)


def group_figures(run: OutOfFold, groups: dict[str, list[str]]) -> Iterator[Figure]:
    """Measure the area of ``any`` in each subgroup, at each level; n says how reliable it is."""
    found = levels(run)
    for name, patients in groups.items():
        for level in found:
            whose = run.exam_patients if level.name == "exam" else run.patients
            kept = np.isin(whose, patients) & level.known(0)
            labels = level.labels[kept, 0]
            if not len(labels) or not 0 < labels.sum() < len(labels):
                continue
            interval = bootstrap(m.roc_auc, labels, level.logits[kept, 0], level.patients[kept])
            yield Figure(
                f"{level.name} AUC, any, {name}", interval, f"within this subgroup, {run.origin}{level.note}"
            )

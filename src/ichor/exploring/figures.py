"""The figures of a report as plain values: what its JSON holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.exploring.leakage import Sides
from ichor.exploring.remarks import remarks
from ichor.exploring.summary import Exploration, co_occurrence, counts, measures, window_shares
from ichor.exploring.survey import LABEL_STATES, Survey

__all__ = ["figures_of"]


def figures_of(exploration: Exploration) -> dict[str, Any]:
    """Return all figures as plain values, none of them NaN."""
    survey = exploration.survey
    exams = np.stack(list(survey.patients.values()))
    slices = np.concatenate(list(survey.slice_labels.values()))
    return {
        "dataset": exploration.name,
        "kind": exploration.info.kind,
        "exams": len(exams),
        "exams_read": len(survey.exams),
        "sampled": survey.chosen < len(exams),
        "exams_with_counted_slices": len(survey.slice_labels),
        "slices": len(slices),
        "remarks": [{"text": r.text, "grave": r.grave} for r in remarks(exploration)],
        "labels_of_exams": counts(exams),
        "labels_of_slices": counts(slices),
        "co_occurrence_of_exams": co_occurrence(exams).tolist(),
        "co_occurrence_of_slices": co_occurrence(slices).tolist(),
        **_of_exams(exploration),
        "windows": window_shares(survey, exploration.windows),
        "hu_confidence": dict(Counter(e.hu_confidence for e in survey.exams)),
        "left_out_by_the_data_set": exploration.notes,
        "copies": _duplicates(exploration),
        "split": _split(exploration),
        "seconds": round(exploration.seconds, 1),
    }


def _of_exams(exploration: Exploration) -> dict[str, Any]:
    """Return the figures that come from each exam that was read, or that could not be."""
    survey, name_of = exploration.survey, exploration.name_of
    read = survey.exams
    return {
        "slices_per_exam": [
            {"exam": name_of(e.patient), "slices": len(e.labels), **_by_state(e.labels)} for e in read
        ],
        "measures": {key: _range(values, len(read)) for key, (_, values) in measures(survey).items()},
        "rows_and_columns": _shapes(survey),
        "unreadable": [{"exam": name_of(f.patient), "why": f.reason} for f in survey.faults],
        "slices_repeated_within_an_exam": {name_of(e.patient): e.repeated for e in read if e.repeated},
        "out_of_order": [name_of(e.patient) for e in read if e.out_of_order],
    }


def _duplicates(exploration: Exploration) -> list[dict[str, Any]]:
    return [
        {
            "first": exploration.name_of(d.first),
            "second": exploration.name_of(d.second),
            "kind": d.kind,
            "correlation": round(d.correlation, 4),
            "slices": d.slices,
            "form": d.form,
            "labels_differ": d.labels_differ,
        }
        for d in exploration.duplicates
    ]


def _split(exploration: Exploration) -> dict[str, Any] | None:
    split = exploration.split
    if split is None:
        return None
    unknown, absent = exploration.unmatched()
    return {
        "name": split.name,
        "sides": _sides(split, exploration.survey),
        "not_in_data_set": unknown,
        "not_in_split": absent,
        "leaks": [
            {
                "what": leak.kind,
                "members": [exploration.name_of(m) for m in leak.members],
                "sides": list(leak.sides),
            }
            for leak in exploration.leakage
        ],
    }


def _sides(split: Sides, survey: Survey) -> list[dict[str, Any]]:
    """Return exams and positives of each side of a split."""
    rows = []
    for side in split.names:
        members = [n for n, sides in split.sides.items() if side in sides and n in survey.patients]
        labels = np.array([survey.patients[n] for n in members], np.float32).reshape(-1, 6)
        positive = [int(n) for n in (labels == 1).sum(axis=0)]
        rows.append({"side": side, "exams": len(members), "positive": positive})
    return rows


def _by_state(labels: NDArray[np.float32]) -> dict[str, int]:
    state = np.where(np.isnan(labels[:, 0]), 2, labels[:, 0] > 0)
    return {name: int((state == k).sum()) for k, name in enumerate(LABEL_STATES)}


def _range(values: NDArray[np.float64], n: int) -> dict[str, Any]:
    if not len(values):
        return {"known": 0, "of": n}
    low, median, high = (round(float(v), 3) for v in np.quantile(values, (0, 0.5, 1)))
    return {"known": len(values), "of": n, "least": low, "median": median, "most": high}


def _shapes(survey: Survey) -> dict[str, int]:
    out: dict[str, int] = {}
    for exam in survey.exams:
        name = f"{exam.shape[0]} x {exam.shape[1]}"
        out[name] = out.get(name, 0) + 1
    return dict(sorted(out.items(), key=lambda item: -item[1]))

"""Figures of a data set that a network did not learn from, as rows of a table that a run's folder keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABELS

__all__ = ["Known", "SourceRow", "known_labels"]


class SourceRow(BaseModel):
    """A figure of one data set.

    Attributes
    ----------
    source, figure
        The data set, and what was measured.
    value, low, high
        With its 95 % interval over patients.
    unit
        Of what, and how many.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    figure: str
    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class Known:
    """What is known of one label.

    Attributes
    ----------
    unit
        ``exam``, ``slice`` or ``picture``.
    figure
        The name of its area under the ROC curve.
    labels, logits, patients
        ``(n,)`` of those whose label is known; ``patients`` is whom intervals draw.
    where
        ``(N,)`` which of all exams, slices or pictures these are.
    place
        Of the label.
    """

    unit: str
    figure: str
    labels: NDArray[np.floating]
    logits: NDArray[np.float64]
    patients: NDArray[np.str_]
    where: NDArray[np.bool_]
    place: int


def known_labels(run: OutOfFold) -> Iterator[Known]:
    """Give each label of which a set has both classes: of exams, then of slices; of pictures.

    Parameters
    ----------
    run
        What was predicted for the set.

    Yields
    ------
    Known
    """
    slices = (run.labels, run.logits, run.drawn(run.patients))
    units = {"picture": slices}
    if run.kind != "pictures":
        units = {"exam": (run.exam_labels, run.exam_logits, run.drawn(run.exam_patients)), "slice": slices}
    for unit, (labels, logits, patients) in units.items():
        for place, label in enumerate(LABELS):
            where = ~np.isnan(labels[:, place])
            y = labels[where, place]
            if 0 < y.sum() < len(y):
                figure = f"{unit} AUC, {label.display.lower()}"
                yield Known(unit, figure, y, logits[where, place], patients[where], where, place)

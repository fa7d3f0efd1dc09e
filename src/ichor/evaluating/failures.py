"""Which exams a model calls wrongly, and a picture of each: what is missed, and what is taken for blood."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ichor.datasets.labelled import UNKNOWN, Dataset, LabelledExam
from ichor.evaluating.calibration import (
    EXAM_SENSITIVITY,
    called_across_folds,
    crossfit,
    sensitive_threshold,
)
from ichor.evaluating.groups import marked_ml
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABEL_NAMES
from ichor.preparing.windows import BRAIN

__all__ = ["Failure", "failures"]

_AMBER = (255, 176, 0)
_SIDE = 320


@dataclass(frozen=True)
class Failure:
    """An exam (or picture) that was called wrongly.

    Attributes
    ----------
    patient
        The data set's own number.
    missed
        A bleed that was not called; else a false alarm.
    probability
        Calibrated on the other folds.
    subtypes
        In the labels of the data set.
    positive_slices, n_slices
        How much of the exam bleeds.
    marked_ml
        Volume that the data set marks; None where it marks nothing or spacing is unknown.
    index
        The slice of the picture: the one with most marked blood, of a false alarm the most suspicious one.
    slice_probability
        Of that slice.
    picture
        That slice in the brain window, PNG; what is marked as blood is outlined.
    """

    patient: str
    missed: bool
    probability: float
    subtypes: tuple[str, ...]
    positive_slices: int
    n_slices: int
    marked_ml: float | None
    index: int
    slice_probability: float
    picture: bytes

    @property
    def data_uri(self) -> str:
        """The picture for a page that needs nothing beside it."""
        return "data:image/png;base64," + base64.b64encode(self.picture).decode("ascii")


def failures(run: OutOfFold, dataset: Dataset) -> list[Failure]:
    """Find what is called wrongly at thresholds chosen on the other folds.

    Parameters
    ----------
    run
        Predictions out of fold.
    dataset
        What was predicted: the exams that are called wrongly are read again.

    Returns
    -------
    list of Failure
        What is missed, the least suspected first; then false alarms, the most suspected first.
    """
    truth = run.exam_labels[:, 0]
    called = called_across_folds(run, "exam", sensitive_threshold(EXAM_SENSITIVITY))
    p = crossfit(run.exam_logits, run.exam_labels, run.exam_folds, calibrated=run.calibrated)[:, 0]
    of_slices = crossfit(run.logits, run.labels, run.folds, calibrated=run.calibrated)[:, 0]
    wrong = np.flatnonzero(~np.isnan(truth) & (called != truth))
    found = []
    for i in sorted(wrong, key=lambda i: (truth[i] == 0, p[i] if truth[i] else -p[i])):
        patient = str(run.exam_patients[i])
        item = dataset.load(patient)
        slices = of_slices[run.patients == patient]
        found.append(_failure(item, bool(truth[i]), float(p[i]), slices))
    return found


def _failure(item: LabelledExam, missed: bool, p: float, slices: NDArray[np.float64]) -> Failure:
    marked = (item.blood > 0) & (item.blood != UNKNOWN)
    bleeds = item.labels[:, 0] == 1
    index = int(slices.argmax())
    if missed and bleeds.any():
        # Most marked blood; where none is marked, the most suspicious of those that bleed.
        index = int(np.lexsort((slices, marked.sum(axis=(1, 2)), bleeds))[-1])
    subtypes = [
        n for n, v in zip(LABEL_NAMES[1:], np.nanmax(item.labels[:, 1:], axis=0, initial=0), strict=True) if v
    ]
    return Failure(
        item.patient,
        missed,
        p,
        tuple(subtypes),
        int(bleeds.sum()),
        len(slices),
        marked_ml(item) or None,
        index,
        float(slices[index]),
        _picture(item.exam.volume[index], marked[index]),
    )


def _picture(plane: NDArray[np.int16], marked: NDArray[np.bool_]) -> bytes:
    grey = BRAIN.to_grey(plane)
    colour = np.repeat(grey[..., None], 3, axis=2)
    colour[ndimage.binary_dilation(marked, iterations=2) & ~marked] = _AMBER
    image = Image.fromarray(colour)
    image.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()

"""Predictions of a run, with the logits of its slices replaced by others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.rules import ExamRule
from ichor.detecting.scoring import top_k_mean
from ichor.evaluating.predictions import OutOfFold

__all__ = ["with_logits"]


def with_logits(run: OutOfFold, logits: NDArray[np.float64]) -> OutOfFold:
    """Replace the logits of a run's slices, and pool those of its exams from them.

    Parameters
    ----------
    run
        Predictions out of fold.
    logits
        ``(N, 6)``, in the order of the run's slices. Kept runs are of 5 mm slices, where native slices are those of
        the grid.
    """
    k = ExamRule().slices
    exams = np.array([top_k_mean(logits[run.patients == p], k) for p in run.exam_patients])
    return replace(run, logits=logits, exam_logits=exams)

"""Predicting exams with a trained network, as detection does: prepared, predicted, scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from ichor.datasets.labelled import Dataset
from ichor.detecting.scoring import Scores
from ichor.evaluating.prediction_files import prediction_rows
from ichor.exam import Exam
from ichor.preparing import Prepared, prepare
from ichor.preparing.grid import SliceDistances
from ichor.training.recipe import Recipe

__all__ = ["inference_device", "predict", "predict_exam", "predict_prepared"]


def inference_device(accelerator: str) -> torch.device:
    """Return where networks predict: the GPU where there is one and ``accelerator`` is not ``cpu``."""
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def predict_exam(
    network: nn.Module, exam: Exam, recipe: Recipe
) -> tuple[Mapping[str, Scores], SliceDistances]:
    """Predict and score one exam.

    Parameters
    ----------
    network
        In evaluation mode.
    exam
        What to predict.
    recipe
        Its preparation, family and rules.

    Returns
    -------
    scores, distances
        Of each head of the family, and of the exam's slices.
    """
    return predict_prepared(network, prepare(exam, recipe.preparation), recipe)


def predict_prepared(
    network: nn.Module, prepared: Prepared, recipe: Recipe
) -> tuple[Mapping[str, Scores], SliceDistances]:
    """Predict and score what was brought to the grid: see :func:`predict_exam`."""
    distances = prepared.transform.slice_distances
    family = recipe.family
    return family.scores(family.predict(network, prepared.stack), distances, family.rules(recipe)), distances


def predict(
    network: nn.Module, dataset: Dataset, patients: Iterable[str], recipe: Recipe
) -> Iterator[dict[str, object]]:
    """Predict exams, and yield the rows of ``predictions.csv``.

    Parameters
    ----------
    network
        In evaluation mode.
    dataset, patients
        Whom to predict.
    recipe
        Its preparation, family and rules.

    Yields
    ------
    dict
        See :func:`ichor.evaluating.prediction_files.prediction_rows`. Labels stay with the data set.
    """
    for patient in patients:
        scores, distances = predict_exam(network, dataset.load(patient).exam, recipe)
        yield from prediction_rows(dataset.name, patient, scores, distances)

"""Pictures, predicted as they are read: what their calibration and their threshold are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.detecting.examining import examine
from ichor.detecting.manifest import Measured, Scaling, scaled_probabilities
from ichor.errors import RefusedInput, UsageError
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import fit_calibration
from ichor.evaluating.metrics import bootstrap
from ichor.evaluating.prediction_files import (
    ScoredExam,
    prediction_rows,
    read_single_scores,
    write_predictions,
)
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABELS
from ichor.progress import Progress
from ichor.reading import read_all
from ichor.training.fitting import load_model
from ichor.training.predicting import predict_prepared
from ichor.training.reliability import measured
from ichor.training.run_data import RunData

__all__ = [
    "Pictures",
    "called_pictures",
    "fair_threshold",
    "picture_figures",
    "predict_pictures",
    "read_pictures",
]

_MIN_POSITIVES = 10


@dataclass(frozen=True)
class Pictures:
    """Predictions of pictures of several sets, none by a network that learned from it or from its like.

    Attributes
    ----------
    predictions
        Their logits and labels; names begin with their set's.
    sources
        ``(N,)`` name of each picture's set.
    refused
        How many of each set were refused, and are not among the predictions.
    """

    predictions: OutOfFold
    sources: NDArray[np.str_]
    refused: dict[str, int]


def predict_pictures(data: RunData, progress: Progress) -> None:
    """Read and predict the pictures of the recipe's ``pictures``; those of a fold that is there are kept.

    A folded set's are predicted by the network that did not train on them, another's by what ships.
    """
    for name in data.folder.recipe.pictures:
        dataset = open_dataset(name, data.root)
        folds = data.pictures_split(dataset).folds
        folder = data.folder.of_pictures(name)
        for part in data.folder.folds:
            path = folder.predictions(part)
            if path.exists():
                continue
            progress(f"pictures of {name}: {part}", 0.0)
            network = load_model(
                folder.recipe, data.folder.weights(part if name in data.folded else folder.recipe.ships)
            )
            names = sorted(picture for picture, fold in folds.items() if f"fold-{fold}" == part)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = list(_rows(network, data, dataset, names))
            if not rows:
                raise UsageError(
                    f"data set {name}: found none of {len(names)} pictures of {part} that can be assessed; expected "
                    "slices of heads; leave the set out of 'pictures', or look at what ichor detect says of them"
                )
            write_predictions(path, rows)


def _rows(
    network: nn.Module, data: RunData, dataset: Dataset, names: Sequence[str]
) -> Iterator[dict[str, object]]:
    recipe = data.folder.recipe
    for name in names:
        read = list(read_all(_file(dataset, name)))
        if len(read) != 1 or isinstance(read[0], RefusedInput):
            continue
        examined = examine(read[0], recipe.preparation)
        if examined.refused:
            continue
        scores, distances = predict_prepared(network, examined.prepared, recipe)
        yield from prediction_rows(dataset.name, name, scores, distances)


def _file(dataset: Dataset, name: str) -> Path:
    path = dataset.path(name)
    if path is None:
        raise UsageError(
            f"recipe: pictures: found {dataset.name}, whose slices are no picture files; expected sets of pictures; "
            "leave it out"
        )
    return path


def read_pictures(data: RunData) -> Pictures | None:
    """Return what :func:`predict_pictures` predicted; None where the recipe names no sets."""
    names: list[str] = []
    sources, folds, logits, labels = [], [], [], []
    groups: dict[str, str] = {}
    refused: dict[str, int] = {}
    for source in data.folder.recipe.pictures:
        dataset = open_dataset(source, data.root)
        split, truth = data.pictures_split(dataset), dataset.patients()
        found: dict[str, ScoredExam] = {}
        for part in data.folder.folds:
            file = data.folder.of_pictures(source).predictions(part)
            found |= read_single_scores(file, data.folder.recipe.slice_rule.pooled_share)
        refused[source] = len(truth) - len(found)
        for name in sorted(found):
            names.append(f"{source}/{name}")
            sources.append(source)
            folds.append(split.folds[name])
            logits.append(found[name].native[0])
            labels.append(truth[name])
            groups[names[-1]] = f"{source}/{split.groups[name]}"
    if not names:
        return None
    units = np.array(names), np.array(folds), np.stack(logits), np.stack(labels).astype(np.float32)
    return Pictures(OutOfFold(*units, *units, kind="pictures", groups=groups), np.array(sources), refused)


def fair_threshold(
    labels: NDArray[np.floating], probabilities: NDArray[np.floating], sources: NDArray[np.str_]
) -> float:
    """Return the threshold with the highest mean of the sources' accuracies: a large set does not drown a small one."""
    candidates = np.unique(np.quantile(probabilities, np.linspace(0, 1, 1001)))
    called = probabilities[None] >= candidates[:, None]
    right = called == (labels > 0.5)[None]
    worth = np.mean([right[:, sources == source].mean(axis=1) for source in np.unique(sources)], axis=0)
    return float(candidates[int(np.argmax(worth))])


def picture_figures(pictures: Pictures) -> list[Measured]:
    """Measure each set of pictures: areas, and calls at a threshold that was chosen on the other folds of all sets."""
    run, out = pictures.predictions, []
    called = called_pictures(pictures)
    for source in np.unique(pictures.sources):
        of = pictures.sources == source
        refused = f"{pictures.refused[str(source)]} of this set were refused and are not counted"
        for place, label in enumerate(LABELS):
            y = run.labels[:, place]
            inside = of & ~np.isnan(y)
            if min(y[inside].sum(), (1 - y[inside]).sum()) < _MIN_POSITIVES:
                continue
            area = bootstrap(m.roc_auc, y[inside], run.logits[inside, place], run.drawn(run.patients)[inside])
            name = f"picture AUC, {label.display.lower()}, {source}"
            out.append(measured(name, area, "pictures", f"out of fold; {refused}"))
        y = run.labels[:, 0]
        inside = of & ~np.isnan(y)
        share = (
            f"{y[inside].mean():.0%} bleed; one threshold for all sets, chosen on the other folds; {refused}"
        )
        for statistic in (m.accuracy, m.sensitivity, m.specificity):
            rate = bootstrap(statistic, y[inside], called[inside], run.drawn(run.patients)[inside])
            out.append(measured(f"picture {statistic.__name__}, {source}", rate, "pictures", share))
    return out


def called_pictures(pictures: Pictures) -> NDArray[np.float64]:
    """Call each fold's pictures by a calibration and a threshold of the others: ``(N,)``, 1 where called."""
    run = pictures.predictions
    called = np.zeros(len(run.folds))
    for fold in np.unique(run.folds):
        inside = run.folds == fold
        others = ~inside & ~np.isnan(run.labels[:, 0])
        scaling: tuple[Scaling, ...] = fit_calibration(run.logits[others, :1], run.labels[others, :1])
        p = scaled_probabilities(run.logits[:, :1], scaling)[:, 0]
        threshold = fair_threshold(run.labels[others, 0], p[others], pictures.sources[others])
        called[inside] = p[inside] >= threshold
    return called

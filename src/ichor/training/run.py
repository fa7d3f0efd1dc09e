"""A whole run of a recipe: its folds, their out-of-fold predictions, the model on all patients."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import patient_folds
from ichor.datasets.store import Store, build_store
from ichor.detecting.aggregate import slice_logits
from ichor.labels import LABEL_NAMES
from ichor.models.unet import MapNet
from ichor.preparing import prepare
from ichor.training.loop import fit, load_weights
from ichor.training.recipe import Recipe
from ichor.training.sampling import Sampler

__all__ = ["ALL", "Run", "predict"]

ALL = "all"
"""Name of the part of a run that trains on every patient."""
Log = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Run:
    """A recipe, the data and a folder for what comes out.

    Attributes
    ----------
    recipe
        What to do.
    data
        Folder with one sub-folder a data set.
    folder
        ``fold-0`` ... and ``all`` are made in it, each with its weights, log and predictions.
    weights
        ImageNet weights: True for timm's hub, a safetensors file, or None.
    log
        Told the part, the step, the number of steps and a line.
    """

    recipe: Recipe
    data: Path
    folder: Path
    weights: bool | Path | None
    log: Log

    def parts(self) -> list[str]:
        """Return the names of the run's parts: the folds, then ``all``."""
        return [f"fold-{k}" for k in range(self.recipe.n_folds)] + [ALL]

    def train(self, part: str) -> None:
        """Train one part, and predict its held-out patients; what is already there is kept."""
        recipe = self.recipe
        target = open_dataset(recipe.target, self.data)
        folds = patient_folds(target.patients(), recipe.n_folds, recipe.seed)
        held_out = {p for p, k in folds.items() if f"fold-{k}" == part}
        home = self.folder / part
        predictions = home / "predictions.csv"
        if (home / "weights.safetensors").exists() and (predictions.exists() or part == ALL):
            return
        stores = [self._store(open_dataset(name, self.data)) for name in (recipe.target, *recipe.extra)]
        sampler = Sampler(
            recipe,
            (stores[0], set(stores[0].patients) - held_out),
            [(s, set(s.patients)) for s in stores[1:]],
        )
        weights = fit(recipe, sampler, home, self.weights, lambda *args: self.log(part, *args))
        if part != ALL:
            rows = predict(load_weights(recipe, weights), target, sorted(held_out), recipe)
            _write(predictions, rows)

    def _store(self, dataset: Dataset) -> Store:
        spec = self.recipe.preparation.grid
        border = self.recipe.border
        spec = replace(spec, rows=spec.rows + 2 * border, columns=spec.columns + 2 * border, border=border)
        return build_store(
            dataset, spec, self.folder.parent / "store", lambda line: self.log("data", 0, 0, line)
        )


def predict(
    model: MapNet, dataset: Dataset, patients: Iterable[str], recipe: Recipe
) -> Iterable[dict[str, object]]:
    """Judge exams as detection does, slice by slice.

    Parameters
    ----------
    model
        In evaluation mode.
    dataset, patients
        Whom to judge.
    recipe
        Its preparation and slice rule.

    Yields
    ------
    dict
        One row a slice: dataset, patient, slice, and six logits each by the slice rule (what detection
        gives), of the slice's own map, and of the pooled head. Labels stay with the data set.
    """
    for patient in patients:
        item = dataset.load(patient)
        prepared = prepare(item.exam, recipe.preparation)
        with torch.inference_mode():
            maps, hottest, pooled = model(torch.from_numpy(prepared.stack))
        ruled = slice_logits(
            maps.numpy(),
            prepared.transform.distances,
            weights=recipe.slice_rule.weights,
            pixels=recipe.slice_rule.pixels,
            max_gap_mm=recipe.preparation.max_gap_mm,
        )
        for k in range(len(item.labels)):
            row: dict[str, object] = {"dataset": item.dataset, "patient": patient, "slice": k}
            for name, logits in (("rule", ruled[k]), ("map", hottest[k]), ("pooled", pooled[k])):
                row |= {f"{name}_{n}": f"{float(v):.5f}" for n, v in zip(LABEL_NAMES, logits, strict=True)}
            yield row


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.rename(path)

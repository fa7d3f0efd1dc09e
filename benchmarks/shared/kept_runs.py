"""The kept runs of a data set: recipe, out-of-fold predictions, time and memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import KEPT_RUNS
from ichor.datasets.labelled import Dataset
from ichor.evaluating.prediction_files import read_scores
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.training.recipe import Recipe
from ichor.training.run_folder import read_recipe

__all__ = ["BUDGET", "DEFAULTS", "KeptRun", "KeptRuns", "attempted", "files_of", "read_kept"]

DEFAULTS = {
    "head-ct-hemorrhage": "default-pictures-head-ct-hemorrhage",
    "rsna-slices": "default/folded/rsna-slices",
    "ct-ich": "default",
}
"""The data sets, and where the default's predictions of each are kept."""
_ABLATION = "ablation-"
BUDGET = "budget-"
"""Begins the name of a run with the default's time a fold (benchmarks.accuracy.equal_budgets)."""


@dataclass(frozen=True)
class KeptRun:
    """A kept run.

    Attributes
    ----------
    name
        Of its folder; of a set that a run folds beside its target, with the set's behind it.
    folder
        Of the run that trained it.
    recipe
        What was trained.
    run
        Out-of-fold predictions.
    costs
        ``run.json`` of each fold.
    """

    name: str
    folder: Path
    recipe: Recipe
    run: OutOfFold
    costs: list[dict[str, float]]


@dataclass(frozen=True)
class KeptRuns:
    """All kept runs of one data set.

    Attributes
    ----------
    default
        What ships.
    ours
        Other recipes of ours: no paper states one.
    papers
        The published recipes.
    ablations
        Variants of one of them.
    budgets
        Recipes with the default's time a fold, by the recipe's name; of all folds, or of some.
    """

    default: KeptRun
    ours: list[KeptRun]
    papers: list[KeptRun]
    ablations: list[KeptRun]
    budgets: dict[str, KeptRun]


def read_kept(dataset: Dataset) -> KeptRuns:
    """Read the kept runs of a data set.

    Raises
    ------
    SystemExit
        Where the default's is missing.
    """
    default = KEPT_RUNS / DEFAULTS[dataset.name]
    if not default.is_dir():
        raise SystemExit(f"{default}: found no run of the default on {dataset.name}; expected one")
    default_run = _read(default, dataset) or _read_folded(default, dataset)
    folders = [p for p in sorted(KEPT_RUNS.glob("*/")) if not p.name.startswith("default")]
    whole = [p for p in folders if not p.name.startswith(BUDGET)]
    found = [kept for p in whole if (kept := _read(p, dataset))]
    variants = [k for k in found if k.name.startswith(_ABLATION)]
    recipes = [k for k in found if k not in variants]
    return KeptRuns(
        default_run,
        [k for k in recipes if k.recipe.claim is None],
        [k for k in recipes if k.recipe.claim is not None],
        variants,
        {
            k.recipe.name: k
            for p in folders
            if p not in whole and (k := _read_some(p, dataset, default_run.run))
        },
    )


def files_of(folder: Path, head: str) -> list[Path]:
    """Find the files in which a run keeps the predictions of a head."""
    return sorted(folder.glob("sequence/predictions.csv" if head == "sequence" else "fold-*/predictions.csv"))


def attempted(folder: Path, run: OutOfFold, head: str) -> OutOfFold:
    """Replace a run's logits by an attempt's, for the patients that the attempt predicted."""
    found = {
        patient: exam for file in files_of(folder, head) for patient, exam in read_scores(file, head).items()
    }
    if not found:
        raise SystemExit(f"{folder}: found no fold-*/predictions.csv; expected the predictions of an attempt")
    if strangers := found.keys() - set(run.exam_patients.tolist()):
        raise SystemExit(
            f"{folder}: found {len(strangers)} patients that the run did not predict; expected its own"
        )
    kept = run.of(found)
    exams = [found[p] for p in kept.exam_patients]
    slices = np.concatenate([exam.native for exam in exams])
    return replace(kept, logits=slices, exam_logits=np.stack([exam.exam for exam in exams]))


def _read(folder: Path, dataset: Dataset) -> KeptRun | None:
    if not (folder / "recipe.yaml").exists():
        return None
    recipe = read_recipe(folder)
    if recipe.target != dataset.name:
        return None
    return KeptRun(folder.name, folder, recipe, read_predictions(folder, dataset), _costs(folder))


def _read_some(folder: Path, dataset: Dataset, run: OutOfFold) -> KeptRun | None:
    """Read a run of some folds: those of another run of this data set."""
    recipe = read_recipe(folder)
    if recipe.target != dataset.name:
        return None
    return KeptRun(folder.name, folder, recipe, attempted(folder, run, "rule"), _costs(folder))


def _read_folded(folder: Path, dataset: Dataset) -> KeptRun:
    """Read what a run of another target predicted of a set that it folds beside it."""
    run = folder.parents[1]
    name = f"{run.name}-{dataset.name}"
    recipe = read_recipe(run)
    predictions = read_predictions(folder, dataset, single=recipe.slice_rule)
    return KeptRun(name, run, recipe, predictions, _costs(run))


def _costs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("fold-*/run.json"))]

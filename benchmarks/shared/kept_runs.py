"""The kept runs of a data set: recipe, out-of-fold predictions, time and memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.shared.arguments import KEPT_RUNS
from ichor.datasets.labelled import Dataset
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.training.recipe import Recipe
from ichor.training.run_folder import read_recipe

__all__ = ["BUDGET", "DEFAULTS", "KeptRun", "KeptRuns", "read_kept"]

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
    """All kept runs of one data set: the default, the published recipes, and variants of one of them.

    ``budgets`` are recipes with the default's time a fold, by the recipe's name.
    """

    default: KeptRun
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
    folders = [p for p in sorted(KEPT_RUNS.glob("*/")) if not p.name.startswith("default")]
    found = [kept for p in folders if (kept := _read(p, dataset))]
    return KeptRuns(
        _read(default, dataset) or _read_folded(default, dataset),
        [k for k in found if not k.name.startswith((_ABLATION, BUDGET))],
        [k for k in found if k.name.startswith(_ABLATION)],
        {k.recipe.name: k for k in found if k.name.startswith(BUDGET)},
    )


def _read(folder: Path, dataset: Dataset) -> KeptRun | None:
    if not (folder / "recipe.yaml").exists():
        return None
    recipe = read_recipe(folder)
    if recipe.target != dataset.name:
        return None
    return KeptRun(folder.name, folder, recipe, read_predictions(folder, dataset), _costs(folder))


def _read_folded(folder: Path, dataset: Dataset) -> KeptRun:
    """Read what a run of another target predicted of a set that it folds beside it."""
    run = folder.parents[1]
    name = f"{run.name}-{dataset.name}"
    recipe = read_recipe(run)
    predictions = read_predictions(folder, dataset, single=recipe.slice_rule)
    return KeptRun(name, run, recipe, predictions, _costs(run))


def _costs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("fold-*/run.json"))]

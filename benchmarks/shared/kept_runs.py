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

__all__ = ["DEFAULTS", "KeptRun", "KeptRuns", "read_kept"]

DEFAULTS = {"head-ct-hemorrhage": "default-pictures-head-ct-hemorrhage", "ct-ich": "default"}
"""The data sets, and the folder of the default's run on each."""
_ABLATION = "ablation-"


@dataclass(frozen=True)
class KeptRun:
    """A kept run.

    Attributes
    ----------
    name
        Of its folder.
    recipe
        What was trained.
    run
        Out-of-fold predictions.
    costs
        ``run.json`` of each fold.
    """

    name: str
    recipe: Recipe
    run: OutOfFold
    costs: list[dict[str, float]]


@dataclass(frozen=True)
class KeptRuns:
    """All kept runs of one data set: the default, the published recipes, and variants of one of them."""

    default: KeptRun
    papers: list[KeptRun]
    ablations: list[KeptRun]


def read_kept(dataset: Dataset) -> KeptRuns:
    """Read the kept runs of a data set.

    Raises
    ------
    SystemExit
        Where the default's is missing.
    """
    found = [kept for path in sorted(KEPT_RUNS.iterdir()) if (kept := _read(path, dataset))]
    default = [k for k in found if k.name == DEFAULTS.get(dataset.name)]
    if not default:
        raise SystemExit(f"{KEPT_RUNS}: found no run of the default on {dataset.name}; expected one")
    papers = [k for k in found if not k.name.startswith((_ABLATION, "default"))]
    return KeptRuns(default[0], papers, [k for k in found if k.name.startswith(_ABLATION)])


def _read(folder: Path, dataset: Dataset) -> KeptRun | None:
    if not (folder / "recipe.yaml").exists():
        return None
    recipe = read_recipe(folder)
    if recipe.target != dataset.name:
        return None
    costs = [json.loads(p.read_text()) for p in sorted(folder.glob("fold-*/run.json"))]
    return KeptRun(folder.name, recipe, read_predictions(folder, dataset), costs)

"""Every published recipe beside the default, under one protocol: prints docs/results.md.

Usage: python -m benchmarks.accuracy.recipes [--data DIR] [--keep RUNS]

Reads the runs kept in ``benchmarks/runs`` (recipe, split, out-of-fold predictions, time and memory; no weights).
``--keep RUNS`` first copies there what a folder of finished runs holds: for each of them
``ichor train RECIPE --dataset SET --parts folds -o RUNS/RECIPE-SET`` was run.
"""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import KEPT_RUNS as KEPT
from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import change, heading, row
from benchmarks.shared.tables import figure as shown
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import accurate_threshold, called_across_folds
from ichor.evaluating.compare import Difference, compare
from ichor.evaluating.metrics import Interval, bootstrap
from ichor.evaluating.out_of_fold import levels
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.training.recipe import Recipe
from ichor.training.run_folder import read_recipe

SETS = {"head-ct-hemorrhage": "default-pictures-head-ct-hemorrhage", "ct-ich": "default"}
"""The data sets, and the run of the default on each."""
_FILES = ("predictions.csv", "log.csv", "run.json")


@dataclass(frozen=True)
class Kept:
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


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--keep", type=Path, help="folder of finished runs to keep first")
    options = arguments.parse_args()
    if options.keep:
        keep(options.keep)
    print((Path(__file__).parent / "recipes_head.md").read_text(), end="")
    for name, default in SETS.items():
        dataset = open_dataset(name, options.data)
        found = [kept for path in sorted(KEPT.iterdir()) if (kept := read(path, dataset))]
        ours = next((k for k in found if k.name == default), None)
        papers = [k for k in found if not k.name.startswith(("ablation-", "default"))]
        print_set(dataset, ours, papers)
        ablations = [k for k in found if k.name.startswith("ablation-")]
        if ablations:
            print_ablations(ablations, next(k for k in papers if k.recipe.name == "ko-xception-lstm"))


def keep(runs: Path) -> None:
    """Copy what figures rest on: no weights, no events."""
    for recipe in sorted(runs.glob("*/recipe.yaml")):
        folds = sorted(recipe.parent.glob("fold-*"))
        if not folds or not all((fold / "predictions.csv").exists() for fold in folds):
            continue
        home = KEPT / recipe.parent.name
        for source in [recipe, recipe.parent / "split.json", *(f / name for f in folds for name in _FILES)]:
            target = home / source.relative_to(recipe.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def read(folder: Path, dataset: Dataset) -> Kept | None:
    """Read a kept run if it is of this data set."""
    if not (folder / "recipe.yaml").exists():
        return None
    recipe = read_recipe(folder)
    if recipe.target != dataset.name:
        return None
    costs = [json.loads(p.read_text()) for p in sorted(folder.glob("fold-*/run.json"))]
    return Kept(folder.name, recipe, read_predictions(folder, dataset), costs)


def print_set(dataset: Dataset, ours: Kept | None, papers: list[Kept]) -> None:
    n = len(dataset.patients())
    what = "pictures" if dataset.info.kind == "pictures" else "patients"
    print(f"\n## {dataset.info.title} (`{dataset.name}`, {n} {what})\n")
    pictures = dataset.info.kind == "pictures"
    figures = (
        ["accuracy", "AUC"] if pictures else ["slice AUC", "exam AUC", "slice accuracy", "weighted log loss"]
    )
    less = ("default less this: AUC", "default less this: accuracy")
    heading("recipe", *figures, *less, "seconds a fold", "memory, MB", "weights learned", "epochs")
    for kept in ([ours] if ours else []) + papers:
        better = compare(ours.run, kept.run) if ours and kept is not ours else []
        row(
            "**default**" if kept is ours else kept.recipe.name,
            *(shown(i) for i in measures(kept.run)),
            *(difference(better, name) for name in ("AUC, any", "accuracy, any")),
            *costs(kept),
        )
    if any(k.recipe.claim for k in papers):
        print()
        heading("recipe", "the paper says", "what differs here")
        for kept in papers:
            claim = kept.recipe.claim
            if claim:
                row(kept.recipe.name, f"{claim.paper}: {claim.says}", "; ".join(claim.differs))


def measures(run: OutOfFold) -> list[Interval]:
    """Measure a table's row."""
    found = levels(run)
    first = found[0]
    known = first.known(0)
    y, patients = first.labels[known, 0], first.patients[known]
    called = called_across_folds(run, "slice", accurate_threshold)[known]
    accuracy = bootstrap(m.accuracy, y, called, patients)
    area = bootstrap(m.roc_auc, y, first.logits[known, 0], patients)
    if first.name == "picture":
        return [accuracy, area]
    exam = found[1]
    loss = bootstrap(m.weighted_log_loss, first.labels, first.probabilities, first.patients)
    return [area, bootstrap(m.roc_auc, exam.labels[:, 0], exam.logits[:, 0], exam.patients), accuracy, loss]


def print_ablations(ablations: list[Kept], base: Kept) -> None:
    print("\n### Balance and heads (paper 3: Xception's features, ct-ich)\n")
    columns = (
        "slice AUC",
        "exam AUC",
        "weighted log loss",
        "log loss less that of the recipe",
        "distinguishable",
    )
    heading("change", *columns)
    for kept in [base, *ablations]:
        area, exam, _, loss = measures(kept.run)
        name = kept.name.removeprefix("ablation-").removesuffix("-ct-ich")
        name = "the recipe: oversampled, LSTM 64" if kept is base else name
        found = [] if kept is base else [d for d in compare(kept.run, base.run) if "log loss" in d.name]
        apart = "" if not found else "no" if found[0].better == "neither" else "yes"
        less = "".join(change(d.interval, 4) for d in found)
        row(name, shown(area), shown(exam), shown(loss, 4), less, apart)


def difference(found: list[Difference], name: str) -> str:
    """Show a paired difference (of exams where there are any), bold where the interval does not hold 0."""
    named = [d for d in found if d.name.endswith(name) and not d.name.startswith("exam")]
    if not named:
        return ""
    text = change(named[0].interval)
    return text if named[0].better == "neither" else f"**{text}**"


def costs(kept: Kept) -> tuple[str, str, str, str]:
    """Median seconds and memory of a fold, weights learned, epochs."""
    if not kept.costs:
        return "-", "-", "-", "-"
    memory = [c["peak_memory_mb"] for c in kept.costs if "peak_memory_mb" in c]
    learned = kept.costs[0].get("trained_parameters", float("nan"))
    return (
        f"{statistics.median(c['seconds'] for c in kept.costs):.0f}",
        f"{max(memory):.0f}" if memory else "-",
        f"{learned / 1e6:.1f} M" if np.isfinite(learned) else "-",
        f"{max(c['epochs'] for c in kept.costs):.0f}",
    )


if __name__ == "__main__":
    main()

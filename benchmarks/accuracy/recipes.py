"""Every published recipe beside the default, under one protocol: prints docs/results.md.

Usage: python -m benchmarks.accuracy.recipes [--data DIR] [--keep RUNS] [--pictures]

Reads the runs kept in ``benchmarks/runs`` (recipe, split, out-of-fold predictions, time and memory; no weights).
``--keep RUNS`` first copies there what a folder of finished runs holds: for each of them
``ichor train RECIPE --dataset SET --parts folds -o RUNS/RECIPE-SET`` was run. ``--pictures`` draws the page's picture.
"""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.recipe_pictures import Bar, Curve, Panel, draw
from benchmarks.shared.arguments import KEPT_RUNS, ROOT, parser
from benchmarks.shared.kept_runs import DEFAULTS, KeptRun, KeptRuns, read_kept
from benchmarks.shared.tables import change, heading, row
from benchmarks.shared.tables import figure as shown
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import accurate_threshold, best_threshold, called_across_folds
from ichor.evaluating.compare import Difference, compare
from ichor.evaluating.metrics import Interval, bootstrap
from ichor.evaluating.out_of_fold import levels
from ichor.evaluating.predictions import OutOfFold

PICTURE = ROOT / "docs" / "images" / "recipes.png"
CLAIMS = {
    "balaji-resnet50": 0.94,
    "kumar-cnn": 0.526,
    "kumar-densenet201": 0.9444,
    "sujini-resnet18": 0.8567,
    "sujini-vgg16": 0.8567,
}
"""Accuracies of hemorrhage against none on data that a model was not trained on, as the papers state them."""
HEAD = """\
# The published recipes and the default, side by side

![ROC curves of every recipe on both data sets, and their accuracies with intervals beside each paper's accuracy and
the base rate](images/recipes.png)

Printed by `python -m benchmarks.accuracy.recipes --data DATA --pictures` from the runs in `benchmarks/runs`. Every
figure is out of fold: five folds, by patient (`ct-ich`), near-duplicate pictures kept together
(`head-ct-hemorrhage`); thresholds and calibrations of a fold come from the other folds; intervals are 95 %, from
2,000 resamplings of patients. In the columns "default less this" both models are measured on the same draws; bold
differences have an interval without 0.

Two cores and no model hub set bounds that the papers did not have: fewer epochs, frozen backbones, and random weights
for ResNet and DenseNet (their ImageNet weights were out of reach; `--weights hub` takes them where there is a
connection). The papers' accuracies are of other data, so they are no comparison, only what was claimed. None of these
figures is a paper's system at its best. On the pictures, the default's network was trained further from the one that
ships, which saw none of them.
"""
_COPIED = ("predictions.csv", "log.csv", "run.json")
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Measured:
    """The figures of a run on slices (or pictures) and exams, any hemorrhage but for the loss."""

    area: Interval
    accuracy: Interval
    balanced: Interval
    exam_area: Interval | None
    loss: Interval | None

    def cells(self) -> list[str]:
        """Return them in the table's order; pictures have two fewer."""
        first = [self.area] if self.exam_area is None else [self.area, self.exam_area]
        last = [] if self.loss is None else [self.loss]
        return [shown(i) for i in (*first, self.accuracy, self.balanced, *last)]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--keep", type=Path, help="folder of finished runs to keep first")
    arguments.add_argument(
        "--pictures", action="store_true", help=f"write {PICTURE.relative_to(ROOT)} as well"
    )
    options = arguments.parse_args()
    if options.keep:
        keep(options.keep)
    print(HEAD, end="")
    panels = []
    for name in DEFAULTS:
        dataset = open_dataset(name, options.data)
        kept = read_kept(dataset)
        measured = {k.name: measure(k.run) for k in (kept.default, *kept.papers, *kept.ablations)}
        print_set(dataset, kept, measured)
        if kept.ablations:
            print_ablations(kept, measured)
        panels.append(panel(dataset, kept, measured))
    if options.pictures:
        draw(panels, PICTURE)


def keep(runs: Path) -> None:
    """Copy what figures rest on: no weights, no events."""
    for recipe in sorted(runs.glob("*/recipe.yaml")):
        folds = sorted(recipe.parent.glob("fold-*"))
        if not folds or not all((fold / "predictions.csv").exists() for fold in folds):
            continue
        home = KEPT_RUNS / recipe.parent.name
        for source in [recipe, recipe.parent / "split.json", *(f / name for f in folds for name in _COPIED)]:
            target = home / source.relative_to(recipe.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


# -- figures -------------------------------------------------------------------------------------------


def balanced_accuracy(labels: Floats, called: Floats) -> float:
    """Mean of sensitivity and specificity: 0.5 for whatever answers always the same."""
    return (m.sensitivity(labels, called) + m.specificity(labels, called)) / 2


def measure(run: OutOfFold) -> Measured:
    """Measure a run; thresholds come from the other folds, for the highest accuracy or balanced accuracy."""
    found = levels(run)
    first = found[0]
    known = first.known(0)
    y, patients = first.labels[known, 0], first.patients[known]
    accurate, balanced = (
        called_across_folds(run, "slice", choose)[known] for choose in (accurate_threshold, best_threshold)
    )
    pictures = first.name == "picture"
    return Measured(
        area=bootstrap(m.roc_auc, y, first.logits[known, 0], patients),
        accuracy=bootstrap(m.accuracy, y, accurate, patients),
        balanced=bootstrap(balanced_accuracy, y, balanced, patients),
        exam_area=None
        if pictures
        else bootstrap(m.roc_auc, found[1].labels[:, 0], found[1].logits[:, 0], found[1].patients),
        loss=None
        if pictures
        else bootstrap(m.weighted_log_loss, first.labels, first.probabilities, first.patients),
    )


def base_rate(run: OutOfFold) -> tuple[Interval, Interval | None]:
    """Accuracy of always giving the commoner answer, and the log loss of each label's share in the other folds."""
    first = levels(run)[0]
    known = first.known(0)
    y = first.labels[known, 0]
    commoner = np.full(len(y), float(y.mean() > 0.5))
    accuracy = bootstrap(m.accuracy, y, commoner, first.patients[known])
    if first.name == "picture":
        return accuracy, None
    shares = np.empty_like(first.probabilities)
    for fold in np.unique(run.folds):
        shares[run.folds == fold] = np.nanmean(run.labels[run.folds != fold], axis=0)
    return accuracy, bootstrap(m.weighted_log_loss, first.labels, shares, first.patients)


# -- tables --------------------------------------------------------------------------------------------


def print_set(dataset: Dataset, kept: KeptRuns, measured: dict[str, Measured]) -> None:
    """Print the conclusion and the tables of one data set."""
    pictures = dataset.info.kind == "pictures"
    kind = "pictures" if pictures else "patients"
    print(f"\n## {dataset.info.title} (`{dataset.name}`, {len(dataset.patients())} {kind})\n")
    print(conclusion(dataset, kept, measured), end="\n\n")
    figures = (
        ("AUC", "accuracy", "balanced accuracy")
        if pictures
        else ("slice AUC", "exam AUC", "slice accuracy", "balanced slice accuracy", "weighted log loss")
    )
    heading("recipe", *figures, "the paper's accuracy", "default less this: AUC", "accuracy", "seconds a fold",
            "memory, MB", "weights learned", "epochs")  # fmt: skip
    accuracy, loss = base_rate(kept.default.run)
    chance = ["0.500"] if pictures else ["0.500", "0.500"]
    constant = [*chance, shown(accuracy), "0.500", *([shown(loss)] if loss else [])]
    row("base rate: always the commoner answer", *constant, *[None] * 7)
    for one in (kept.default, *kept.papers):
        ours = one is kept.default
        less = [] if ours else compare(kept.default.run, one.run)
        claim = CLAIMS.get(one.recipe.name)
        row(
            "**default**" if ours else one.recipe.name,
            *measured[one.name].cells(),
            f"{claim:.3f}" if claim else None,
            *(difference(less, name) for name in ("AUC, any", "accuracy, any")),
            *costs(one),
        )
    print()
    heading("recipe", "the paper says", "what differs here")
    for one in kept.papers:
        if claim_of := one.recipe.claim:
            row(one.recipe.name, f"{claim_of.paper}: {claim_of.says}", "; ".join(claim_of.differs))


def conclusion(dataset: Dataset, kept: KeptRuns, measured: dict[str, Measured]) -> str:
    """Say in sentences what the table shows."""
    unit = "picture" if dataset.info.kind == "pictures" else "slice"
    ours = measured[kept.default.name]
    gaps = {k.recipe.name: _area_gap(kept.default, k) for k in kept.papers}
    shown_gaps = [name for name, gap in gaps.items() if gap.better == "first"]
    nearest = min(gaps, key=lambda name: gaps[name].interval.value)
    base, _ = base_rate(kept.default.run)
    below = [k.recipe.name for k in kept.papers if measured[k.name].accuracy.value <= round(base.value, 4)]
    most = max(float(c["seconds"]) for k in kept.papers for c in k.costs)
    budget = statistics.median(c["seconds"] for c in kept.default.costs)
    sentences = [
        f"The default has a {unit} AUC of {shown(ours.area)}. It exceeds {len(shown_gaps)} of {len(gaps)} recipes by a "
        f"difference whose interval excludes 0; nearest is {nearest}, {change(gaps[nearest].interval)} below.",
        f"Always giving the commoner answer has an accuracy of {base.value:.3f}: "
        + (f"{', '.join(below)} do not exceed it" if below else "every recipe exceeds it")
        + ", so accuracy is to be read beside balanced accuracy and AUC.",
        f"Budgets differ: {budget:.0f} s a fold for the default, at most {most:.0f} s for a recipe.",
    ]
    return " ".join(sentences)


def _area_gap(ours: KeptRun, other: KeptRun) -> Difference:
    return next(d for d in compare(ours.run, other.run) if _is(d, "AUC, any"))


def _is(found: Difference, name: str) -> bool:
    """Whether a difference is this figure's, of slices or pictures."""
    return found.name.endswith(name) and not found.name.startswith("exam")


def print_ablations(kept: KeptRuns, measured: dict[str, Measured]) -> None:
    """Print the variants of one paper's recipe."""
    print("\n### Balance and heads (paper 3: Xception's features, ct-ich)\n")
    columns = (
        "slice AUC",
        "exam AUC",
        "weighted log loss",
        "log loss less that of the recipe",
        "distinguishable",
    )
    heading("change", *columns)
    base = next(k for k in kept.papers if k.recipe.name == "ko-xception-lstm")
    for one in [base, *kept.ablations]:
        found = measured[one.name]
        name = one.name.removeprefix("ablation-").removesuffix("-ct-ich")
        name = "the recipe: oversampled, LSTM 64" if one is base else name
        losses = [] if one is base else [d for d in compare(one.run, base.run) if "log loss" in d.name]
        apart = "" if not losses else "no" if losses[0].better == "neither" else "yes"
        less = "".join(change(d.interval, 4) for d in losses)
        digits = ((found.area, 3), (found.exam_area, 3), (found.loss, 4))
        cells = [shown(interval, places) if interval else "" for interval, places in digits]
        row(name, *cells, less, apart)


def difference(found: list[Difference], name: str) -> str:
    """Show a paired difference (of slices or pictures), bold where the interval does not include 0."""
    named = [d for d in found if _is(d, name)]
    if not named:
        return ""
    text = change(named[0].interval)
    return text if named[0].better == "neither" else f"**{text}**"


def costs(kept: KeptRun) -> tuple[str, str, str, str]:
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


# -- picture -------------------------------------------------------------------------------------------


def panel(dataset: Dataset, kept: KeptRuns, measured: dict[str, Measured]) -> Panel:
    """Gather what the picture shows of one data set."""
    curves, bars = [], []
    for one in (kept.default, *kept.papers):
        first = levels(one.run)[0]
        known = first.known(0)
        name = "default" if one is kept.default else one.recipe.name
        found = measured[one.name]
        curves.append(Curve(name, first.labels[known, 0], first.logits[known, 0], found.area.value))
        bars.append(Bar(name, found.accuracy, CLAIMS.get(one.recipe.name)))
    unit = "pictures" if dataset.info.kind == "pictures" else "slices"
    return Panel(f"{dataset.name}, {unit}", curves, bars, base_rate(kept.default.run)[0].value)


if __name__ == "__main__":
    main()

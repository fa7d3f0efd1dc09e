"""Every published recipe beside the default, under one protocol: prints docs/results.md.

Usage: python -m benchmarks.accuracy.recipes [--data DIR] [--keep RUNS] [--pictures]

Reads the runs kept in ``benchmarks/runs`` (recipe, split, out-of-fold predictions, time and memory; no weights).
``--keep RUNS`` first copies there what a folder of finished runs holds: for each of them
``ichor train RECIPE --dataset SET --parts folds -o RUNS/RECIPE-SET`` was run. ``--pictures`` draws the page's picture.
"""

from __future__ import annotations

import shutil
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
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
from ichor.evaluating.calibration import accurate_threshold, best_threshold, called_across_folds, crossfit
from ichor.evaluating.metrics import Interval, bootstrap, paired_bootstrap
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
LOSS = "ko-xception-lstm"
"""States the weighted log loss of the competition."""
HEAD = """\
# The published recipes and the default, side by side

![ROC curves of every recipe on each data set, and their accuracies with intervals beside each paper's accuracy and
the base rate](images/recipes.png)

Printed by `python -m benchmarks.accuracy.recipes --data DATA --pictures` from the runs in `benchmarks/runs`. Every
figure is out of fold: five folds, by patient (`ct-ich`), with near-duplicates (`head-ct-hemorrhage`) and slices of
one study (`rsna-slices`) kept together; thresholds and calibrations of a fold come from the other folds; intervals
are 95 %, from 2,000 resamplings of patients. In the columns "default less this" both models are measured on the same
draws; bold differences have an interval without 0.

Two cores and no model hub set bounds that the papers did not have: fewer epochs, frozen backbones, and random weights
for ResNet and DenseNet (their ImageNet weights were out of reach; `--weights hub` takes them where there is a
connection). The papers' accuracies are of other data, so they are no comparison, only what was claimed. None of these
figures is a paper's system at its best. On `head-ct-hemorrhage`, the default's network was trained further from the
one that shipped before, which saw none of them; on `rsna-slices`, one training on all sets gives the default's
figures. Seconds are of one or two cores, some busy with other work, and leave out the features of a frozen backbone,
computed once for all folds. Learning curves, confusion matrices and the ROC of every label:
[recipe by recipe](results-by-recipe.md).
"""
EQUAL = "AUC with the default's time"
EQUAL_WORDS = """\
Each recipe was given as many epochs as the default's time a fold holds, and stopped where the loss on training patients
held back (15 %) had not fallen for five epochs; the best epoch's weights count
(`python -m benchmarks.accuracy.equal_budgets`). Those with Xception, VGG-16 or EfficientNet-Lite0 begin with ImageNet
weights, the others with random ones, as above. `open`, the default's network on the same exams, from random weights, by
its own schedule. One core each, bf16. Not trained so far: {missing}.
"""
_COPIED = ("predictions.csv", "log.csv", "run.json")
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Scored:
    """What figures of a run are made from: slices, or pictures; each computed once.

    Attributes
    ----------
    labels, logits
        ``(n,)`` of any hemorrhage.
    drawn
        ``(n,)`` whom intervals draw.
    called, called_balanced
        ``(n,)`` verdicts at thresholds from the other folds, for the highest accuracy and balanced accuracy.
    probabilities
        ``(n, 6)``, calibrated on the other folds; None where subtypes are not known.
    """

    labels: Floats
    logits: Floats
    drawn: NDArray[np.str_]
    called: Floats
    called_balanced: Floats
    probabilities: Floats | None


@dataclass(frozen=True)
class Measured:
    """The figures of a run, of any hemorrhage but for the loss."""

    scored: Scored
    area: Interval
    accuracy: Interval
    balanced: Interval
    exam_area: Interval | None
    loss: Interval | None

    def cells(self) -> list[str]:
        """Return them in the table's order; pictures have no exams, some no subtypes and so no loss."""
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
        every = (kept.default, *kept.ours, *kept.papers, *kept.ablations)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            measured = dict(
                zip((k.name for k in every), pool.map(measure, [k.run for k in every]), strict=True)
            )
        print_set(dataset, kept, measured)
        if kept.budgets:
            print_equal_budgets(kept)
        if kept.ablations:
            print_ablations(kept, measured)
        panels.append(panel(dataset, kept, measured))
    if options.pictures:
        draw(panels, PICTURE)


def keep(runs: Path) -> None:
    """Copy what figures rest on, of the folds that are done: no weights, no events."""
    for recipe in sorted(runs.glob("*/recipe.yaml")):
        folds = sorted(f.parent for f in recipe.parent.glob("fold-*/predictions.csv"))
        if not folds:
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


def scored(run: OutOfFold) -> Scored:
    """Calibrate and call a run across its folds."""
    if np.isnan(run.labels[:, 0]).any():
        raise SystemExit("found slices whose label is not known; expected kept runs of labelled slices")
    called, balanced = (called_across_folds(run, "slice", c) for c in (accurate_threshold, best_threshold))
    p = None if np.isnan(run.labels).any() else crossfit(run.logits, run.labels, run.folds)
    return Scored(run.labels[:, 0], run.logits[:, 0], run.drawn(run.patients), called, balanced, p)


def measure(run: OutOfFold) -> Measured:
    """Measure a run."""
    s = scored(run)
    area = bootstrap(m.roc_auc, s.labels, s.logits, s.drawn)
    accuracy = bootstrap(m.accuracy, s.labels, s.called, s.drawn)
    balanced = bootstrap(balanced_accuracy, s.labels, s.called_balanced, s.drawn)
    exam_area = loss = None
    if run.kind != "pictures":
        exams = run.drawn(run.exam_patients)
        exam_area = bootstrap(m.roc_auc, run.exam_labels[:, 0], run.exam_logits[:, 0], exams)
    if s.probabilities is not None:
        loss = bootstrap(m.weighted_log_loss, run.labels, s.probabilities, s.drawn)
    return Measured(s, area, accuracy, balanced, exam_area, loss)


def base_rate(run: OutOfFold) -> tuple[Interval, Interval | None]:
    """Accuracy of always giving the commoner answer, and the log loss of each label's share in the other folds."""
    y, drawn = run.labels[:, 0], run.drawn(run.patients)
    accuracy = bootstrap(m.accuracy, y, np.full(len(y), float(y.mean() > 0.5)), drawn)
    if np.isnan(run.labels).any():
        return accuracy, None
    shares = np.empty(run.labels.shape)
    for fold in np.unique(run.folds):
        shares[run.folds == fold] = run.labels[run.folds != fold].mean(axis=0)
    return accuracy, bootstrap(m.weighted_log_loss, run.labels, shares, drawn)


@dataclass(frozen=True)
class Gap:
    """By how much the default exceeds a recipe, on the same draws."""

    area: Interval
    accuracy: Interval


def gap(ours: Scored, other: Scored) -> Gap:
    """Compare two runs of the same slices."""
    y, drawn = ours.labels, ours.drawn
    area, _ = paired_bootstrap(m.roc_auc, y, ours.logits, other.logits, drawn)
    accuracy, _ = paired_bootstrap(m.accuracy, y, ours.called, other.called, drawn)
    return Gap(area, accuracy)


def differs(interval: Interval) -> bool:
    """Whether the interval of a difference excludes 0."""
    return interval.low > 0 or interval.high < 0


# -- tables --------------------------------------------------------------------------------------------


def print_set(dataset: Dataset, kept: KeptRuns, measured: dict[str, Measured]) -> None:
    """Print the conclusion and the tables of one data set."""
    pictures = dataset.info.kind == "pictures"
    kind = "pictures" if pictures else "patients"
    print(f"\n## {dataset.info.title} (`{dataset.name}`, {len(dataset.patients())} {kind})\n")
    ours = measured[kept.default.name]
    gaps = {k.name: gap(ours.scored, measured[k.name].scored) for k in (*kept.ours, *kept.papers)}
    accuracy, loss = base_rate(kept.default.run)
    published = {k.name: gaps[k.name] for k in kept.papers}
    print(conclusion(kept, measured, published, accuracy), end="\n\n")
    figures = (
        ["AUC", "accuracy", "balanced accuracy"]
        if pictures
        else ["slice AUC", "exam AUC", "slice accuracy", "balanced slice accuracy"]
    )
    if loss:
        figures.append("weighted log loss")
    heading("recipe", *figures, "the paper's accuracy", "default less this: AUC", "accuracy", "seconds a fold",
            "memory, MB", "weights learned", "epochs", *[EQUAL] * bool(kept.budgets))  # fmt: skip
    chance = ["0.500"] if pictures else ["0.500", "0.500"]
    constant = [*chance, shown(accuracy), "0.500", *([shown(loss)] if loss else [])]
    row("base rate: always the commoner answer", *constant, *[None] * 7)
    for one in (kept.default, *kept.ours, *kept.papers):
        claim, less = CLAIMS.get(one.recipe.name), gaps.get(one.name)
        row(
            f"**{name_of(one, kept)}**" if one.recipe.claim is None else one.recipe.name,
            *measured[one.name].cells(),
            f"{claim:.3f}" if claim else None,
            *(map(difference, (less.area, less.accuracy)) if less else (None, None)),
            *costs(one),
            *([equal_budget(one, kept)] if kept.budgets else []),
        )
    if not kept.papers:
        return
    print()
    heading("recipe", "the paper says", "here, out of fold", "what differs here")
    for one in kept.papers:
        if claim_of := one.recipe.claim:
            words = f"{claim_of.paper}: {claim_of.says}"
            row(one.recipe.name, words, beside(one, measured[one.name]), "; ".join(claim_of.differs))


def name_of(one: KeptRun, kept: KeptRuns) -> str:
    """Return the name of a recipe; of the default's variant for pictures, the default's."""
    return "default" if one is kept.default else one.recipe.name


def beside(one: KeptRun, found: Measured) -> str:
    """Return the figure that answers a paper's: its accuracy, or the loss of the one that states a loss."""
    unit = "" if found.exam_area is None else "slice "
    if one.recipe.name in CLAIMS:
        return f"{unit}accuracy {shown(found.accuracy)}"
    if one.recipe.name == LOSS and found.loss is not None:
        return f"weighted log loss {shown(found.loss)}"
    return f"{unit}AUC {shown(found.area)}"


def conclusion(kept: KeptRuns, measured: dict[str, Measured], gaps: dict[str, Gap], base: Interval) -> str:
    """Put in sentences what the table shows."""
    unit = "picture" if kept.default.run.kind == "pictures" else "slice"
    names = {k.name: k.recipe.name for k in kept.papers}
    if not gaps:
        return (
            f"- The default has a {unit} AUC of {shown(measured[kept.default.name].area)}; no published recipe was "
            f"trained on this set yet.\n- Always giving the commoner answer has an accuracy of {base.value:.3f}."
        )
    exceeded = sum(g.area.low > 0 for g in gaps.values())
    nearest = min(gaps, key=lambda name: gaps[name].area.value)
    below = [names[n] for n in names if measured[n].accuracy.value <= base.value + 5e-4]
    most = max(c["seconds"] for k in kept.papers for c in k.costs)
    budget = statistics.median(c["seconds"] for c in kept.default.costs)
    return "\n".join(
        (
            f"- The default has a {unit} AUC of {shown(measured[kept.default.name].area)}. It exceeds {exceeded} of "
            f"{len(gaps)} recipes by a difference whose interval excludes 0; the nearest is {names[nearest]}, with a "
            f"difference of {change(gaps[nearest].area)}.",
            f"- Always giving the commoner answer has an accuracy of {base.value:.3f}. "
            + (
                f"These recipes do not exceed it, so accuracy alone says little: {', '.join(below)}."
                if below
                else "Every recipe exceeds it."
            ),
            f"- Budgets differ: {budget:.0f} s a fold for the default, at most {most:.0f} s for a recipe.",
        )
    )


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
    reference = measured[base.name].scored
    for one in [base, *kept.ablations]:
        found = measured[one.name]
        name = one.name.removeprefix("ablation-").removesuffix("-ct-ich")
        name = "the recipe: oversampled, LSTM 64" if one is base else name
        less = apart = ""
        if one is not base and found.scored.probabilities is not None and reference.probabilities is not None:
            labels, p, q = one.run.labels, found.scored.probabilities, reference.probabilities
            change_of_loss, _ = paired_bootstrap(m.weighted_log_loss, labels, p, q, reference.drawn)
            less, apart = change(change_of_loss, 4), "yes" if differs(change_of_loss) else "no"
        digits = ((found.area, 3), (found.exam_area, 3), (found.loss, 4))
        cells = [shown(interval, places) if interval else "" for interval, places in digits]
        row(name, *cells, less, apart)


def difference(interval: Interval) -> str:
    """Show a paired difference, bold where its interval excludes 0."""
    return f"**{change(interval)}**" if differs(interval) else change(interval)


def equal_budget(one: KeptRun, kept: KeptRuns) -> str | None:
    """Return the area of a recipe with the default's time, and of how many folds."""
    budget = kept.budgets.get(one.recipe.name)
    if budget is None:
        return None
    y = budget.run.labels[:, 0]
    area = bootstrap(m.roc_auc, y, budget.run.logits[:, 0], budget.run.drawn(budget.run.patients))
    some = "" if len(budget.costs) == one.recipe.n_folds else f", folds: {len(budget.costs)}"
    return f"{shown(area)}{some}"


def print_equal_budgets(kept: KeptRuns) -> None:
    """Print each recipe with the default's time beside itself and the default, on the same slices."""
    print("\n### The default's time for every recipe\n")
    names = [one.recipe.name for one in (*kept.ours, *kept.papers)]
    some = any(len(budget.costs) < budget.recipe.n_folds for budget in kept.budgets.values())
    missing = [f"`{name}`" for name in names if name not in kept.budgets] + ["the other folds"] * some
    print(EQUAL_WORDS.format(missing=", ".join(missing) or "none"))
    heading("recipe", "folds", "slices", "as above: AUC", EQUAL, "difference", "default less this", "epochs learned",
            "seconds a fold")  # fmt: skip
    for one in (*kept.ours, *kept.papers):
        budget = kept.budgets.get(one.recipe.name)
        if budget is None:
            continue
        y, drawn = budget.run.labels[:, 0], budget.run.drawn(budget.run.patients)
        short, longer, ours = (
            run.of(budget.run.exam_patients).logits[:, 0] for run in (one.run, budget.run, kept.default.run)
        )
        gained, _ = paired_bootstrap(m.roc_auc, y, longer, short, drawn)
        less, _ = paired_bootstrap(m.roc_auc, y, ours, longer, drawn)
        epochs = sorted({int(c["epochs"]) for c in budget.costs})
        row(
            one.recipe.name + (" from random weights" if one.recipe.claim is None else ""),
            len(budget.costs),
            f"{len(y)}, {int(y.sum())} positive",
            *(shown(bootstrap(m.roc_auc, y, logits, drawn)) for logits in (short, longer)),
            difference(gained),
            difference(less),
            f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else epochs[0],
            f"{statistics.median(c['seconds'] for c in budget.costs):.0f}",
        )


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
        name = "default" if one is kept.default else one.recipe.name
        found = measured[one.name]
        curves.append(Curve(name, found.scored.labels, found.scored.logits, found.area.value))
        bars.append(Bar(name, found.accuracy, CLAIMS.get(one.recipe.name)))
    unit = "pictures" if dataset.info.kind == "pictures" else "slices"
    return Panel(f"{dataset.name}, {unit}", curves, bars, base_rate(kept.default.run)[0].value)


if __name__ == "__main__":
    main()

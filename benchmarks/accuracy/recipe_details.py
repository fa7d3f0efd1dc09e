"""Each published recipe and the default by itself: learning curves, confusion matrix, ROC of every label.

Usage: python -m benchmarks.accuracy.recipe_details [--data DIR] [--pictures]

Prints docs/results-by-recipe.md from the runs kept in ``benchmarks/runs``; ``--pictures`` draws its pictures.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.recipe_pictures import Curve, Details, draw_details, read_log
from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.kept_runs import DEFAULTS, KeptRun, read_kept
from benchmarks.shared.tables import figure as shown
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.calibration import best_threshold, called_across_folds
from ichor.evaluating.metrics import Interval, bootstrap
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABELS

PICTURES = ROOT / "docs" / "images" / "recipes"
HEAD = """\
# Recipe by recipe

Printed by `python -m benchmarks.accuracy.recipe_details --data DATA --pictures` from the runs that
[the comparison](results.md) is made of. Curves of loss and accuracy: one line a fold, on what was drawn to train on
(thin; with augmentation and, where the recipe says so, balanced) and on patients held back (thick, every few epochs).
Confusion matrices count slices or pictures out of fold, each called at the threshold with the highest balanced
accuracy in the other folds. In brackets behind an AUC: its 95 % interval.
"""


@dataclass(frozen=True)
class Found:
    """What is said of a run: the areas of its labels, and its verdicts."""

    areas: list[Interval | None]
    called: NDArray[np.floating]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--pictures", action="store_true", help=f"write {PICTURES.relative_to(ROOT)} as well"
    )
    options = arguments.parse_args()
    print(HEAD, end="")
    for name in DEFAULTS:
        dataset = open_dataset(name, options.data)
        kept = read_kept(dataset)
        every = (kept.default, *kept.papers)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            found = list(pool.map(measure, [one.run for one in every]))
        print(f"\n## {dataset.info.title} (`{name}`)\n")
        print_areas(every, found)
        for one, of in zip(every, found, strict=True):
            title = "default" if one is kept.default else one.recipe.name
            picture = PICTURES / f"{one.name}.png"
            print(f"\n### {title} on `{name}`\n\n![{title} on {name}: loss and accuracy an epoch, confusion matrix, "
                  f"ROC](images/recipes/{picture.name})")  # fmt: skip
            if options.pictures:
                draw_details(details(one, of), picture)


def measure(run: OutOfFold) -> Found:
    """Measure every label that has both answers."""
    drawn = run.drawn(run.patients)
    areas: list[Interval | None] = []
    for place in range(len(LABELS)):
        y = run.labels[:, place]
        known = ~np.isnan(y)
        both = 0 < y[known].sum() < known.sum()
        areas.append(bootstrap(m.roc_auc, y[known], run.logits[known, place], drawn[known]) if both else None)
    return Found(areas, called_across_folds(run, "slice", best_threshold))


def print_areas(every: tuple[KeptRun, ...], found: list[Found]) -> None:
    """Print the areas of all labels, and in words which recipes are at chance or below it."""
    labels = [k for k, area in enumerate(found[0].areas) if area is not None]
    heading("recipe", *(f"AUC, {LABELS[k].display.lower()}" for k in labels))
    chance: list[str] = []
    for place, (one, of) in enumerate(zip(every, found, strict=True)):
        name = "**default**" if place == 0 else one.recipe.name
        row(name, *(shown(area) if (area := of.areas[k]) else None for k in labels))
        chance += [
            f"{one.recipe.name} on {LABELS[k].display.lower()} ({area.value:.3f})"
            for k in labels
            if (area := of.areas[k]) and area.value < 0.5
        ]
    if len(labels) > 1:
        words = f"Below chance (0.5): {', '.join(chance)}." if chance else "None is below chance (0.5)."
        positives = ", ".join(
            f"{LABELS[k].display.lower()} {int(every[0].run.labels[:, k].sum())}" for k in labels
        )
        print(f"\n{words} Slices with each label, of {len(every[0].run.labels)}: {positives}.")


def details(one: KeptRun, found: Found) -> Details:
    """Gather what a run's picture shows."""
    run = one.run
    truth, called = run.labels[:, 0] > 0.5, found.called > 0.5
    curves = [
        Curve(LABELS[k].display, run.labels[:, k], run.logits[:, k], area.value)
        for k, area in enumerate(found.areas)
        if area is not None
    ]
    counts = np.array([[np.sum((truth == t) & (called == c)) for c in (False, True)] for t in (False, True)])
    logs = [read_log(path) for path in sorted(one.folder.glob("fold-*/log.csv"))]
    return Details(curves, counts, logs)


if __name__ == "__main__":
    main()

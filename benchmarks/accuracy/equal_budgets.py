"""Train every published recipe on CT-ICH for as long as the default may, until it no longer learns.

Usage: python -m benchmarks.accuracy.equal_budgets --runs DIR [--weights FOLDER] [--only RECIPE]... [--fold N]...

A recipe gets as many epochs as fit into the seconds that a fold of the default took (its kept run, over the epoch of
the recipe's own kept run), and stops early: where the loss on training patients that are held back no longer falls
(``early_stopping`` of a recipe). A run that was stopped goes on. Recipes whose backbone has weights in the folder begin
with them; ``--only open`` trains the default's network on the same exams from random weights, by its own schedule,
beside those that had to. Then ``python -m benchmarks.accuracy.recipes --keep DIR --pictures`` keeps the runs, of all
folds or of some, and the page has a table of them.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks.shared.arguments import parser
from benchmarks.shared.kept_runs import BUDGET, KeptRun, read_kept
from ichor.datasets.registry import open_dataset
from ichor.training.calls import train
from ichor.training.hardware import Hardware

DATASET = "ct-ich"


def main(arguments: list[str] | None = None) -> None:
    """Train what is asked for."""
    options = parser(__doc__)
    options.add_argument("--runs", type=Path, required=True, help="where the runs go")
    options.add_argument("--weights", type=Path, help="folder of BACKBONE.safetensors; else random ones")
    options.add_argument("--only", action="append", metavar="RECIPE", help="by default every published one")
    options.add_argument("--fold", action="append", type=int, metavar="N", help="by default all")
    options.add_argument("--threads", type=int, default=0, help="0: all cores")
    asked = options.parse_args(arguments)
    kept = read_kept(open_dataset(DATASET, asked.data))
    seconds = statistics.median(c["seconds"] for c in kept.default.costs)
    wanted = asked.only or [k.recipe.name for k in kept.papers]
    for one in (k for k in (*kept.papers, *kept.ours) if k.recipe.name in wanted):
        is_ours = one.recipe.claim is None
        shorter = [
            f"epochs={epochs_within(one, seconds)}",
            "validate_epochs=1",
            "early_stopping={patience: 5, share: 0.15}",
        ]
        train(
            one.recipe.name,
            asked.data,
            asked.runs / f"{BUDGET}{one.recipe.name}-{DATASET}",
            dataset=DATASET,
            settings=[] if is_ours else shorter,
            weights="none" if is_ours else weights_of(one, asked.weights),
            parts=",".join(f"fold-{n}" for n in asked.fold) if asked.fold else "folds",
            hardware=Hardware("cpu", workers=0, threads=asked.threads),
            progress=lambda doing, _: print(doing, file=sys.stderr, flush=True),
        )


def epochs_within(one: KeptRun, seconds: float) -> int:
    """Return how many epochs of a recipe fit into a time, at the pace of its kept run."""
    pace = statistics.median(c["seconds"] / c["epochs"] for c in one.costs)
    return max(1, int(seconds / pace))


def weights_of(one: KeptRun, folder: Path | None) -> str:
    """Return the file of a recipe's backbone, or ``none``."""
    backbone = one.recipe.model.backbone
    path = None if folder is None else folder / f"{backbone}.safetensors"
    return str(path) if path is not None and path.is_file() else "none"


if __name__ == "__main__":
    main()

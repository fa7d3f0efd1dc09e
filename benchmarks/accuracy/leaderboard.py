"""Bundles over the data sets at hand, beside what always saying "no" gives: prints a leaderboard.

Usage: python -m benchmarks.accuracy.leaderboard [--bundle NAME|PATH]... [--dataset NAME]... [--data DIR]

``--bundle A+B`` is a combination. A data set may be ``csv:FILE`` or ``folder:DIR``, too. Every exam goes by the very
path of detection; calibrations and thresholds come from the other folds, by patient; intervals are 95 %, over patients.
A bundle that learned from a data set is marked: its figures there are too good.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import figure, heading, row
from ichor.errors import UsageError
from ichor.evaluating.bundles import Cost, evaluate_bundles
from ichor.evaluating.metrics import Interval
from ichor.evaluating.page import Evaluation

DATASETS = ("ct-ich", "cq500", "aisd", "bhsd")
"""Exams; pictures have a table of their own (benchmarks.accuracy.pictures)."""
FIGURES = {
    "exam AUC": "exam AUC, any",
    "slice AUC": "slice AUC, any",
    "sensitivity": "exam sensitivity, any",
    "specificity": "exam specificity, any",
    "weighted log loss": "slice weighted log loss",
}
"""Columns, and the figures of an evaluation that they hold."""


def main(arguments: list[str] | None = None) -> None:
    """Print a table for each data set."""
    options = parser(__doc__)
    options.add_argument("--bundle", action="append", metavar="NAME|PATH", help="by default default and fast")
    options.add_argument(
        "--dataset", action="append", metavar="NAME", help=f"by default {', '.join(DATASETS)}"
    )
    asked = options.parse_args(arguments)
    for dataset in asked.dataset or DATASETS:
        print(f"\n## {dataset.rpartition('/')[2]}\n")
        first = True
        for bundle in asked.bundle or ("default", "fast"):
            try:
                found, [cost] = evaluate_bundles([bundle], dataset, asked.data)
            except UsageError as error:
                print(f"{bundle}: not measured. {str(error).rpartition('/')[2]}\n")
                continue
            if first:
                _base_rates(found)
                heading("bundle", *FIGURES, "median s", "memory, MB", "exams", "left out")
                first = False
            _row(found, cost)


def _base_rates(found: Evaluation) -> None:
    """Say what always "no" gives: an accuracy below it is worth nothing."""
    run = found.run
    for level, labels in (("exams", run.exam_labels[:, 0]), ("slices", run.labels[:, 0])):
        known = labels[np.isfinite(labels)]
        if len(known):
            rate = float(known.mean())
            entropy = -sum(p * np.log(p) for p in (rate, 1 - rate) if p > 0)
            print(
                f'{level}: {len(known)}, of which {int(known.sum())} bleed ({rate:.1%}); always "no" has accuracy '
                f"{1 - rate:.3f} and AUC 0.5, the base rate a log loss of {entropy:.3f} for `any`.  "
            )
    print()


def _row(found: Evaluation, cost: Cost) -> None:
    figures: Mapping[str, Interval] = {
        one.name: one.interval for rows in found.figures.values() for one in rows
    }
    shown = [figure(figures[name]) if name in figures else None for name in FIGURES.values()]
    marked = f"{found.name} (learned from it)" if cost.learned_from else found.name
    memory = None if cost.memory_mb is None else f"{cost.memory_mb:.0f}"
    row(marked, *shown, f"{cost.median:.2f}", memory, cost.exams, cost.left_out)


if __name__ == "__main__":
    main()

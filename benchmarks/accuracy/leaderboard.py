"""Bundles over the data sets at hand, beside what always saying "no" gives: prints a leaderboard, or writes its page.

Usage: python -m benchmarks.accuracy.leaderboard [--bundle NAME|PATH]... [--dataset NAME]... [--data DIR] [-o PAGE]

``--bundle A+B`` is a combination. A data set may be ``csv:FILE`` or ``folder:DIR``, too. Every exam and picture goes
by the very path of detection; calibrations and thresholds come from the other folds, by patient; intervals are 95 %,
over patients. A bundle that learned from a data set is marked: its figures there are too good.
``-o docs/leaderboard.md`` writes the page of the documentation anew, data set by data set.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import figure, heading, row
from ichor.errors import UsageError
from ichor.evaluating.bundles import Cost, evaluate_bundles
from ichor.evaluating.metrics import Interval
from ichor.evaluating.page import Evaluation

DATASETS = ("head-ct-hemorrhage", "ct-ich", "phe-sich")
FIGURES = {
    "exams": {
        "exam AUC": "exam AUC, any",
        "slice AUC": "slice AUC, any",
        "sensitivity": "exam sensitivity, any",
        "specificity": "exam specificity, any",
        "weighted log loss": "slice weighted log loss",
    },
    "pictures": {
        "AUC": "picture AUC, any",
        "sensitivity": "picture sensitivity, any",
        "specificity": "picture specificity, any",
        "weighted log loss": "picture weighted log loss",
    },
}
"""Columns, and the figures of an evaluation that they hold, by what a data set is of."""
PAGE = """# Leaderboard

<!-- Written by python -m benchmarks.accuracy.leaderboard -o docs/leaderboard.md: change that, not this. -->

Bundles over the labelled exams and pictures at hand, by the very path of detection, beside what always saying "no"
gives. Calibrations and thresholds come from the other folds, by patient; intervals are 95 %, over patients. *Learned
from it*: the bundle saw them in training, and its figures there are too good; out of fold, the shipped model is on its
[own page](reference/results.md). Seconds are of one exam or picture, reading apart; memory is of the whole process.
Not here: `open` (in its card), `rsna-slices`, from which both learned ([out of fold](results.md)), and sets of one to
three exams.

```bash
python -m benchmarks.accuracy.leaderboard --bundle default --bundle PATH --dataset csv:exams.csv   # yours beside it
```
"""
"""Head of the page."""


def main(arguments: list[str] | None = None) -> None:
    """Print a table for each data set."""
    options = parser(__doc__)
    options.add_argument("--bundle", action="append", metavar="NAME|PATH", help="by default default and fast")
    options.add_argument(
        "--dataset", action="append", metavar="NAME", help=f"by default {', '.join(DATASETS)}"
    )
    options.add_argument("-o", "--output", type=Path, help="write a page instead of printing")
    asked = options.parse_args(arguments)
    bundles, page = asked.bundle or ("default", "fast"), PAGE
    for dataset in asked.dataset or DATASETS:
        if asked.output is None:
            _table(dataset, bundles, asked.data)
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            _table(dataset, bundles, asked.data)
        page += printed.getvalue().rstrip() + "\n"
        asked.output.write_text(page, encoding="utf-8")


def _table(dataset: str, bundles: Sequence[str], data: Path) -> None:
    """Print a data set's bundles, one a row; in a sentence what cannot be measured."""
    print(f"\n## {dataset.rpartition('/')[2]}\n")
    first = True
    left_out: dict[str, list[str]] = {}
    for bundle in bundles:
        try:
            found, [cost] = evaluate_bundles([bundle], dataset, data)
        except UsageError as error:
            left_out.setdefault(str(error).rpartition("/")[2], []).append(Path(bundle).name)
            continue
        if first:
            _base_rates(found)
            heading("bundle", *FIGURES[found.run.kind], "median s", "memory, MB", found.run.kind, "left out")
            first = False
        _row(found, cost)
    for reason, names in left_out.items():
        print(f"\nNot measured: {', '.join(names)}. {reason}\n")


def _base_rates(found: Evaluation) -> None:
    """Say what always "no" gives: an accuracy below it is worth nothing."""
    run = found.run
    exams = (("exams", run.exam_labels[:, 0]), ("slices", run.labels[:, 0]))
    for level, labels in (("pictures", run.labels[:, 0]),) if run.kind == "pictures" else exams:
        known = labels[np.isfinite(labels)]
        rate = float(known.mean()) if len(known) else 0.0
        if len(known) and rate in (0, 1):
            print(f"{level}: {len(known)}, of which {int(known.sum())} bleed: no area and no base rate.  ")
        elif len(known):
            entropy = -sum(p * np.log(p) for p in (rate, 1 - rate))
            print(
                f'{level}: {len(known)}, of which {int(known.sum())} bleed ({rate:.1%}); always "no" has accuracy '
                f"{1 - rate:.3f} and AUC 0.5, the base rate a log loss of {entropy:.3f} for `any`.  "
            )
    print()


def _row(found: Evaluation, cost: Cost) -> None:
    figures: Mapping[str, Interval] = {
        one.name: one.interval for rows in found.figures.values() for one in rows
    }
    wanted = (figures.get(name) for name in FIGURES[found.run.kind].values())
    shown = [None if one is None or np.isnan(one.value) else figure(one) for one in wanted]
    marked = f"{found.name} (learned from it)" if cost.learned_from else found.name
    memory = None if cost.memory_mb is None else f"{cost.memory_mb:.0f}"
    row(marked, *shown, f"{cost.median:.2f}", memory, cost.exams, sum(cost.left_out.values()))


if __name__ == "__main__":
    main()

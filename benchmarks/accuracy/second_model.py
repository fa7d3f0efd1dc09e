"""What a second model beside the default would add: mean of both, out of fold.

Usage: python -m benchmarks.accuracy.second_model [--data DIR] [--share 0.5]

Of each other recipe kept in ``benchmarks/runs``, its logits and the default's are divided by their standard
deviation on the other folds and averaged; the area under the ROC curve of slices less that of the default alone, on
the same draws of patients. Costs nothing but a table: no network runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.arguments import parser
from benchmarks.shared.kept_runs import DEFAULTS, read_kept
from benchmarks.shared.tables import change, heading, row
from benchmarks.shared.tables import figure as shown
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.metrics import Interval, bootstrap, paired_bootstrap
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABELS


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--share", type=float, default=0.5, help="of the mean, that of the second model")
    options = arguments.parse_args()
    for name in DEFAULTS:
        kept = read_kept(open_dataset(name, options.data))
        default, papers = kept.default.run, kept.papers
        print(f"\n{name}\n")
        told = [default.labels[~np.isnan(default.labels[:, j]), j] for j in range(len(LABELS))]
        labels = [j for j, known in enumerate(told) if 0 < known.sum() < len(known)]
        heading("default with", *(f"AUC, {LABELS[j].display.lower()}" for j in labels))
        row("nothing", *(shown(area(default, j)) for j in labels))
        alone = [(k.recipe.name, [k.run]) for k in (*kept.ours, *papers)]
        for title, runs in [*alone, ("the mean of all published", [k.run for k in papers])]:
            row(title, *(change(gain(default, runs, j, options.share)) for j in labels))


def area(run: OutOfFold, label: int) -> Interval:
    """Area of the default alone."""
    known = ~np.isnan(run.labels[:, label])
    return bootstrap(
        m.roc_auc, run.labels[known, label], run.logits[known, label], run.drawn(run.patients)[known]
    )


def gain(default: OutOfFold, others: Sequence[OutOfFold], label: int, share: float) -> Interval:
    """Area of the mean less that of the default."""
    known = ~np.isnan(default.labels[:, label])
    own = even(default, label)
    second = np.mean([even(aligned(other, default), label) for other in others], axis=0)
    mixed = (1 - share) * own + share * second
    found, _ = paired_bootstrap(
        m.roc_auc,
        default.labels[known, label],
        mixed[known],
        own[known],
        default.drawn(default.patients)[known],
    )
    return found


def even(run: OutOfFold, label: int) -> NDArray[np.float64]:
    """Centre a label's logits and divide them by their deviation, as these are on the other folds."""
    logits = np.asarray(run.logits[:, label], float).copy()
    for fold in np.unique(run.folds):
        others = run.logits[run.folds != fold, label]
        inside = run.folds == fold
        logits[inside] = (logits[inside] - others.mean()) / others.std()
    return logits


def aligned(run: OutOfFold, reference: OutOfFold) -> OutOfFold:
    """See that both predicted the same slices in the same order."""
    if not np.array_equal(run.patients, reference.patients):
        raise SystemExit("found kept runs of other slices; expected the same of every recipe")
    return run


if __name__ == "__main__":
    main()

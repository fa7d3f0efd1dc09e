"""An attempt, measured on all folds or on some, beside the same folds of a run.

Usage: python -m benchmarks.accuracy.attempts ATTEMPT [--against RUN] [--data DIR]

Both need only their predictions (benchmarks/runs). Differences are paired, intervals draw patients. The stacking model
over all slices of an exam is compared where both have it, single slices of the sets that both fold beside their target
label by label, by the run's own rule.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import KEPT_RUNS, parser
from benchmarks.shared.kept_runs import attempted, files_of
from benchmarks.shared.tables import change, heading, row
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.evaluating.prediction_files import ScoredExam, read_single_scores
from ichor.evaluating.predictions import dataset_of, read_predictions
from ichor.labels import LABEL_NAMES
from ichor.training.run_folder import read_recipe

HEADS = {
    "sequence": "stacking",
    "rule": "the slice rule",
    "map": "map, slice by slice",
    "pooled": "pooled head",
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("attempt", type=Path, help="folder of the attempt, some folds or all")
    arguments.add_argument(
        "--against",
        type=Path,
        dest="run",
        default=KEPT_RUNS / "default",
        help="the run; default: the kept one",
    )
    options = arguments.parse_args()
    dataset = open_dataset(dataset_of(options.run), options.data)
    heading("head", "of", "AUC: the run", "the attempt", "difference")
    for head, name in HEADS.items():
        if head == "sequence" and not all(files_of(f, head) for f in (options.run, options.attempt)):
            continue
        run = read_predictions(options.run, dataset, head)
        new = attempted(options.attempt, run, head)
        old = run.of(new.exam_patients)
        for level, y, a, b, patients in (
            ("slice", old.labels, old.logits, new.logits, old.patients),
            ("exam", old.exam_labels, old.exam_logits, new.exam_logits, old.exam_patients),
        ):
            difference, _ = paired_bootstrap(roc_auc, y[:, 0], b[:, 0], a[:, 0], old.drawn(patients))
            areas = [f"{roc_auc(y[:, 0], p[:, 0]):.3f}" for p in (a, b)]
            row(name, f"{len(y)} {level}s", *areas, change(difference))
    for folder in sorted((options.attempt / "folded").glob("*")):
        if (options.run / "folded" / folder.name).is_dir():
            _single_slices(folder, options.run, open_dataset(folder.name, options.data))


def _single_slices(folder: Path, run: Path, dataset: Dataset) -> None:
    """Compare single slices of a folded set, label by label."""
    rule = read_recipe(run).slice_rule
    old = read_predictions(run / "folded" / folder.name, dataset, single=rule)
    found: dict[str, ScoredExam] = {}
    for file in files_of(folder, "rule"):
        found |= read_single_scores(file, rule.pooled_share)
    old = old.of(found)
    new = np.concatenate([found[name].native for name in old.exam_patients])
    for j, label in enumerate(LABEL_NAMES):
        y, a, b = old.labels[:, j], old.logits[:, j], new[:, j]
        difference, _ = paired_bootstrap(roc_auc, y, b, a, old.drawn(old.patients))
        areas = [f"{roc_auc(y, p):.3f}" for p in (a, b)]
        row(label, f"{len(y)} of {folder.name}", *areas, change(difference))


if __name__ == "__main__":
    main()

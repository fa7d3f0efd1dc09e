"""An attempt, measured on all folds or on some, beside the same folds of a run.

Usage: python -m benchmarks.accuracy.attempts ATTEMPT [--against RUN] [--data DIR]

Both need only their predictions (benchmarks/runs). Differences are paired, intervals draw patients. The stacking model
over all slices of an exam is compared where both have it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import KEPT_RUNS, parser
from benchmarks.shared.tables import change, heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.evaluating.prediction_files import read_scores
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions

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
    heading("head", "of", "AUC, any: the run", "the attempt", "difference")
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


def files_of(folder: Path, head: str) -> list[Path]:
    """Find the files in which a run keeps the predictions of a head."""
    return sorted(folder.glob("sequence/predictions.csv" if head == "sequence" else "fold-*/predictions.csv"))


def attempted(folder: Path, run: OutOfFold, head: str) -> OutOfFold:
    """Replace a run's logits by an attempt's, for the patients that the attempt predicted."""
    found = {
        patient: exam for file in files_of(folder, head) for patient, exam in read_scores(file, head).items()
    }
    if not found:
        raise SystemExit(f"{folder}: found no fold-*/predictions.csv; expected the predictions of an attempt")
    if strangers := found.keys() - set(run.exam_patients.tolist()):
        raise SystemExit(
            f"{folder}: found {len(strangers)} patients that the run did not predict; expected its own"
        )
    kept = run.of(found)
    exams = [found[p] for p in kept.exam_patients]
    slices = np.concatenate([exam.native for exam in exams])
    return replace(kept, logits=slices, exam_logits=np.stack([exam.exam for exam in exams]))


if __name__ == "__main__":
    main()

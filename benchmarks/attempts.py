"""An attempt that was measured on some folds only, beside the same folds of a run.

Usage: python benchmarks/attempts.py ATTEMPT [RUN] [DATA]

Both need only their predictions (benchmarks/runs). Differences are paired, intervals draw
patients.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ichor.datasets.registry import open_dataset
from ichor.detecting.aggregate import exam_logits
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.labels import LABEL_NAMES

HEADS = {"rule": "shipped", "map": "map, slice by slice", "pooled": "pooled head"}


def attempted(folder: Path, run: OutOfFold, head: str) -> OutOfFold:
    """Put an attempt's logits in the place of a run's, for the patients that the attempt judged."""
    found: dict[str, list[list[float]]] = {}
    for file in sorted(folder.glob("fold-*/predictions.csv")):
        with file.open(newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault(row["patient"], []).append([float(row[f"{head}_{n}"]) for n in LABEL_NAMES])
    if not found:
        raise SystemExit(f"{folder}: found no fold-*/predictions.csv; expected the predictions of an attempt")
    kept = run.of(found)
    exams = np.array([exam_logits(np.array(found[p])) for p in kept.exam_patients])
    slices = np.concatenate([found[p] for p in kept.exam_patients])
    return replace(kept, logits=slices, exam_logits=exams)


def main(attempt: Path, folder: Path, data: Path) -> None:
    dataset = open_dataset(dataset_of(folder), data)
    print("| opinion | of | AUC, any: the run | the attempt | difference |")
    print("|---|---|---|---|---|")
    for head, name in HEADS.items():
        run = read_predictions(folder, dataset, head)
        new = attempted(attempt, run, head)
        old = run.of(new.exam_patients)
        for level, y, a, b, who in (
            ("slice", old.labels, old.logits, new.logits, old.patients),
            ("exam", old.exam_labels, old.exam_logits, new.exam_logits, old.exam_patients),
        ):
            less, _ = paired_bootstrap(roc_auc, y[:, 0], b[:, 0], a[:, 0], old.drawn(who))
            cells = [f"{roc_auc(y[:, 0], p[:, 0]):.3f}" for p in (a, b)]
            cells.append(f"{less.value:+.3f} ({less.low:+.3f} to {less.high:+.3f})")
            print(f"| {name} | {len(y)} {level}s | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(*(Path(a) for a in (sys.argv[1:] + ["benchmarks/runs/default", "../shared/data"][len(sys.argv) - 2 :])))

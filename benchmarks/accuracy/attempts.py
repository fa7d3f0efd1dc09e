"""An attempt, measured on all folds or on some, beside the same folds of a run.

Usage: python benchmarks/accuracy/attempts.py ATTEMPT [RUN] [DATA]

Both need only their predictions (benchmarks/runs). Differences are paired, intervals draw patients. What weighs all
slices of an exam together is compared where both have it.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.registry import open_dataset
from ichor.detecting.scoring import exam_logits
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.labels import LABEL_NAMES

HEADS = {
    "sequence": "together",
    "rule": "the slice rule",
    "map": "map, slice by slice",
    "pooled": "pooled head",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("attempt", type=Path)
    parser.add_argument("run", type=Path, nargs="?", default=Path("benchmarks/runs/default"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    options = parser.parse_args()
    dataset = open_dataset(dataset_of(options.run), options.data)
    print("| opinion | of | AUC, any: the run | the attempt | difference |")
    print("|---|---|---|---|---|")
    for head, name in HEADS.items():
        if head == "sequence" and not all(files_of(f, head) for f in (options.run, options.attempt)):
            continue
        run = read_predictions(options.run, dataset, head)
        new = attempted(options.attempt, run, head)
        old = run.of(new.exam_patients)
        for level, y, a, b, who in (
            ("slice", old.labels, old.logits, new.logits, old.patients),
            ("exam", old.exam_labels, old.exam_logits, new.exam_logits, old.exam_patients),
        ):
            less, _ = paired_bootstrap(roc_auc, y[:, 0], b[:, 0], a[:, 0], old.drawn(who))
            cells = [f"{roc_auc(y[:, 0], p[:, 0]):.3f}" for p in (a, b)]
            cells.append(f"{less.value:+.3f} ({less.low:+.3f} to {less.high:+.3f})")
            print(f"| {name} | {len(y)} {level}s | " + " | ".join(cells) + " |")


def files_of(folder: Path, head: str) -> list[Path]:
    """Find where a run keeps what a head said."""
    return sorted(folder.glob("sequence/predictions.csv" if head == "sequence" else "fold-*/predictions.csv"))


def attempted(folder: Path, run: OutOfFold, head: str) -> OutOfFold:
    """Put an attempt's logits in the place of a run's, for the patients that the attempt judged."""
    found: dict[str, list[list[float]]] = {}
    for file in files_of(folder, head):
        with file.open(newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault(row["patient"], []).append([float(row[f"{head}_{n}"]) for n in LABEL_NAMES])
    if not found:
        raise SystemExit(f"{folder}: found no fold-*/predictions.csv; expected the predictions of an attempt")
    if strangers := found.keys() - set(run.exam_patients.tolist()):
        raise SystemExit(
            f"{folder}: found {len(strangers)} patients that the run did not judge; expected its own"
        )
    kept = run.of(found)
    return with_logits(kept, np.concatenate([found[p] for p in kept.exam_patients]))


def with_logits(run: OutOfFold, logits: NDArray[np.float64]) -> OutOfFold:
    """Put other logits of slices in the place of a run's, and judge exams by them."""
    exams = np.array([exam_logits(logits[run.patients == p]) for p in run.exam_patients])
    return replace(run, logits=logits, exam_logits=exams)


if __name__ == "__main__":
    main()

"""An attempt beside a run of the same patients: what each of its opinions gains or loses.

Usage: python benchmarks/attempts.py ATTEMPT [RUN] [DATA]

Both need only their predictions (benchmarks/runs). Differences are paired, intervals draw patients. What weighs all
slices of an exam together is compared where both have it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.evaluating.predictions import dataset_of, read_predictions

HEADS = {"sequence": "together", "rule": "the slice rule", "map": "map, slice by slice", "pooled": "pooled head"}


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
        if head == "sequence" and not all((f / head).is_dir() for f in (options.run, options.attempt)):
            continue
        old, new = (read_predictions(folder, dataset, head) for folder in (options.run, options.attempt))
        for level, y, a, b, who in (
            ("slice", old.labels, old.logits, new.logits, old.patients),
            ("exam", old.exam_labels, old.exam_logits, new.exam_logits, old.exam_patients),
        ):
            less, _ = paired_bootstrap(roc_auc, y[:, 0], b[:, 0], a[:, 0], old.drawn(who))
            cells = [f"{roc_auc(y[:, 0], p[:, 0]):.3f}" for p in (a, b)]
            cells.append(f"{less.value:+.3f} ({less.low:+.3f} to {less.high:+.3f})")
            print(f"| {name} | {len(y)} {level}s | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

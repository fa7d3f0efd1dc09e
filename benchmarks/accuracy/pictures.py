"""How the shipped model does on pictures it never saw: Head-CT-hemorrhage, near-duplicates grouped.

Usage: python benchmarks/accuracy/pictures.py [DATA]
Prints AUC with its 95 % interval, sensitivity and specificity at the bundle's threshold,
and what was refused.
Pictures whose grey thumbnails are nearly the same are taken as one case when intervals are drawn.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import ichor
from ichor.evaluating.metrics import bootstrap, roc_auc, sensitivity_specificity

_ALIKE = 0.97


def main(data: Path) -> None:
    root = data / "head-ct-hemorrhage"
    with (root / "labels.csv").open(newline="") as file:
        labels = {int(row["id"]): int(row["hemorrhage"]) for row in csv.DictReader(file)}
    kept, scores, thumbs, refused = [], [], [], []
    threshold = np.nan
    for number, label in labels.items():
        path = root / "head_ct" / f"{number:03d}.png"
        findings = ichor.detect(path)
        if not findings.assessable:
            refused.append((number, label, findings.warnings[-1].code))
            continue
        threshold = findings.thresholds.any
        kept.append(label)
        scores.append(findings.probabilities.any)
        with Image.open(path) as image:
            thumbs.append(np.asarray(image.convert("L").resize((32, 32)), np.float64).ravel())
    y, p = np.array(kept), np.array(scores)
    groups = _groups(np.stack(thumbs))
    auc = bootstrap(roc_auc, y, p, groups)
    sensitivity, specificity = sensitivity_specificity(y, p, threshold)
    print("| figure | value | 95 % interval | n |")
    print("|---|---|---|---|")
    print(
        f"| AUC, pictures never trained on | {auc.value:.3f} | {auc.low:.3f} to {auc.high:.3f} "
        f"| {auc.n} pictures, {auc.positives} positive, {auc.patients} groups of near-duplicates |"
    )
    print(
        f"| sensitivity at the bundle's threshold ({threshold:.2f}) | {sensitivity:.3f} | | {int(y.sum())} |"
    )
    print(f"| specificity at the bundle's threshold | {specificity:.3f} | | {int((y == 0).sum())} |")
    print(f"| refused | {len(refused)} | | {len(labels)} |")
    for number, label, code in refused:
        print(f"  refused: {number:03d} (label {label}): {code}")


def _groups(thumbs: np.ndarray) -> np.ndarray:
    """Give numbers to groups of pictures whose thumbnails correlate, directly or by a chain."""
    alike = np.corrcoef(thumbs) > _ALIKE
    group = np.arange(len(thumbs))
    for i, j in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
        group[group == group[j]] = group[i]
    return group


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data"))

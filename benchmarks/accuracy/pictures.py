"""How the shipped model does on pictures it never saw: Head-CT-hemorrhage, near-duplicates grouped.

Usage: python -m benchmarks.accuracy.pictures [--data DIR] [--every N]

Prints the AUC with its 95 % interval, sensitivity and specificity at the bundle's threshold, and what was refused.
Pictures whose grey thumbnails are nearly the same are one case when intervals are drawn.
"""

from __future__ import annotations

import numpy as np

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.labelled_pictures import near_duplicates, read_pictures
from benchmarks.shared.tables import heading, row
from ichor.detecting.bundle import load_bundle
from ichor.evaluating.metrics import bootstrap, roc_auc, sensitivity_specificity


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--every", type=int, default=1, help="take every Nth picture")
    options = arguments.parse_args()
    pictures = read_pictures(options.data)[:: options.every]
    threshold = load_bundle().manifest.slice_thresholds["any"].probability
    assessed, scores, refused = [], [], []
    for picture in pictures:
        findings = ichor.detect(picture.path)
        if findings.assessable and findings.probabilities.any is not None:
            assessed.append(picture)
            scores.append(findings.probabilities.any)
        else:
            refused.append((picture, findings.warnings[-1].code))
    y, p = np.array([float(q.positive) for q in assessed]), np.array(scores)
    auc = bootstrap(roc_auc, y, p, near_duplicates(assessed))
    sensitivity, specificity = sensitivity_specificity(y, p, threshold)
    n = f"{auc.n} pictures, {auc.positives} positive, {auc.patients} groups of near-duplicates"
    heading("figure", "value", "95 % interval", "n")
    row("AUC, pictures never trained on", f"{auc.value:.3f}", f"{auc.low:.3f} to {auc.high:.3f}", n)
    row(f"sensitivity at the bundle's threshold ({threshold:.2f})", f"{sensitivity:.3f}", None, int(y.sum()))
    row("specificity at the bundle's threshold", f"{specificity:.3f}", None, int((y == 0).sum()))
    row("refused", len(refused), None, len(pictures))
    for picture, code in refused:
        print(f"  refused: {picture.number:03d} (positive: {picture.positive}): {code}")


if __name__ == "__main__":
    main()

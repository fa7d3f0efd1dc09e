"""What a photograph costs: the shipped model on Head-CT-hemorrhage as it is, and as photographed.

Usage: ``python benchmarks/robustness/photographs.py [DATA] [--cache DIR] [--every N]``. Each picture is shown in a
viewer (even places in the list) or printed on a film (odd ones) and photographed by ``synthetic_camera`` at
three strengths; sheets of twelve pictures follow. Prints AUC, the difference to the picture itself with its
95 % interval (groups of near-duplicates drawn), and what was refused or not found. Halves A and B are every
other pair of groups; no constant was chosen by a score, so that both, and all, are measurements. A refused
picture has no probability and is left out of that row's AUC, and of its pair.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pictures import _groups
from PIL import Image
from synthetic_camera import STRENGTHS, film, photograph, viewer

import ichor
from ichor.detecting import detect_all
from ichor.evaluating.metrics import roc_auc

_DRAWS = 2000
_SHEET = 12


def probability(path: Path) -> tuple[float, set[str], int]:
    """Probability of any hemorrhage (NaN where refused), codes, and slices found, of a picture."""
    results = [d.findings for d in detect_all(path)]
    judged = [f for f in results if f.assessable]
    codes = {w.code for f in results for w in f.warnings}
    if not judged:
        return np.nan, codes, len(results)
    return max(f.probabilities.any for f in judged if f.probabilities), codes, len(results)


def interval(
    y: NDArray[np.int_], p: NDArray[np.float64], q: NDArray[np.float64], groups: NDArray[np.int_]
) -> tuple[float, float, float]:
    """AUC of ``q`` less that of ``p``, with the 95 % interval from drawing groups."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    drawn = []
    for _ in range(_DRAWS):
        at = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if 0 < y[at].sum() < len(at):
            drawn.append(roc_auc(y[at], q[at]) - roc_auc(y[at], p[at]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return roc_auc(y, q) - roc_auc(y, p), float(low), float(high)


def row(
    name: str, y: NDArray[np.int_], p: NDArray[np.float64], q: NDArray[np.float64], groups: NDArray[np.int_]
) -> str:
    both = np.isfinite(p) & np.isfinite(q)
    gap, low, high = interval(y[both], p[both], q[both], groups[both])
    return (
        f"| {name} | {int(both.sum())} | {roc_auc(y[both], q[both]):.3f} "
        f"| {gap:+.3f} | {low:+.3f} to {high:+.3f} | {int((~np.isfinite(q)).sum())} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--cache", type=Path, default=Path("photographs-cache"), help="photographs are kept here"
    )
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    root = arguments.data / "head-ct-hemorrhage"
    with (root / "labels.csv").open(newline="") as file:
        labels = {int(r["id"]): int(r["hemorrhage"]) for r in csv.DictReader(file)}
    numbers = list(labels)[:: arguments.every]
    y = np.array([labels[n] for n in numbers])
    paths = [root / "head_ct" / f"{n:03d}.png" for n in numbers]
    greys, thumbs = [], []
    for path in paths:
        with Image.open(path) as image:
            grey = image.convert("L")
        greys.append(np.asarray(grey))
        thumbs.append(np.asarray(grey.resize((32, 32)), np.float64).ravel())
    groups = _groups(np.stack(thumbs))
    half_a = groups // 2 % 2 == 0  # not even and odd: those are viewers and films
    plain = np.array([probability(path)[0] for path in paths])
    print(
        f"{len(y)} pictures, {int(y.sum())} positive, {len(np.unique(groups))} groups; ichor {ichor.__version__}"
    )
    print("| shown as | n | AUC | difference | 95 % interval | refused |")
    print("|---|---|---|---|---|---|")
    print(row("as it is", y, plain, plain, groups), flush=True)
    for name, strength in STRENGTHS.items():
        scores, flattened, several = [], 0, 0
        began = time.process_time()
        for n, grey in zip(numbers, greys, strict=True):
            taken = arguments.cache / f"{n:03d}-{name}.jpg"
            if not taken.exists():
                place = list(labels).index(n)
                scene = film([grey], place) if place % 2 else viewer(grey, place)
                taken.write_bytes(photograph(scene, strength, place).jpeg)
            score, codes, found = probability(taken)
            scores.append(score)
            flattened += "picture_flattened" in codes
            several += found > 1
        q = np.array(scores)
        print(row(name, y, plain, q, groups))
        for half, mask in (("A", half_a), ("B", ~half_a)):
            print(row(f"{name}, half {half}", y[mask], plain[mask], q[mask], groups[mask]))
        odd = np.array([list(labels).index(n) % 2 for n in numbers], bool)
        print(row(f"{name}, screens", y[~odd], plain[~odd], q[~odd], groups[~odd]))
        print(row(f"{name}, films", y[odd], plain[odd], q[odd], groups[odd]))
        refused = [n for n, s in zip(numbers, scores, strict=True) if not np.isfinite(s)]
        spent = (time.process_time() - began) / len(y)
        print(
            f"  {name}: flattened {flattened}, taken for several {several}, refused {refused}, {spent:.2f} s each"
        )
    _sheets(arguments.cache, numbers, greys, y)


def _sheets(cache: Path, numbers: list[int], greys: list[NDArray[np.uint8]], y: NDArray[np.int_]) -> None:
    """Photograph sheets of twelve, positives and negatives mixed; print what was found, and its AUC."""
    order = np.random.default_rng(5).permutation(len(greys))
    print("| sheets of twelve | sheets | slices | found | judged | AUC of slices where all were found |")
    print("|---|---|---|---|---|---|")
    for name in ("screenshot", *STRENGTHS):
        found = judged = total = 0
        truth: list[int] = []
        scores: list[float] = []
        sheets = [order[k : k + _SHEET] for k in range(0, len(order) - _SHEET + 1, _SHEET)]
        for k, chosen in enumerate(sheets):
            path = cache / f"sheet-{k}-{len(greys)}-{name}.jpg"
            if not path.exists():
                scene = film([greys[i] for i in chosen], k, columns=4)
                if name == "screenshot":
                    out = io.BytesIO()
                    Image.fromarray(scene.image).save(out, "JPEG", quality=95)
                    path.write_bytes(out.getvalue())
                else:
                    taken = photograph(scene, STRENGTHS[name], k, size=(2048, 1536))
                    path.write_bytes(taken.jpeg)
            results = [d.findings for d in detect_all(path)]
            total += len(chosen)
            found += min(len(results), len(chosen))
            judged += sum(f.assessable for f in results)
            if len(results) == len(chosen):
                for i, f in zip(chosen, results, strict=True):
                    if f.assessable and f.probabilities:
                        truth.append(int(y[i]))
                        scores.append(f.probabilities.any)
        auc = (
            f"{roc_auc(np.array(truth), np.array(scores)):.3f} (n {len(truth)})"
            if len(set(truth)) == 2
            else ""
        )
        print(f"| {name} | {len(sheets)} | {total} | {found} | {judged} | {auc} |", flush=True)


if __name__ == "__main__":
    main()

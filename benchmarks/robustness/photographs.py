"""What a photograph costs: the shipped model on Head-CT-hemorrhage as it is, and as photographed.

Usage: python -m benchmarks.robustness.photographs [--data DIR] [--cache DIR] [--every N]

Each picture is shown in a viewer (even places in the list) or printed on a film (odd ones) and photographed by the
simulated camera at three strengths; sheets of twelve pictures follow. Prints AUC, the difference to the picture
itself with its 95 % interval (groups of near-duplicates drawn), and what was refused or not found. Halves A and B are
every other pair of groups; no constant was chosen by a score, so that both, and all, are measurements. A refused
picture has no probability and is left out of that row's AUC, and of its pair.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.camera import STRENGTHS, film, photograph, viewer
from benchmarks.shared.labelled_pictures import near_duplicates, read_pictures
from benchmarks.shared.tables import heading, row
from ichor.detecting import detect_all
from ichor.evaluating.metrics import roc_auc

_DRAWS = 2000
_SHEET = 12


def probability(path: Path) -> tuple[float, set[str], int]:
    """Probability of any hemorrhage (NaN where refused), codes, and slices found, of a picture."""
    results = [d.findings for d in detect_all(path)]
    codes = {w.code for f in results for w in f.warnings}
    found = [f.probabilities.any for f in results if f.assessable and f.probabilities.any is not None]
    return max(found, default=np.nan), codes, len(results)


def interval(
    y: NDArray[np.float64], p: NDArray[np.float64], q: NDArray[np.float64], groups: NDArray[np.intp]
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


def compared(
    name: str,
    y: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    groups: NDArray[np.intp],
) -> None:
    """Print a row."""
    both = np.isfinite(p) & np.isfinite(q)
    refused = int((~np.isfinite(q)).sum())
    if len(np.unique(y[both])) < 2:
        row(name, int(both.sum()), "not defined", None, None, refused)
        return
    gap, low, high = interval(y[both], p[both], q[both], groups[both])
    area = f"{roc_auc(y[both], q[both]):.3f}"
    row(name, int(both.sum()), area, f"{gap:+.3f}", f"{low:+.3f} to {high:+.3f}", refused)


def main() -> None:
    known = parser(__doc__)
    known.add_argument(
        "--cache", type=Path, default=Path("photographs-cache"), help="photographs are kept here"
    )
    known.add_argument("--every", type=int, default=1, help="take every Nth picture")
    arguments = known.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    every = read_pictures(arguments.data)
    places = range(0, len(every), arguments.every)
    pictures = [every[k] for k in places]
    y = np.array([float(p.positive) for p in pictures])
    groups = near_duplicates(pictures)
    half_a = groups // 2 % 2 == 0  # not even and odd: those are viewers and films
    plain = np.array([probability(p.path)[0] for p in pictures])
    print(
        f"{len(y)} pictures, {int(y.sum())} positive, {len(np.unique(groups))} groups; ichor {ichor.__version__}"
    )
    heading("shown as", "n", "AUC", "difference", "95 % interval", "refused")
    compared("as it is", y, plain, plain, groups)
    for name, strength in STRENGTHS.items():
        scores, flattened, several = [], 0, 0
        began = time.process_time()
        for place, picture in zip(places, pictures, strict=True):
            taken = arguments.cache / f"{picture.number:03d}-{name}.jpg"
            if not taken.exists():
                scene = film([picture.grey], place) if place % 2 else viewer(picture.grey, place)
                taken.write_bytes(photograph(scene, strength, place).jpeg)
            score, codes, found = probability(taken)
            scores.append(score)
            flattened += "picture_flattened" in codes
            several += found > 1
        q = np.array(scores)
        compared(name, y, plain, q, groups)
        for half, mask in (("A", half_a), ("B", ~half_a)):
            compared(f"{name}, half {half}", y[mask], plain[mask], q[mask], groups[mask])
        odd = np.array([place % 2 for place in places], bool)
        compared(f"{name}, screens", y[~odd], plain[~odd], q[~odd], groups[~odd])
        compared(f"{name}, films", y[odd], plain[odd], q[odd], groups[odd])
        refused = [p.number for p, s in zip(pictures, scores, strict=True) if not np.isfinite(s)]
        spent = (time.process_time() - began) / len(y)
        print(
            f"  {name}: flattened {flattened}, taken for several {several}, refused {refused}, {spent:.2f} s each"
        )
    _sheets(arguments.cache, [p.grey for p in pictures], y)


def _sheets(cache: Path, greys: list[NDArray[np.uint8]], y: NDArray[np.float64]) -> None:
    """Photograph sheets of twelve, positives and negatives mixed; print what was found, and its AUC."""
    order = np.random.default_rng(5).permutation(len(greys))
    columns = ("sheets", "slices", "found", "assessed", "AUC of slices where all were found")
    heading("sheets of twelve", *columns)
    for name in ("screenshot", *STRENGTHS):
        found = assessed = total = 0
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
            assessed += sum(f.assessable for f in results)
            if len(results) == len(chosen):
                for i, f in zip(chosen, results, strict=True):
                    if f.assessable and f.probabilities.any is not None:
                        truth.append(int(y[i]))
                        scores.append(f.probabilities.any)
        auc = (
            f"{roc_auc(np.array(truth), np.array(scores)):.3f} (n {len(truth)})"
            if len(set(truth)) == 2
            else ""
        )
        row(name, len(sheets), total, found, assessed, auc)


if __name__ == "__main__":
    main()

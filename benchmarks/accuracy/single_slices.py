"""How good the shipped model is on single slices that it never saw, read as pictures through the whole pipeline.

Usage: python -m benchmarks.accuracy.single_slices [--bundle NAME] [--results DIR | --run RUN] [--against DIR]

Two sets: single slices of RSNA 2019 (rsna-slices; many scanners, each slice in a window of its own, six labels, groups
by patient) and pictures from the web (head-ct-hemorrhage; yes or no, groups of near-duplicates). Prints, for each, how
many are refused and by which code, the area under the ROC curve of each label, the calls at the shipped threshold, and
the weighted log loss of RSNA 2019, each with a 95 % interval over groups; for slices of RSNA, by window, too. A refused
picture is not called; areas are given of what was assessed, and of all with the refused ranked lowest.

One row a picture is kept in a folder outside the repository, so that a stopped run goes on and a second one prints at
once. The folder is named after the bundle and the code that reads, prepares and detects: where either changes, all is
detected anew. ``--results`` prints from a folder as it is, ``--run`` from a run's predictions of pictures out of fold:
that of a model which learned from them. ``--against`` compares with such a folder, on the pictures
that both have: paired, on the same draws of groups. ``--most N`` takes the first N of a fixed random order.
``--draw-refused DIR`` draws those that were refused, a sheet a set, to be looked at.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.shared.arguments import parser
from benchmarks.shared.picture_results import (
    Result,
    detected,
    in_random_order,
    out_of_fold,
    read_results,
    results_folder,
)
from benchmarks.shared.tables import change, figure, heading, row
from ichor.datasets.head_ct import HeadCt
from ichor.datasets.labelled import Dataset
from ichor.datasets.rsna_slices import RsnaSlices, SliceWindow
from ichor.datasets.splits import split_of
from ichor.evaluating.metrics import (
    accuracy,
    bootstrap,
    paired_bootstrap,
    roc_auc,
    sensitivity,
    specificity,
    weighted_log_loss,
)
from ichor.evaluating.resampling import Statistic
from ichor.labels import LABELS
from ichor.preparing.windows import BRAIN

SETS: tuple[type[RsnaSlices] | type[HeadCt], ...] = (RsnaSlices, HeadCt)
_ROUNDED = 5e-5
"""Findings have four decimals: a probability of 0 is one below this."""
_NEAR_HU = 2.0
_COLUMNS, _SIDE = 20, 128
"""Of a sheet of pictures: how many in a row, and pixels of a side."""
_LOWEST = -1.0
"""Stands for the probability of a refused picture: below all."""


@dataclass(frozen=True)
class Measured:
    """Results beside the truth; one entry a picture.

    Attributes
    ----------
    names, groups
        Of each picture, and what it is drawn with.
    labels, probabilities
        ``(n, 6)``; NaN where unknown.
    refused
        ``(n,)`` codes, empty where assessed.
    called
        ``(n,)`` 1 where a hemorrhage was called.
    """

    names: tuple[str, ...]
    groups: NDArray[np.str_]
    labels: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    refused: NDArray[np.str_]
    called: NDArray[np.float64]

    @property
    def assessed(self) -> NDArray[np.bool_]:
        """``(n,)`` which were not refused."""
        return np.asarray(self.refused == "")


@dataclass(frozen=True)
class Figure:
    """A statistic of labels and scores ``(n,)`` or ``(n, 6)``, over those pictures that ``of`` ``(n,)`` names."""

    statistic: Statistic
    labels: NDArray[np.float64]
    scores: NDArray[np.float64]
    of: NDArray[np.bool_]


def main() -> None:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", default="default", help="name or path of the model")
    arguments.add_argument("--results", type=Path, help="print from this folder; detect nothing")
    arguments.add_argument("--run", type=Path, help="print a run's predictions out of fold; detect nothing")
    arguments.add_argument("--against", type=Path, help="compare with the results in this folder")
    arguments.add_argument(
        "--most", type=int, help="take so many pictures of each set, in a fixed random order"
    )
    arguments.add_argument("--draw-refused", type=Path, metavar="DIR", help="draw those that were refused")
    options = arguments.parse_args()
    of_run = out_of_fold(options.run, options.data) if options.run else {}
    for form in SETS:
        dataset = form(options.data / form.name)
        names = in_random_order(dataset)[: options.most]
        if options.run is not None:
            found = {name: of_run[form.name][name] for name in names}
        elif options.results is None:
            folder = results_folder(options.bundle)
            found = detected(dataset.path, names, folder / f"{form.name}.csv", options.bundle)
        else:
            found = read_results(options.results / f"{form.name}.csv")
        measured = beside_truth(dataset, {name: found[name] for name in names if name in found})
        print(f"\n## {form.name}\n")
        print_figures(measured)
        if isinstance(dataset, RsnaSlices):
            print_by_window(dataset, measured)
        if options.draw_refused is not None:
            refused = [name for name in sorted(found) if found[name].refused]
            draw([dataset.path(name) for name in refused], options.draw_refused / f"{form.name}.png")
        if options.against is not None:
            before = read_results(options.against / f"{form.name}.csv")
            print_differences(dataset, found, before)


def draw(pictures: list[Path], file: Path) -> None:
    """Draw pictures small, row by row."""
    rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("L", (_COLUMNS * _SIDE, rows * _SIDE))
    for place, picture in enumerate(pictures):
        with Image.open(picture) as whole:
            small = whole.convert("L").resize((_SIDE, _SIDE))
        sheet.paste(small, (place % _COLUMNS * _SIDE, place // _COLUMNS * _SIDE))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


def beside_truth(dataset: Dataset, results: dict[str, Result]) -> Measured:
    """Put results beside labels and groups, in the order of the names."""
    names = tuple(sorted(results))
    labels, groups = dataset.patients(), split_of(dataset, 2, 0).groups
    return Measured(
        names,
        np.array([groups[name] for name in names]),
        np.array([labels[name] for name in names], np.float64),
        np.array([results[name].probabilities for name in names]),
        np.array([results[name].refused for name in names]),
        np.array([results[name].called for name in names], np.float64),
    )


def figures(m: Measured) -> dict[str, Figure]:
    """Return all figures of one set by their names; of subtypes, those that it labels."""
    known, assessed = np.isfinite(m.labels), m.assessed
    ranked = np.where(assessed, np.nan_to_num(m.probabilities[:, 0]), _LOWEST)
    out = {
        "AUC, any, assessed": Figure(roc_auc, m.labels[:, 0], m.probabilities[:, 0], known[:, 0] & assessed),
        "AUC, any, all": Figure(roc_auc, m.labels[:, 0], ranked, known[:, 0]),
    }
    for place, label in enumerate(LABELS):
        of = known[:, place] & assessed
        if place and 0 < m.labels[of, place].sum() < of.sum():
            name = f"AUC, {label.display.lower()}, assessed"
            out[name] = Figure(roc_auc, m.labels[:, place], m.probabilities[:, place], of)
    for name, statistic in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("accuracy", accuracy),
    ):
        full = f"{name} at the shipped threshold, all"
        out[full] = Figure(statistic, m.labels[:, 0], m.called, known[:, 0])
    complete = known.all(axis=1) & assessed
    if m.labels[complete, 1:].any():
        p = np.clip(m.probabilities, _ROUNDED, 1 - _ROUNDED)
        out["weighted log loss, assessed"] = Figure(weighted_log_loss, m.labels, p, complete)
        rate = np.tile(m.labels[complete].mean(axis=0), (len(m.labels), 1))
        out["weighted log loss of the base rates"] = Figure(weighted_log_loss, m.labels, rate, complete)
    return out


def print_figures(m: Measured) -> None:
    """Print the table of one set."""
    known = np.isfinite(m.labels[:, 0])
    positive, negative = m.labels[:, 0] == 1, m.labels[:, 0] == 0
    print(
        f"{len(m.names):,} pictures, {int(positive.sum()):,} with hemorrhage (base rate "
        f"{positive.sum() / known.sum():.3f}), {len(set(m.groups)):,} groups.\n"
    )
    heading("figure", "value (95 % interval)", "n")
    for code, n in Counter(m.refused[~m.assessed].tolist()).most_common():
        of = m.refused == code
        row(f"refused, `{code}`", n, f"{int((of & positive).sum())} with hemorrhage")
    for side, of in (("with", positive), ("without", negative)):
        called = int(m.called[of].sum())
        row(
            f"called, {side} hemorrhage",
            f"{called} of {int(of.sum())}",
            f"{int((of & ~m.assessed).sum())} refused",
        )
    for name, f in figures(m).items():
        found = bootstrap(f.statistic, f.labels[f.of], f.scores[f.of], m.groups[f.of])
        positives = int((f.labels if f.labels.ndim == 1 else f.labels[:, 0])[f.of].sum())
        row(name, figure(found), f"{found.n:,}, {positives} positive, {found.patients:,} groups")


def print_by_window(dataset: RsnaSlices, m: Measured) -> None:
    """Print how the pictures of each kind of window fare: pictures are read as if in the brain window."""
    print("\nBy the window that a slice is stored in; areas are of what was assessed.\n")
    heading("window", "pictures", "with hemorrhage", "refused", "AUC, any", "called, with", "called, without")
    windows = np.array([window_kind(dataset.window(name)) for name in m.names])
    for kind in sorted(set(windows.tolist())):
        of = windows == kind
        positive, negative = of & (m.labels[:, 0] == 1), of & (m.labels[:, 0] == 0)
        area = bootstrap(
            roc_auc, *(x[of & m.assessed] for x in (m.labels[:, 0], m.probabilities[:, 0], m.groups))
        )
        shown = figure(area) if np.isfinite(area.value) else None
        called = [f"{int(m.called[side].sum())} of {int(side.sum())}" for side in (positive, negative)]
        row(kind, int(of.sum()), int(positive.sum()), int((of & ~m.assessed).sum()), shown, *called)


def window_kind(known: SliceWindow) -> str:
    """Return what is said of a window in the table: the brain window, about as wide, wider, or not known."""
    if known.confidence == "unknown":
        return f"width {known.window.width:g}, level not known"
    if known.window.width != BRAIN.width:
        return f"width {known.window.width:g}"
    off = abs(known.window.level - BRAIN.level)
    side = "within" if off <= _NEAR_HU else "beyond"
    return f"width {BRAIN.width:g}, level {side} {_NEAR_HU:g} HU of {BRAIN.level:g}"


def print_differences(dataset: Dataset, after: dict[str, Result], before: dict[str, Result]) -> None:
    """Print how much each figure has changed, on the pictures that both results have."""
    both = after.keys() & before.keys()
    a, b = (beside_truth(dataset, {name: found[name] for name in both}) for found in (after, before))
    was = figures(b)
    print(
        f"\nAgainst the results before, on {len(both):,} pictures; what is assessed is what both assessed.\n"
    )
    heading("figure", "change (95 % interval)", "p")
    for name, f in figures(a).items():
        if name in was and "base rates" not in name:
            of = f.of & was[name].of
            first, second = f.scores[of], was[name].scores[of]
            found, p = paired_bootstrap(f.statistic, f.labels[of], first, second, a.groups[of])
            row(name, change(found), f"{p:.3f}")


if __name__ == "__main__":
    main()

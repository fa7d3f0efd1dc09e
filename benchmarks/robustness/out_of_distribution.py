"""Does ichor notice an exam out of the distribution of its training data? Which reference ranges are left, by source.

Usage: python -m benchmarks.robustness.out_of_distribution RUN [--data DIR] [--changed N]

Reference ranges are fitted on ct-ich alone and checked on other sources; and on all folds of ct-ich but one and
checked on that one, where every warning is a false alarm. Then some held-out exams of each fold are changed
(changes.py) and checked again: does a sharp kernel or a thin slice raise a warning? Measurements of the run's exams
are kept in RUN/traits.csv.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import ichor
from benchmarks.robustness.changes import CHANGES
from benchmarks.shared.arguments import parser
from benchmarks.shared.fold_bundles import open_run
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split
from ichor.detecting.out_of_distribution import QUANTITIES, outside_ranges, quantities
from ichor.evaluating.conformal import exact_interval
from ichor.exam import Exam
from ichor.preparing import Preparation, prepare
from ichor.training.reference_ranges import exam_quantities, input_profile

FIRST = "ct-ich"
Found = Mapping[str, float]


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--changed", type=int, default=2, help="exams of each fold that are changed")
    options = arguments.parse_args()
    run = open_run(options.run, options.data)
    rows = exam_quantities(run)
    own = [r for r in rows if r["dataset"] == FIRST]
    folds = load_split(run.folder.path / "split.json").folds
    heading("checked on", "fitted on", "exams", "any outside its range", *QUANTITIES)
    flags = []
    for fold in sorted(set(folds.values())):
        profile = input_profile(r for r in own if folds[r["patient"]] != fold)
        flags += [_outside(_numbers(r), profile) for r in own if folds[r["patient"]] == fold]
    _line("ct-ich, held-out folds", "the other folds", flags)
    profile = input_profile(own)
    for name in sorted({r["dataset"] for r in rows} - {FIRST}):
        _line(name, FIRST, [_outside(_numbers(r), profile) for r in rows if r["dataset"] == name])
    everything = input_profile(rows)
    names = [p for f in sorted(set(folds.values())) for p in sorted(folds) if folds[p] == f]
    chosen = [
        p for k, p in enumerate(names) if sum(folds[q] == folds[p] for q in names[:k]) < options.changed
    ]
    dataset = open_dataset(FIRST, run.root)
    by_change: dict[str, list[dict[str, bool]]] = {}
    for patient in chosen:
        others_of_fold = input_profile(r for r in own if folds[r["patient"]] != folds[patient])
        exam = dataset.load(patient).exam
        for change in CHANGES:
            changed, _ = change.make(exam)
            found = quantities(changed, prepare(changed, run.folder.recipe.preparation))
            by_change.setdefault(change.name, []).append(_outside(found, others_of_fold))
    for change_name, changed_flags in by_change.items():
        _line(f"ct-ich, held-out: {change_name}", "the other folds", changed_flags)
    for name, exam in others(options.data):
        found = quantities(exam, prepare(exam, run.folder.recipe.preparation))
        for fitted, cut in ((FIRST, profile), ("all that trained", everything)):
            _line(name, fitted, [_outside(found, cut)])
        for notice in outside_ranges(found, profile):
            print(f"  {name}: {notice.message}")
    print()
    heading("measurement", "lowest of ct-ich", "highest", "range of ct-ich", "range of all that trained")
    for key, measurement in QUANTITIES.items():
        values = [float(r[key]) for r in own if r[key]]
        if values:
            a, b, (c, d) = profile[key], everything[key], (min(values), max(values))
            ranges = [f"{low:.2f} to {high:.2f}" for low, high in (a, b)]
            row(f"{measurement.words}{measurement.unit}", f"{c:.2f}", f"{d:.2f}", *ranges)


def _numbers(row: Mapping[str, str]) -> Found:
    return {key: float(row[key]) for key in QUANTITIES if row[key]}


def _outside(found: Found, profile: Mapping[str, tuple[float, float]]) -> dict[str, bool]:
    """Check each measurement alone."""
    return {
        key: bool(outside_ranges({key: found[key]}, profile))
        for key in QUANTITIES
        if key in found and key in profile
    }


def _line(name: str, fitted: str, flags: list[dict[str, bool]]) -> None:
    cells = []
    for key in QUANTITIES:
        known = [f[key] for f in flags if key in f]
        cells.append(f"{sum(known)} of {len(known)}" if known else "not known")
    outside = sum(any(f.values()) for f in flags)
    interval = exact_interval(outside, len(flags))
    share = f"{outside} of {len(flags)} ({interval.low:.0%} to {interval.high:.0%})"
    row(name, fitted, len(flags), share, *cells)


def others(data: Path) -> Iterator[tuple[str, Exam]]:
    """Heads of other sources: read as ichor reads them."""
    for name, path in (
        ("CQ500-CT-0 (2.5 mm, tilted)", data / "cq500" / "CQ500-CT-0"),
        ("ge_head (4 and 7 mm, tilted)", data / "dicom-oddities" / "ge_head_tilt_varspacing"),
    ):
        found = ichor.read(path)
        if isinstance(found, Exam):
            yield name, found
            started = time.perf_counter()
            prepared = prepare(found, Preparation())
            middle = time.perf_counter()
            quantities(found, prepared)
            print(
                f"  {name}: measured in {1000 * (time.perf_counter() - middle):.0f} ms "
                f"(preparing: {1000 * (middle - started):.0f} ms)"
            )


if __name__ == "__main__":
    main()

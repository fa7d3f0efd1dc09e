"""Does ichor notice an exam that is unlike its training data? Prints which traits speak up on held-out sources.

Usage: python benchmarks/robustness/out_of_distribution.py RUN [DATA] [--changed N]

The profile is fitted on ct-ich alone and asked of other sources; and on all folds of ct-ich but one and asked of that
one: there, every warning is a false alarm. Then some held-out exams of each fold are changed (changes.py) and asked
again: what speaks up of a sharp kernel or of thin slices? Traits of the run's exams are kept in RUN/traits.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from changes import CHANGES

import ichor
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split
from ichor.detecting.out_of_distribution import TRAITS, traits, unlike
from ichor.evaluating.conformal import exact_interval
from ichor.exam import Exam
from ichor.preparing import Preparation, prepare
from ichor.training.reference_ranges import exam_traits, input_profile
from ichor.training.run import Run, read_recipe

FIRST = "ct-ich"
Found = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--changed", type=int, default=2, help="exams of each fold that are changed")
    options = parser.parse_args()
    run = Run(read_recipe(options.run), options.data, options.run, None, lambda *_: None)
    rows = exam_traits(run)
    own = [row for row in rows if row["dataset"] == FIRST]
    folds = load_split(run.folder / "split.json").folds
    print("| asked of | fitted on | exams | any trait speaks up | " + " | ".join(TRAITS) + " |")
    print("|" + "---|" * (4 + len(TRAITS)))
    said = []
    for fold in sorted(set(folds.values())):
        profile = input_profile(r for r in own if folds[r["patient"]] != fold)
        said += [_speaks(_numbers(r), profile) for r in own if folds[r["patient"]] == fold]
    _line("ct-ich, held-out folds", "the other folds", said)
    profile = input_profile(own)
    for name in sorted({r["dataset"] for r in rows} - {FIRST}):
        _line(name, FIRST, [_speaks(_numbers(r), profile) for r in rows if r["dataset"] == name])
    everything = input_profile(rows)
    names = [p for f in sorted(set(folds.values())) for p in sorted(folds) if folds[p] == f]
    chosen = [
        p for k, p in enumerate(names) if sum(folds[q] == folds[p] for q in names[:k]) < options.changed
    ]
    dataset = open_dataset(FIRST, run.data)
    heard: dict[str, list[dict[str, bool]]] = {}
    for patient in chosen:
        others_of_fold = input_profile(r for r in own if folds[r["patient"]] != folds[patient])
        exam = dataset.load(patient).exam
        for change in CHANGES:
            changed, _ = change.make(exam)
            found = traits(changed, prepare(changed, run.recipe.preparation))
            heard.setdefault(change.name, []).append(_speaks(found, others_of_fold))
    for change_name, answers in heard.items():
        _line(f"ct-ich, held-out: {change_name}", "the other folds", answers)
    for name, exam in others(options.data):
        found = traits(exam, prepare(exam, run.recipe.preparation))
        for fitted, cut in ((FIRST, profile), ("all that trained", everything)):
            _line(name, fitted, [_speaks(found, cut)])
        for notice in unlike(found, profile):
            print(f"  {name}: {notice.message}")
    print("\n| trait | lowest of ct-ich | highest | cuts of ct-ich | cuts of all that trained |")
    print("|---|---|---|---|---|")
    for key, trait in TRAITS.items():
        values = [float(r[key]) for r in own if r[key]]
        if values:
            a, b, (c, d) = profile[key], everything[key], (min(values), max(values))
            both = f"{a[0]:.2f} to {a[1]:.2f} | {b[0]:.2f} to {b[1]:.2f}"
            print(f"| {trait.words}{trait.unit} | {c:.2f} | {d:.2f} | {both} |")


def _numbers(row: Mapping[str, str]) -> Found:
    return {key: float(row[key]) for key in TRAITS if row[key]}


def _speaks(found: Found, profile: Mapping[str, tuple[float, float]]) -> dict[str, bool]:
    """Ask each trait alone."""
    return {
        key: bool(unlike({key: found[key]}, profile)) for key in TRAITS if key in found and key in profile
    }


def _line(name: str, fitted: str, said: list[dict[str, bool]]) -> None:
    cells = []
    for key in TRAITS:
        asked = [s[key] for s in said if key in s]
        cells.append(f"{sum(asked)} of {len(asked)}" if asked else "not known")
    loud = sum(any(s.values()) for s in said)
    interval = exact_interval(loud, len(said))
    share = f"{loud} of {len(said)} ({interval.low:.0%} to {interval.high:.0%})"
    print(f"| {name} | {fitted} | {len(said)} | {share} | " + " | ".join(cells) + " |", flush=True)


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
            traits(found, prepared)
            print(
                f"  {name}: traits in {1000 * (time.perf_counter() - middle):.0f} ms "
                f"(preparing: {1000 * (middle - started):.0f} ms)"
            )


if __name__ == "__main__":
    main()

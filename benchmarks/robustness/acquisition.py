"""How far do scores move when the same exams come as another scanner, protocol or archive would have sent them.

Usage: python -m benchmarks.robustness.acquisition RUN [--data DIR] [--cache DIR] [--patients N] [--only NAME]

RUN is the folder of a run with its weights. Each exam of ct-ich is assessed by the network that did not train on its
patient, exported to a bundle of its own in the cache, through ``ichor.detect``. Prints a table, and writes it as JSON
to the cache for the model's card. Results are kept in the cache: a run that was stopped goes on.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ichor
from benchmarks.robustness.changes import CHANGES, Change, noise_sd
from benchmarks.shared.arguments import parser
from benchmarks.shared.fold_bundles import fold_bundle, open_run
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import Interval, paired_bootstrap, roc_auc
from ichor.evaluating.predictions import read_predictions
from ichor.evaluating.robustness import ROBUSTNESS_FILE, RobustnessRow, write_robustness
from ichor.exam import Exam

FIRST = CHANGES[0].name
_KEPT = "judged.csv"
_FIELDS = ("change", "patient", "slice", "probability", "positive", "noise")
EXAM = -1
"""Stands for the exam in the column ``slice``."""


@dataclass(frozen=True)
class Assessed:
    """P(any) of an exam and of each slice of the first exam, NaN where it was refused."""

    exam: float
    positive: bool
    slices: NDArray[np.float64]
    noise: float


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--cache", type=Path, help="RUN/robustness by default")
    arguments.add_argument("--patients", type=int, help="the first of each fold alone")
    arguments.add_argument("--report", action="store_true", help="detect nothing; print what the cache holds")
    arguments.add_argument("--only", action="append", help="this change alone; may repeat")
    options = arguments.parse_args()
    cache = options.cache or (options.run / ROBUSTNESS_FILE).parent
    cache.mkdir(parents=True, exist_ok=True)
    run = open_run(options.run, options.data)
    dataset = open_dataset(run.folder.recipe.target, run.root)
    oof = read_predictions(run.folder.path, dataset)
    names = np.unique(oof.exam_patients)
    folds = dict(zip(oof.exam_patients.tolist(), oof.exam_folds.tolist(), strict=True))
    if options.patients:
        by_fold = [[n for n in names if folds[n] == f] for f in sorted(set(folds.values()))]
        names = np.array([n for some in by_fold for n in some[: options.patients]])
    known = _read(cache / _KEPT)
    if options.report:
        names = np.array([n for n in names if all((c.name, str(n)) in known for c in CHANGES)])
        if not len(names):
            raise SystemExit(
                f"{cache}: found no exam that was assessed under every change; expected some; run without --report"
            )
    changes = [c for c in CHANGES if c.name == FIRST or not options.only or c.name in options.only]
    bundles = {} if options.report else {f: fold_bundle(run, f, cache) for f in sorted(set(folds.values()))}
    started = time.perf_counter()
    for k, name in enumerate(names):
        todo = [c for c in changes if (c.name, str(name)) not in known]
        if todo:
            exam = dataset.load(str(name)).exam
            for change in todo:
                found = _assessed(exam, change, bundles[folds[str(name)]])
                known[change.name, str(name)] = found
                _append(cache / _KEPT, change.name, str(name), found)
            print(f"{k + 1} of {len(names)} exams, {time.perf_counter() - started:.0f} s", flush=True)
    labels = {p: dataset.slice_labels(str(p)) for p in names}
    rows = [_row(c, known, names, labels) for c in changes]
    write_robustness(cache / ROBUSTNESS_FILE.name, rows)
    print_table(rows)


def _assessed(exam: Exam, change: Change, bundle: Path) -> Assessed:
    changed, stands_for = change.make(exam)
    findings = ichor.detect(changed, bundle=str(bundle), device="cpu")
    noise = noise_sd(changed.volume, changed.geometry.spacing)
    if not findings.assessable:
        return Assessed(np.nan, False, np.full(exam.n_slices, np.nan), noise)
    p = np.array([s.probabilities.any for s in findings.slices], np.float64)
    return Assessed(float(findings.probabilities.any or 0), bool(findings.positive.any), p[stands_for], noise)


def _append(path: Path, change: str, patient: str, found: Assessed) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(_FIELDS)
        writer.writerow([change, patient, EXAM, found.exam, int(found.positive), f"{found.noise:.3f}"])
        writer.writerows([change, patient, k, p, "", ""] for k, p in enumerate(found.slices))


def _read(path: Path) -> dict[tuple[str, str], Assessed]:
    if not path.is_file():
        return {}
    exams: dict[tuple[str, str], tuple[float, bool, float]] = {}
    slices: dict[tuple[str, str], list[float]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            key = line["change"], line["patient"]
            if int(line["slice"]) == EXAM:
                exams[key] = float(line["probability"]), line["positive"] == "1", float(line["noise"])
                slices[key] = []
            else:
                slices[key].append(float(line["probability"]))
    return {k: Assessed(p, yes, np.array(slices[k]), noise) for k, (p, yes, noise) in exams.items()}


def _row(
    change: Change, known: dict[tuple[str, str], Assessed], names: NDArray[np.str_], labels: dict[str, Any]
) -> RobustnessRow:
    """Compare a change with the exams as they are, on those that were assessed both times."""
    pairs = [(str(n), known[FIRST, str(n)], known[change.name, str(n)]) for n in names]
    both = [pair for pair in pairs if np.isfinite(pair[1].exam) and np.isfinite(pair[2].exam)]
    patients, befores, afters = (
        np.array([n for n, _, _ in both]),
        [a for _, a, _ in both],
        [b for _, _, b in both],
    )
    truth = np.array([labels[n][:, 0].max() for n in patients])
    old, new = (np.array([a.exam for a in some]) for some in (befores, afters))
    of_slices = np.concatenate([labels[n][:, 0] for n in patients])
    old_slices, new_slices = (np.concatenate([a.slices for a in some]) for some in (befores, afters))
    of_patients = np.repeat(patients, [len(a.slices) for a in befores])
    exam, _ = paired_bootstrap(roc_auc, truth, new, old, patients)
    slices, _ = paired_bootstrap(roc_auc, of_slices, new_slices, old_slices, of_patients)
    noise = np.array([b.noise / a.noise for _, a, b in both])
    return RobustnessRow(
        change=change.name,
        how=change.how,
        n=len(both),
        positive=int(truth.sum()),
        refused=sum(not np.isfinite(b.exam) for _, _, b in pairs),
        exam_auc=round(roc_auc(truth, new), 4),
        exam_change=_rounded(exam),
        slice_auc=round(roc_auc(of_slices, new_slices), 4),
        slice_change=_rounded(slices),
        moved=round(float(np.abs(new - old).mean()), 4),
        flipped=sum(a.positive != b.positive for _, a, b in both),
        noise=round(float(np.nanmedian(noise)), 2),
    )


def _rounded(interval: Interval) -> tuple[float, float, float]:
    value, low, high = (round(v, 4) + 0.0 for v in (interval.value, interval.low, interval.high))
    return value, low, high


def print_table(rows: list[RobustnessRow]) -> None:
    """Print the figures."""
    interval = "its change (95 % interval)"
    heading(
        "change", "what was done", "noise SD", "exam AUC", interval, "slice AUC", interval, "mean change of P",
        "verdicts that flip", "not assessed",
    )  # fmt: skip
    for r in rows:
        both = ["" if r.change == FIRST else _signed(pair) for pair in (r.exam_change, r.slice_change)]
        areas = (f"{r.exam_auc:.3f}", both[0], f"{r.slice_auc:.3f}", both[1])
        row(r.change, r.how, f"x{r.noise:.2f}", *areas, f"{r.moved:.3f}", f"{r.flipped} of {r.n}", r.refused)


def _signed(change: tuple[float, float, float]) -> str:
    value, low, high = change
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()

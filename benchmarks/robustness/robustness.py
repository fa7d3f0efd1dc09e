"""How far do scores move when the same exams come as another scanner, protocol or archive would have sent them.

Usage: python benchmarks/robustness/robustness.py RUN [DATA] [--cache DIR] [--patients N] [--only NAME]

RUN is the folder of a run with its weights. Each exam of ct-ich is judged by the network that did not train on its
patient, exported to a bundle of its own in the cache, through ``ichor.detect``. Prints a Markdown table, and writes
it as JSON to the cache for the model's card. Results are kept in the cache: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from changes import CHANGES, Change, noise_sd
from numpy.typing import NDArray

import ichor
from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import Interval, paired_bootstrap, roc_auc
from ichor.evaluating.predictions import read_predictions
from ichor.training.release import part_graphs, release
from ichor.training.run import Run, read_recipe

FIRST = CHANGES[0].name
_FIELDS = ("change", "patient", "slice", "probability", "positive", "noise")
EXAM = -1
"""Stands for the exam in the column ``slice``."""


@dataclass(frozen=True)
class Prediction:
    """What was said of an exam: P(any) of it and of each slice of the first exam, NaN where it was refused."""

    exam: float
    positive: bool
    slices: NDArray[np.float64]
    noise: float


def main() -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="RUN/robustness by default")
    parser.add_argument("--patients", type=int, help="the first of each fold alone")
    parser.add_argument("--report", action="store_true", help="judge nothing; print what the cache holds")
    parser.add_argument("--only", action="append", help="this change alone; may repeat")
    options = parser.parse_args()
    cache = options.cache or options.run / "robustness"
    cache.mkdir(parents=True, exist_ok=True)
    run = Run(read_recipe(options.run), options.data, options.run, None, lambda *_: None)
    dataset = open_dataset(run.recipe.target, run.data)
    oof = read_predictions(run.folder, dataset)
    names = np.unique(oof.exam_patients)
    folds = dict(zip(oof.exam_patients.tolist(), oof.exam_folds.tolist(), strict=True))
    if options.patients:
        by_fold = [[n for n in names if folds[n] == f] for f in sorted(set(folds.values()))]
        names = np.array([n for some in by_fold for n in some[: options.patients]])
    known = _read(cache / "judged.csv")
    if options.report:
        names = np.array([n for n in names if all((c.name, str(n)) in known for c in CHANGES)])
        if not len(names):
            raise SystemExit(
                f"{cache}: found no exam that was judged under every change; run without --report"
            )
    changes = [c for c in CHANGES if c.name == FIRST or not options.only or c.name in options.only]
    bundles = {} if options.report else {f: fold_bundle(run, f, cache) for f in sorted(set(folds.values()))}
    started = time.perf_counter()
    for k, name in enumerate(names):
        todo = [c for c in changes if (c.name, str(name)) not in known]
        if todo:
            exam = dataset.load(str(name)).exam
            for change in todo:
                judged = _judge(exam, change, bundles[folds[str(name)]])
                known[change.name, str(name)] = judged
                _append(cache / "judged.csv", change.name, str(name), judged)
            print(f"{k + 1} of {len(names)} exams, {time.perf_counter() - started:.0f} s", flush=True)
    labels = {p: dataset.slice_labels(str(p)) for p in names}
    rows = [_row(c, known, names, labels) for c in changes]
    (cache / "robustness.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def fold_bundle(run: Run, fold: int, cache: Path) -> Path:
    """Export a fold's network; calibration and thresholds are those of all folds, made once."""
    home, first = cache / f"fold-{fold}", cache / "fold-0"
    if (home / "bundle.json").is_file():
        return home
    if home == first:
        return release(run, home, "fold-0")
    manifest = json.loads((first / "bundle.json").read_text())
    home.mkdir(exist_ok=True)
    graphs, _ = part_graphs(run, f"fold-{fold}", home)
    for graph in graphs:
        content = (home / graph.file).read_bytes()
        manifest["graphs"][graph.name]["sha256"] = hashlib.sha256(content).hexdigest()
    (home / "card.md").write_text(f"The network of fold {fold}, for measurements.\n")
    (home / "bundle.json").write_text(json.dumps(manifest))
    return home


def _judge(exam: Any, change: Change, bundle: Path) -> Prediction:
    changed, stands_for = change.make(exam)
    findings = ichor.detect(changed, bundle=str(bundle), device="cpu")
    noise = noise_sd(changed.volume, changed.geometry.spacing)
    if not findings.assessable:
        return Prediction(np.nan, False, np.full(exam.n_slices, np.nan), noise)
    p = np.array([s.probabilities.any for s in findings.slices], np.float64)
    return Prediction(
        float(findings.probabilities.any or 0), bool(findings.positive.any), p[stands_for], noise
    )


def _append(path: Path, change: str, patient: str, judged: Prediction) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(_FIELDS)
        writer.writerow([change, patient, EXAM, judged.exam, int(judged.positive), f"{judged.noise:.3f}"])
        writer.writerows([change, patient, k, p, "", ""] for k, p in enumerate(judged.slices))


def _read(path: Path) -> dict[tuple[str, str], Prediction]:
    if not path.is_file():
        return {}
    exams: dict[tuple[str, str], tuple[float, bool, float]] = {}
    slices: dict[tuple[str, str], list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["change"], row["patient"]
            if int(row["slice"]) == EXAM:
                exams[key] = float(row["probability"]), row["positive"] == "1", float(row["noise"])
                slices[key] = []
            else:
                slices[key].append(float(row["probability"]))
    return {k: Prediction(p, yes, np.array(slices[k]), noise) for k, (p, yes, noise) in exams.items()}


def _row(
    change: Change, known: dict[tuple[str, str], Prediction], names: NDArray[np.str_], labels: dict[str, Any]
) -> dict[str, Any]:
    """Compare a change with the exams as they are, on those that were assessed both times."""
    pairs = [(str(n), known[FIRST, str(n)], known[change.name, str(n)]) for n in names]
    both = [(n, a, b) for n, a, b in pairs if np.isfinite(a.exam) and np.isfinite(b.exam)]
    who = np.array([n for n, _, _ in both])
    truth = np.array([labels[n][:, 0].max() for n in who])
    old, new = (np.array([j[i].exam for j in both]) for i in (1, 2))
    of_slices = np.concatenate([labels[n][:, 0] for n in who])
    old_slices, new_slices = (np.concatenate([j[i].slices for j in both]) for i in (1, 2))
    whose = np.repeat(who, [len(a.slices) for _, a, _ in both])
    exam, _ = paired_bootstrap(roc_auc, truth, new, old, who)
    slices, _ = paired_bootstrap(roc_auc, of_slices, new_slices, old_slices, whose)
    noise = np.array([b.noise / a.noise for _, a, b in both])
    return {
        "change": change.name,
        "how": change.how,
        "n": len(both),
        "positive": int(truth.sum()),
        "refused": sum(not np.isfinite(b.exam) for _, _, b in pairs),
        "exam_auc": round(roc_auc(truth, new), 4),
        "exam_change": _rounded(exam),
        "slice_auc": round(roc_auc(of_slices, new_slices), 4),
        "slice_change": _rounded(slices),
        "moved": round(float(np.abs(new - old).mean()), 4),
        "flipped": sum(a.positive != b.positive for _, a, b in both),
        "noise": round(float(np.nanmedian(noise)), 2),
    }


def _rounded(interval: Interval) -> list[float]:
    return [round(v, 4) + 0.0 for v in (interval.value, interval.low, interval.high)]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| change | what was done | noise SD | exam AUC | its change (95 % interval) | slice AUC | its change "
        "(95 % interval) | mean change of P | verdicts that flip | not assessed |",
        "|" + "---|" * 10,
    ]
    for r in rows:
        first = r["change"] == FIRST
        moved = "{:+.3f} ({:+.3f} to {:+.3f})"
        auc, of_slices = ("" if first else moved.format(*r[k]) for k in ("exam_change", "slice_change"))
        lines.append(
            f"| {r['change']} | {r['how']} | x{r['noise']:.2f} | {r['exam_auc']:.3f} | {auc} | {r['slice_auc']:.3f} | "
            f"{of_slices} | {r['moved']:.3f} | {r['flipped']} of {r['n']} | {r['refused']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

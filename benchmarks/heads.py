"""Heads over the slices of an exam, learnt on the logits of a run's folds, against the bundle's fixed rule.

Usage: python benchmarks/heads.py RUN [DATA]

Needs only the predictions of a map model's folds (benchmarks/runs/default). A head sees the twelve logits of every
slice (six of the map slice by slice, six of the pooled head), learns on the exams of four folds, each judged by the
network that had not seen it, and judges the fifth fold. Each kind is learnt five times, from other seeds, and its range
is given; the last two rows are the mean logits of the five LSTMs that read both ways, and of these and the rule, each
divided by its spread. Exams are judged by the run's own rule. The log loss is of all six labels, weighted as RSNA's,
calibrated across folds. Differences are paired, intervals draw patients.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from ichor.datasets.registry import open_dataset
from ichor.detecting.aggregate import exam_logits
from ichor.evaluating.calibration import crossfit
from ichor.evaluating.metrics import paired_bootstrap, roc_auc, weighted_log_loss
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.models.heads import Head, build_head
from ichor.models.specs import HeadSpec
from ichor.training.losses import slice_loss

HEADS = {
    "linear, slice by slice": HeadSpec(),
    "linear, with the differences to the neighbours": HeadSpec(difference=True),
    "LSTM, 16 units": HeadSpec(kind="lstm", units=(16,), dropout=0.2),
    "GRU, 16 units, both ways": HeadSpec(kind="gru", units=(16,), bidirectional=True, dropout=0.2),
    "LSTM, 16 units, both ways": HeadSpec(kind="lstm", units=(16,), bidirectional=True, dropout=0.2),
}
MIXED = "LSTM, 16 units, both ways"
SEEDS = range(1, 6)
STEPS = 300
Floats = NDArray[np.float64]


def learnt(spec: HeadSpec, seed: int, exams: list[Floats], labels: list[NDArray[np.float32]]) -> Head:
    """Train a head on whole exams: full batches, cosine schedule."""
    torch.manual_seed(seed)
    head = build_head(exams[0].shape[1], spec).train()
    x = pad_sequence([torch.from_numpy(e).float() for e in exams], batch_first=True)
    y = pad_sequence([torch.from_numpy(v) for v in labels], batch_first=True, padding_value=torch.nan)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.01, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        loss = slice_loss(head.padded(x).flatten(0, 1), y.flatten(0, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


def judged(spec: HeadSpec, seed: int, seen: Floats, run: OutOfFold) -> OutOfFold:
    """Judge each fold by a head that learnt on the others."""
    logits = np.empty_like(run.logits)
    for fold in np.unique(run.folds):
        others = run.folds != fold
        mean, spread = seen[others].mean(axis=0), seen[others].std(axis=0)
        x = (seen - mean) / spread
        of = [run.patients == p for p in run.exam_patients[run.exam_folds != fold]]
        head = learnt(spec, seed, [x[mine] for mine in of], [run.labels[mine] for mine in of])
        with torch.inference_mode():
            for p in run.exam_patients[run.exam_folds == fold]:
                mine = run.patients == p
                logits[mine] = head(torch.from_numpy(x[mine]).float()).numpy()
    return with_logits(run, logits)


def with_logits(run: OutOfFold, logits: Floats) -> OutOfFold:
    """Put other logits in the place of a run's, and judge exams by them."""
    exams = np.array([exam_logits(logits[run.patients == p]) for p in run.exam_patients])
    return replace(run, logits=logits, exam_logits=exams)


def mean_of(runs: Sequence[OutOfFold]) -> OutOfFold:
    """Take the mean of several opinions' logits, each divided by its spread."""
    return with_logits(runs[0], np.mean([r.logits / r.logits.std(axis=0) for r in runs], axis=0))


def areas(run: OutOfFold) -> tuple[float, float]:
    """Return the areas under the curve of any hemorrhage, of slices and of exams."""
    return (
        roc_auc(run.labels[:, 0], run.logits[:, 0]),
        roc_auc(run.exam_labels[:, 0], run.exam_logits[:, 0]),
    )


def log_loss(run: OutOfFold) -> float:
    """Return the weighted log loss of slices."""
    return weighted_log_loss(run.labels, crossfit(run.logits, run.labels, run.folds))


def less(run: OutOfFold, rule: OutOfFold) -> list[str]:
    """Say how far both areas lie from the rule's."""
    said = []
    for y, p, base, who in (
        (rule.labels, run.logits, rule.logits, rule.patients),
        (rule.exam_labels, run.exam_logits, rule.exam_logits, rule.exam_patients),
    ):
        found, _ = paired_bootstrap(roc_auc, y[:, 0], p[:, 0], base[:, 0], rule.drawn(who))
        said.append(f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})")
    return said


def main(folder: Path, data: Path) -> None:
    torch.set_num_threads(1)  # the heads are too small to share
    dataset = open_dataset(dataset_of(folder), data)
    rule = read_predictions(folder, dataset)
    seen = np.concatenate(
        [read_predictions(folder, dataset, head).logits for head in ("map", "pooled")], axis=1
    )
    positive = int((rule.exam_labels[:, 0] == 1).sum())
    print(f"{len(rule.exam_patients)} exams, {positive} positive, {len(rule.patients)} slices\n")
    print("| over the slices | slice AUC, any | less the rule's | exam AUC, any | less the rule's | log loss |")
    print("|---|---|---|---|---|---|")
    slices, exams = areas(rule)
    print(f"| the rule that ships | {slices:.3f} | | {exams:.3f} | | {log_loss(rule):.3f} |")
    learners = {name: [judged(spec, seed, seen, rule) for seed in SEEDS] for name, spec in HEADS.items()}
    for name, runs in learners.items():
        found = np.array([areas(r) for r in runs])
        low, middle, high = found.min(axis=0), np.median(found, axis=0), found.max(axis=0)
        cells = [f"{middle[k]:.3f} ({low[k]:.3f} to {high[k]:.3f}) |" for k in (0, 1)]
        losses = sorted(log_loss(r) for r in runs)
        print(f"| {name}: median (lowest to highest of 5) | {cells[0]} | {cells[1]} | {losses[2]:.3f} |")
    five = mean_of(learners[MIXED])
    for name, run in {"the five of the last row together": five, "these and the rule": mean_of([five, rule])}.items():
        (slices, exams), said = areas(run), less(run, rule)
        print(f"| {name} | {slices:.3f} | {said[0]} | {exams:.3f} | {said[1]} | {log_loss(run):.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path("../shared/data"))

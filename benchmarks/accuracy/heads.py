"""Heads over the slices of an exam, learnt on the logits of a run's folds, against the bundle's fixed rule.

Usage: python benchmarks/accuracy/heads.py RUN [DATA]

Needs only the predictions of a map model's folds (benchmarks/runs/default). A head sees the twelve logits of every
slice (six of the map slice by slice, six of the pooled head), learns on the exams of four folds, each judged by the
network that had not seen it, and judges the fifth fold. Each kind is learnt five times, from other seeds, and its range
is given; then the mean logits of five LSTMs that read both ways, each divided by its spread, and what the recipe's
``sequence`` makes of such five, the pooled head and the rule, with the shares that ship and with others. Exams are
judged by the run's own rule. The log loss is of all six labels, weighted as RSNA's, calibrated across folds.
Differences are paired, intervals draw patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from attempts import with_logits
from numpy.typing import NDArray

from ichor.datasets.registry import open_dataset
from ichor.evaluating.calibration import crossfit
from ichor.evaluating.metrics import paired_bootstrap, roc_auc, weighted_log_loss
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.models.specs import HeadSpec
from ichor.training.recipe import SequenceRecipe
from ichor.training.stacking import learn, learn_head, read_opinions

SHIPPED = SequenceRecipe()
HEADS = {
    "linear, slice by slice": HeadSpec(),
    "linear, with the differences to the neighbours": HeadSpec(difference=True),
    "LSTM, 16 units": HeadSpec(kind="lstm", units=(16,), dropout=0.2),
    "GRU, 16 units, both ways": HeadSpec(kind="gru", units=(16,), bidirectional=True, dropout=0.2),
    "LSTM, 16 units, both ways": SHIPPED.head,
}
SHARES = ((0.5, 0.0), (0.5, 0.5), (0.5, 0.25))
"""Of the rule and of the pooled head; the rest is the LSTMs'. The last ship."""
SEEDS = range(1, 6)
Floats = NDArray[np.floating]
Judge = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # the heads are too small to share
    dataset = open_dataset(dataset_of(options.run), options.data)
    rule = read_predictions(options.run, dataset, "rule")
    opinions = read_opinions(options.run, dataset)
    positive = int((rule.exam_labels[:, 0] == 1).sum())
    print(f"{len(rule.exam_patients)} exams, {positive} positive, {len(rule.patients)} slices\n")
    print(
        "| over the slices | slice AUC, any | less the rule's | exam AUC, any | less the rule's | log loss |"
    )
    print("|---|---|---|---|---|---|")
    slices, exams = areas(rule)
    print(f"| the rule alone | {slices:.3f} | | {exams:.3f} | | {log_loss(rule):.3f} |")
    learners = {
        name: [judged(alone(spec, seed), opinions, rule) for seed in SEEDS] for name, spec in HEADS.items()
    }
    for name, runs in learners.items():
        found = np.array([areas(r) for r in runs])
        low, middle, high = found.min(axis=0), np.median(found, axis=0), found.max(axis=0)
        cells = [f"{middle[k]:.3f} ({low[k]:.3f} to {high[k]:.3f})" for k in (0, 1)]
        loss = np.median([log_loss(r) for r in runs])
        print(f"| {name}: median (lowest to highest of 5) | {cells[0]} | | {cells[1]} | | {loss:.3f} |")
    both_ways = [r.logits / r.logits.std(axis=0) for r in learners[list(HEADS)[-1]]]
    five = with_logits(rule, np.mean(both_ways, axis=0))
    rows = {"the five of the last row together": five}
    for of_rule, of_pooled in SHARES:
        recipe = SHIPPED.model_copy(update={"rule_share": of_rule, "pooled_share": of_pooled})
        name = f"sequence: {of_rule:g} the rule, {of_pooled:g} the pooled head, {1 - of_rule - of_pooled:g} five LSTMs"
        rows[name] = judged(
            lambda exams, labels, recipe=recipe: learn(exams, labels, recipe, 1), opinions, rule
        )
    for name, run in rows.items():
        (slices, exams), said = areas(run), less(run, rule)
        print(f"| {name} | {slices:.3f} | {said[0]} | {exams:.3f} | {said[1]} | {log_loss(run):.3f} |")


def alone(spec: HeadSpec, seed: int) -> Callable[[Sequence[Floats], Sequence[NDArray[np.float32]]], Judge]:
    """Make what learns one head, on exams' opinions less the rule's."""

    def learner(exams: Sequence[Floats], labels: Sequence[NDArray[np.float32]]) -> Judge:
        every = np.concatenate(exams)[:, 6:]
        mean, spread = (torch.from_numpy(v).float() for v in (every.mean(axis=0), every.std(axis=0)))
        seen = [(torch.from_numpy(e[:, 6:]).float() - mean) / spread for e in exams]
        head = learn_head(spec, seed, seen, labels, SHIPPED)
        return lambda opinions: head((opinions[:, 6:] - mean) / spread)

    return learner


def judged(
    learner: Callable[[Sequence[Floats], Sequence[NDArray[np.float32]]], Judge],
    opinions: dict[str, NDArray[np.float64]],
    run: OutOfFold,
) -> OutOfFold:
    """Judge each fold by what learnt on the others."""
    logits = np.empty_like(run.logits)
    for fold in np.unique(run.exam_folds):
        others = run.exam_patients[run.exam_folds != fold]
        judge = learner([opinions[p] for p in others], [run.labels[run.patients == p] for p in others])
        with torch.inference_mode():
            for p in run.exam_patients[run.exam_folds == fold]:
                logits[run.patients == p] = judge(torch.from_numpy(opinions[p]).float()).numpy()
    return with_logits(run, logits)


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


if __name__ == "__main__":
    main()

"""Recurrent heads over the slices of an exam, fitted on the logits of a run's folds, against the bundle's slice rule.

Usage: python -m benchmarks.accuracy.heads RUN [--data DIR] [--only TEXT]

Needs only the predictions of a map model's folds (benchmarks/runs/default). A head sees the twelve logits of every
slice (six of the map slice by slice, six of the pooled head). It is fitted on the exams of four folds, each predicted
by the network that had not seen it, and predicts the fifth fold. Each kind is fitted five times from other seeds, and
its range is given. The last rows are the mean logits of five bidirectional LSTMs, each divided by its standard
deviation, and the recipe's ``sequence`` model: a stack of the rule, the pooled head and five LSTMs, with the weights
that ship and with others. Exams are scored by the run's own rule. The log loss is of all six labels, weighted as
RSNA's, calibrated across folds. Differences are paired, intervals draw patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared.arguments import parser
from benchmarks.shared.predictions import with_logits
from benchmarks.shared.tables import change, heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating.calibration import crossfit
from ichor.evaluating.metrics import paired_bootstrap, roc_auc, weighted_log_loss
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.models.specs import HeadSpec
from ichor.training.recipe import SequenceRecipe
from ichor.training.stacking import fit_head, fit_stacker, read_stacking_inputs

SHIPPED = SequenceRecipe()
LSTMS = "LSTM, 16 units, both ways"
HEADS = {
    "linear, slice by slice": HeadSpec(),
    "linear, with the differences to the neighbours": HeadSpec(difference=True),
    "LSTM, 16 units": HeadSpec(kind="lstm", units=(16,), dropout=0.2),
    "GRU, 16 units, both ways": HeadSpec(kind="gru", units=(16,), bidirectional=True, dropout=0.2),
    LSTMS: SHIPPED.head,
}
SHARES = ((0.5, 0.0), (0.5, 0.5), (0.5, 0.25))
"""Of the rule and of the pooled head; the rest is the LSTMs'. The last ship."""
SEEDS = range(1, 6)
Floats = NDArray[np.floating]
Labels = Sequence[NDArray[np.float32]]
Predictor = Callable[[torch.Tensor], torch.Tensor]
"""From ``(n, 18)`` logits of an exam's slices to ``(n, 6)``."""
Fit = Callable[[Sequence[Floats], Labels], Predictor]


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--only", help="heads whose name holds this; without the stacked rows")
    options = arguments.parse_args()
    torch.set_num_threads(1)  # the heads are too small to share
    dataset = open_dataset(dataset_of(options.run), options.data)
    rule = read_predictions(options.run, dataset, "rule")
    inputs = {p: one.logits for p, one in read_stacking_inputs(options.run).items()}
    positive = int((rule.exam_labels[:, 0] == 1).sum())
    print(f"{len(rule.exam_patients)} exams, {positive} positive, {len(rule.patients)} slices\n")
    heading(
        "over the slices", "slice AUC, any", "less the rule's", "exam AUC, any", "less the rule's", "log loss"
    )
    slices, exams = areas(rule)
    row("the rule alone", f"{slices:.3f}", None, f"{exams:.3f}", None, f"{log_loss(rule):.3f}")
    fitted = {
        name: [cross_fitted(one_head(spec, seed), inputs, rule) for seed in SEEDS]
        for name, spec in HEADS.items()
        if not options.only or options.only in name
    }
    for name, runs in fitted.items():
        found = np.array([areas(r) for r in runs])
        low, middle, high = found.min(axis=0), np.median(found, axis=0), found.max(axis=0)
        cells = [f"{middle[k]:.3f} ({low[k]:.3f} to {high[k]:.3f})" for k in (0, 1)]
        loss = float(np.median([log_loss(r) for r in runs]))
        row(f"{name}: median (lowest to highest of 5)", cells[0], None, cells[1], None, f"{loss:.3f}")
    if options.only:
        return
    scaled = [r.logits / r.logits.std(axis=0) for r in fitted[LSTMS]]
    compared("the five of the last row averaged", with_logits(rule, np.mean(scaled, axis=0)), rule)
    for of_rule, of_pooled in SHARES:
        recipe = SHIPPED.replaced(rule_share=of_rule, pooled_share=of_pooled)
        rest = 1 - of_rule - of_pooled
        name = f"sequence: {of_rule:g} the rule, {of_pooled:g} the pooled head, {rest:g} five LSTMs"
        compared(name, cross_fitted(partial(fit_stacker, recipe=recipe, seed=1), inputs, rule), rule)


def one_head(spec: HeadSpec, seed: int) -> Fit:
    """Make what fits one head, on all logits of slices but the rule's."""

    def fit(exams: Sequence[Floats], labels: Labels) -> Predictor:
        every = np.concatenate(exams)[:, 6:]
        mean, spread = (torch.from_numpy(v).float() for v in (every.mean(axis=0), every.std(axis=0)))
        seen = [(torch.from_numpy(e[:, 6:]).float() - mean) / spread for e in exams]
        head = fit_head(spec, seed, seen, labels, SHIPPED)
        return lambda logits: torch.as_tensor(head((logits[:, 6:] - mean) / spread))

    return fit


def cross_fitted(fit: Fit, inputs: dict[str, NDArray[np.float64]], run: OutOfFold) -> OutOfFold:
    """Predict each fold by what was fitted on the others."""
    logits = np.empty_like(run.logits)
    for fold in np.unique(run.exam_folds):
        others = run.exam_patients[run.exam_folds != fold]
        predictor = fit([inputs[p] for p in others], [run.labels[run.patients == p] for p in others])
        with torch.inference_mode():
            for p in run.exam_patients[run.exam_folds == fold]:
                logits[run.patients == p] = predictor(torch.from_numpy(inputs[p]).float()).numpy()
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


def compared(name: str, run: OutOfFold, rule: OutOfFold) -> None:
    """Print a row, with the differences to the rule."""
    cells = []
    for y, p, base, patients in (
        (rule.labels, run.logits, rule.logits, rule.patients),
        (rule.exam_labels, run.exam_logits, rule.exam_logits, rule.exam_patients),
    ):
        found, _ = paired_bootstrap(roc_auc, y[:, 0], p[:, 0], base[:, 0], rule.drawn(patients))
        cells += [f"{roc_auc(y[:, 0], p[:, 0]):.3f}", change(found)]
    row(name, *cells, f"{log_loss(run):.3f}")


if __name__ == "__main__":
    main()

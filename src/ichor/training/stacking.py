"""Stacking: recurrent networks over the slices of an exam, fitted on the predictions of a run's folds.

The network of a fold predicts patients that it never saw; on these logits small heads learn what a bleed looks like
along the stack. Alone they predict slices worse than the slice rule; with it and the pooled head, exams better
(Wolpert, Stacked generalization, Neural Networks, 1992). They are fitted on the slices of the model's grid, for which
they predict in detection; native slices get values by interpolation, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ichor.detecting.rules import ExamRule, ScoringRules, SliceRule
from ichor.detecting.scoring import Prediction, Scores, score
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import read_scores
from ichor.labels import LABEL_NAMES
from ichor.models.heads import Head, build_head
from ichor.models.specs import HeadSpec
from ichor.preparing.grid import SliceDistances
from ichor.training.losses import slice_loss
from ichor.training.recipe import SequenceRecipe

__all__ = [
    "INPUT_HEADS",
    "Stacker",
    "StackingInputs",
    "fit_head",
    "fit_stacker",
    "load_stacker",
    "predict_stacked",
    "read_stacking_inputs",
]

INPUT_HEADS = ("rule", "map", "pooled")
"""Heads whose logits are stacked, in the order of :class:`Stacker`'s input: six of each."""
_LABELS = len(LABEL_NAMES)
_RULE = slice(0, _LABELS)
_POOLED = slice(2 * _LABELS, 3 * _LABELS)
_HEAD_INPUTS = slice(_LABELS, len(INPUT_HEADS) * _LABELS)
"""The heads take the slice's own logits, not the rule's, which already hold the neighbours'."""
Floats = NDArray[np.floating]


class StackingInputs(NamedTuple):
    """Out-of-fold logits of one exam.

    Attributes
    ----------
    logits
        ``(m, 18)`` of the slices of the model's grid.
    distances
        Of the exam's slices.
    """

    logits: NDArray[np.float64]
    distances: SliceDistances


class Stacker(nn.Module):
    """A weighted mean of the logits of the rule, of the pooled head and of some heads, each divided by its spread.

    Parameters
    ----------
    recipe
        How many heads, and which.
    """

    mean: Tensor
    spread: Tensor
    rule_share: Tensor
    pooled_share: Tensor
    head_shares: Tensor

    def __init__(self, recipe: SequenceRecipe) -> None:
        super().__init__()
        width = _HEAD_INPUTS.stop - _HEAD_INPUTS.start
        self.heads = nn.ModuleList(build_head(width, recipe.head) for _ in range(recipe.networks))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("rule_share", torch.ones(_LABELS))
        self.register_buffer("pooled_share", torch.zeros(_LABELS))
        self.register_buffer("head_shares", torch.zeros(recipe.networks, _LABELS))

    def forward(self, opinions: Tensor) -> Tensor:
        """Predict the slices of one exam, in order: ``(m, 18)`` logits (:data:`INPUT_HEADS`) to ``(m, 6)``."""
        seen = (opinions[:, _HEAD_INPUTS] - self.mean) / self.spread
        logits = opinions[:, _RULE] * self.rule_share + opinions[:, _POOLED] * self.pooled_share
        for head, share in zip(self.heads, self.head_shares, strict=True):
            logits = logits + head(seen) * share
        return logits


def fit_stacker(
    exams: Sequence[Floats], labels: Sequence[NDArray[np.float32]], recipe: SequenceRecipe, seed: int
) -> Stacker:
    """Train the heads on whole exams, and find the spread of each input's logits on these.

    Parameters
    ----------
    exams, labels
        ``(m, 18)`` logits and ``(m, 6)`` labels (NaN for unknown) of each exam.
    recipe
        What to fit.
    seed
        The heads differ in it alone.
    """
    with torch.random.fork_rng(devices=[]):
        stacker = Stacker(recipe)
    every = torch.from_numpy(np.concatenate(exams)).float()
    stacker.mean.copy_(every[:, _HEAD_INPUTS].mean(0))
    stacker.spread.copy_(_spread(every[:, _HEAD_INPUTS]))
    inputs = [((torch.from_numpy(e).float()[:, _HEAD_INPUTS] - stacker.mean) / stacker.spread) for e in exams]
    heads = [fit_head(recipe.head, seed * 1000 + k, inputs, labels, recipe) for k in range(recipe.networks)]
    with torch.inference_mode():
        logits = [torch.cat([head(x) for x in inputs]) for head in heads]
        spreads = torch.stack([_spread(values) for values in logits])
        mean = torch.stack([v / spread for v, spread in zip(logits, spreads, strict=True)]).mean(0)
    rest = 1 - recipe.rule_share - recipe.pooled_share
    stacker.heads = nn.ModuleList(heads)
    stacker.head_shares.copy_(rest / (_spread(mean) * spreads * len(heads)))
    stacker.rule_share.copy_(recipe.rule_share / _spread(every[:, _RULE]))
    stacker.pooled_share.copy_(recipe.pooled_share / _spread(every[:, _POOLED]))
    return stacker.eval()


def _spread(logits: Tensor) -> Tensor:
    return logits.std(0).clamp(min=1e-6)


def fit_head(
    spec: HeadSpec,
    seed: int,
    inputs: Sequence[Tensor],
    labels: Sequence[NDArray[np.float32]],
    recipe: SequenceRecipe,
) -> Head:
    """Train one head on whole exams: all of them in every step, under a cosine schedule.

    Parameters
    ----------
    spec
        Of the head.
    seed
        Of its first weights and of dropout.
    inputs, labels
        ``(m, F)`` and ``(m, 6)`` of each exam, NaN for unknown labels.
    recipe
        Steps, learning rate, weight decay.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(inputs[0].shape[1], spec).train()
        x = pad_sequence(list(inputs), batch_first=True)
        y = pad_sequence([torch.from_numpy(v) for v in labels], batch_first=True, padding_value=torch.nan)
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
        for _ in range(recipe.steps):
            loss = slice_loss(head.padded(x).flatten(0, 1), y.flatten(0, 1))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return head.eval()


def read_stacking_inputs(folder: Path) -> dict[str, StackingInputs]:
    """Read the out-of-fold logits of a run's folds on the model's grid, by patient.

    Raises
    ------
    UsageError
        Where a file lacks a head, or is of an older ichor.
    """
    found: dict[str, StackingInputs] = {}
    for file in sorted(folder.glob("fold-*/predictions.csv")):
        heads = [read_scores(file, head) for head in INPUT_HEADS]
        for patient, first in heads[0].items():
            logits = np.concatenate([scores[patient].grid for scores in heads], axis=1)
            found[patient] = StackingInputs(logits, first.distances)
    return found


def load_stacker(path: Path, part: str, recipe: SequenceRecipe) -> Stacker:
    """Read the stacking model that was fitted for a part of a run (``fold-0``: on the other folds; ``all``: on all).

    Raises
    ------
    UsageError
        Where the file is not there, or holds something else.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: found no file; expected the weights of the recipe's 'sequence'; train it: --parts sequence"
        )
    state = {
        name.removeprefix(f"{part}."): value
        for name, value in load_file(path).items()
        if name.startswith(f"{part}.")
    }
    stacker = Stacker(recipe)
    try:
        stacker.load_state_dict(state)
    except RuntimeError:
        raise UsageError(
            f"{path}: found no weights of {part!r} that fit the recipe's 'sequence'; expected those of this run; "
            "remove the file and train it again: --parts sequence"
        ) from None
    return stacker.eval()


def predict_stacked(
    stackers: Mapping[str, Stacker],
    inputs: Mapping[str, StackingInputs],
    part_of: Mapping[str, str],
    exam_rule: ExamRule,
) -> Iterator[tuple[str, Scores]]:
    """Predict each patient by the model that was fitted for the part that held him out.

    Parameters
    ----------
    stackers
        By part.
    inputs, part_of
        By patient.
    exam_rule
        By which the grid's slices make an exam.

    Yields
    ------
    patient, scores
        Of the grid's slices, the native ones and the exam.
    """
    # The rule has smoothed already: its logits are what goes in.
    rules = ScoringRules(SliceRule(kind="graph"), exam_rule, np.inf)
    for patient, (logits, distances) in inputs.items():
        stacker = stackers[part_of[patient]]

        def stacked(
            _: NDArray[np.float64], __: Prediction, logits: Floats = logits, stacker: Stacker = stacker
        ) -> NDArray[np.float64]:
            with torch.inference_mode():
                found: Tensor = stacker(torch.from_numpy(logits).float())
            return np.asarray(found.numpy(), np.float64)

        yield patient, score(Prediction(None, logits[:, _RULE].astype(np.float32)), distances, rules, stacked)

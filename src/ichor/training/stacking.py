"""Recurrent networks over the slices of an exam, weighed with other opinions: stacked on what a run's folds said.

A network of a fold is asked about patients that it never saw; on these opinions small heads learn what a bleed looks
like along the stack. Alone they judge slices worse than the slice rule; with it and the pooled head, exams better
(Wolpert, Stacked generalization, Neural Networks, 1992).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ichor.datasets.labelled import Dataset
from ichor.errors import UsageError
from ichor.evaluating.predictions import read_predictions
from ichor.labels import LABEL_NAMES
from ichor.models.heads import Head, build_head
from ichor.models.specs import HeadSpec
from ichor.training.losses import slice_loss
from ichor.training.recipe import SequenceRecipe

__all__ = ["OPINIONS", "Together", "judged", "learn", "learn_head", "load_together", "read_opinions"]

OPINIONS = ("rule", "map", "pooled")
"""What is known of a slice, in the order of :class:`Together`'s input: six logits each."""
_LABELS = len(LABEL_NAMES)
_RULED = slice(0, _LABELS)
_POOLED = slice(2 * _LABELS, 3 * _LABELS)
_SEEN = slice(_LABELS, len(OPINIONS) * _LABELS)
"""The heads see the slice's own logits, not the rule's, which already hold the neighbours'."""
Floats = NDArray[np.floating]


class Together(nn.Module):
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
        seen = _SEEN.stop - _SEEN.start
        self.heads = nn.ModuleList(build_head(seen, recipe.head) for _ in range(recipe.networks))
        self.register_buffer("mean", torch.zeros(seen))
        self.register_buffer("spread", torch.ones(seen))
        self.register_buffer("rule_share", torch.ones(_LABELS))
        self.register_buffer("pooled_share", torch.zeros(_LABELS))
        self.register_buffer("head_shares", torch.zeros(recipe.networks, _LABELS))

    def forward(self, opinions: Tensor) -> Tensor:
        """Judge the slices of one exam, in order: ``(n, 18)`` logits (see :data:`OPINIONS`) to ``(n, 6)``."""
        seen = (opinions[:, _SEEN] - self.mean) / self.spread
        logits = opinions[:, _RULED] * self.rule_share + opinions[:, _POOLED] * self.pooled_share
        for head, share in zip(self.heads, self.head_shares, strict=True):
            logits = logits + head(seen) * share
        return logits


def learn(
    exams: Sequence[Floats], labels: Sequence[NDArray[np.float32]], recipe: SequenceRecipe, seed: int
) -> Together:
    """Train the heads on whole exams, and find the spread of what each opinion says of these.

    Parameters
    ----------
    exams, labels
        ``(n, 18)`` opinions and ``(n, 6)`` labels (NaN for unknown) of each exam.
    recipe
        What to learn.
    seed
        The heads differ in it alone.
    """
    with torch.random.fork_rng(devices=[]):
        together = Together(recipe)
    every = torch.from_numpy(np.concatenate(exams)).float()
    together.mean.copy_(every[:, _SEEN].mean(0))
    together.spread.copy_(_spread(every[:, _SEEN]))
    seen = [((torch.from_numpy(e).float()[:, _SEEN] - together.mean) / together.spread) for e in exams]
    heads = [learn_head(recipe.head, seed * 1000 + k, seen, labels, recipe) for k in range(recipe.networks)]
    with torch.inference_mode():
        said = [torch.cat([head(x) for x in seen]) for head in heads]
        spreads = torch.stack([_spread(s) for s in said])
        mean = torch.stack([s / spread for s, spread in zip(said, spreads, strict=True)]).mean(0)
    rest = 1 - recipe.rule_share - recipe.pooled_share
    together.heads = nn.ModuleList(heads)
    together.head_shares.copy_(rest / (_spread(mean) * spreads * len(heads)))
    together.rule_share.copy_(recipe.rule_share / _spread(every[:, _RULED]))
    together.pooled_share.copy_(recipe.pooled_share / _spread(every[:, _POOLED]))
    return together.eval()


def _spread(logits: Tensor) -> Tensor:
    return logits.std(0).clamp(min=1e-6)


def learn_head(
    spec: HeadSpec,
    seed: int,
    seen: Sequence[Tensor],
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
    seen, labels
        ``(n, F)`` and ``(n, 6)`` of each exam, NaN for unknown labels.
    recipe
        Steps, learning rate, weight decay.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(seen[0].shape[1], spec).train()
        x = pad_sequence(list(seen), batch_first=True)
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


def read_opinions(folder: Path, dataset: Dataset) -> dict[str, NDArray[np.float64]]:
    """Read what the networks of a run's folds said: ``(n, 18)`` logits of each patient's slices, out of fold."""
    runs = [read_predictions(folder, dataset, head) for head in OPINIONS]
    logits = np.concatenate([run.logits for run in runs], axis=1)
    return {str(p): logits[runs[0].patients == p] for p in runs[0].exam_patients}


def load_together(path: Path, part: str, recipe: SequenceRecipe) -> Together:
    """Read what was learnt for a part of a run (``fold-0``: on the other folds; ``all``: on all).

    Raises
    ------
    UsageError
        Where the file is not there, or holds something else.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: found no file; expected what the recipe's 'sequence' learnt; train it: --parts sequence"
        )
    state = {
        name.removeprefix(f"{part}."): value
        for name, value in load_file(path).items()
        if name.startswith(f"{part}.")
    }
    together = Together(recipe)
    try:
        together.load_state_dict(state)
    except RuntimeError:
        raise UsageError(
            f"{path}: found no weights of {part!r} that fit the recipe's 'sequence'; expected those of this run; "
            "remove the file and train it again: --parts sequence"
        ) from None
    return together.eval()


def judged(
    together: Mapping[str, Together], opinions: Mapping[str, NDArray[np.float64]], part_of: Mapping[str, str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Judge each patient by what was learnt for the part that held him out.

    Yields
    ------
    patient, logits
        ``(n, 6)``.
    """
    for patient, said in opinions.items():
        with torch.inference_mode():
            yield patient, together[part_of[patient]](torch.from_numpy(said).float()).numpy()

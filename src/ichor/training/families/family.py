"""What training, evaluation and release ask of a kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.detecting.rules import ScoringRules, SliceRule
from ichor.detecting.scoring import Prediction, Scores, score
from ichor.models import ModelSpec
from ichor.preparing import Preparation
from ichor.preparing.grid import SliceDistances
from ichor.training.plain import PlainSampler
from ichor.training.sampling import Batch, Sampler

if TYPE_CHECKING:
    from ichor.datasets.labelled import Dataset
    from ichor.datasets.store import Store
    from ichor.training.features import FrozenFeatures
    from ichor.training.recipe import Recipe

__all__ = [
    "INFERENCE_BATCH",
    "FeatureSource",
    "Graph",
    "LossSettings",
    "ModelFamily",
    "StepLoss",
    "TrainingSlices",
    "device_of",
    "in_batches",
]

INFERENCE_BATCH = 16
"""Slices that a network takes at a time where nothing is learned."""


@dataclass(frozen=True)
class TrainingSlices:
    """What a network may learn from.

    Attributes
    ----------
    target, patients
        Slices of the target set, and whose may be drawn.
    others
        Slices of other sets, and whose may be drawn.
    features
        Computed once, where the backbone is frozen.
    """

    target: Store
    patients: set[str]
    others: Sequence[tuple[Store, set[str]]] = ()
    features: FrozenFeatures | None = None


@dataclass(frozen=True)
class FeatureSource:
    """Where the features of a frozen backbone come from, and where they are kept.

    Attributes
    ----------
    dataset, store
        The exams, and their slices on the grid.
    folder
        Where features are kept.
    weights
        ImageNet weights of the backbone: see :func:`ichor.models.build_network`.
    accelerator
        See :func:`ichor.training.predicting.inference_device`.
    log
        Called with a line.
    """

    dataset: Dataset
    store: Store
    folder: Path
    weights: bool | Path | None
    accelerator: str
    log: Callable[[str], None]


@dataclass(frozen=True)
class LossSettings:
    """What a training step is given besides its batch.

    Attributes
    ----------
    recipe
        Weights of the losses.
    slice_loss
        From logits and labels ``(n, 6)`` to a scalar, weighted and smoothed as the recipe says.
    teacher_loss
        The same to a teacher's probabilities, which are not smoothed.
    stack
        From ``(n, 3, rows, columns)`` HU to the network's input.
    small
        Whether this step is done at the recipe's ``small_scale``, where the family can.
    """

    recipe: Recipe
    slice_loss: Callable[[Tensor, Tensor], Tensor]
    teacher_loss: Callable[[Tensor, Tensor], Tensor]
    stack: Callable[[Tensor], Tensor]
    small: bool = False

    def of_slices(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of a batch's slices: to their labels, and to a teacher's outputs where they have none."""
        distil = self.recipe.distil
        if distil is None:
            return self.slice_loss(logits, batch.labels)
        # Of each process the same calls, though its share of the batch may hold nothing of one kind.
        own = len(batch.labels) - batch.taught
        to_labels = self.slice_loss(logits[:own], batch.labels[:own])
        return to_labels + distil.slice_weight * self.teacher_loss(logits[own:], batch.labels[own:])


class StepLoss(NamedTuple):
    """Loss of a step, and the ``(n, 6)`` logits that its accuracy is logged by."""

    loss: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of a bundle, and the module that it is made from.

    Attributes
    ----------
    name
        In the bundle.
    inputs, outputs
        Names of what it takes and gives.
    module
        In evaluation mode.
    example
        An input.
    traced
        Export by tracing, which is much quicker for large networks; those with recurrent layers always are.
    free_axes
        Of inputs and outputs, which may be of any length; others than the first, of traced graphs alone.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: nn.Module
    example: Tensor
    traced: bool = False
    free_axes: tuple[int, ...] = (0,)

    @property
    def file(self) -> str:
        """Name of its file in the bundle."""
        return f"{self.name}.onnx"


class ModelFamily(Protocol):
    """A kind of model: how it is trained, how it predicts, which graphs it ships.

    Attributes
    ----------
    spec
        What a recipe says under ``model``.
    locates
        Whether it draws a map, from which regions and volumes come.
    heads
        Columns of its predictions; the first is by the slice rule and is what ships where nothing is stacked.
    abilities
        Of ``mixed`` (sampling), ``soup`` (weight averaging), ``sequence`` (stacking), ``cached_features`` and
        ``int8``: what a recipe or the export may ask for.
    pretrained_parts
        First parts of names of parameters that start from ImageNet weights.
    map_stride
        Pixels of the grid for one of the map; what the format says where there is no map.
    """

    spec: type[ModelSpec]
    locates: bool = False
    heads: tuple[str, ...] = ("rule",)
    abilities: frozenset[str] = frozenset()
    pretrained_parts: tuple[str, ...] = ()
    map_stride: int = 2

    def losses(self, network: nn.Module, batch: Batch, settings: LossSettings) -> StepLoss:
        """Give the loss of a batch."""
        ...

    def predict(self, network: nn.Module, stack: NDArray[np.float32]) -> Prediction:
        """Predict the slices of one exam on the model's grid.

        Parameters
        ----------
        network
            In evaluation mode.
        stack
            ``(m, channels, rows, columns)`` float32, 0..1.
        """
        ...

    def graphs(self, network: nn.Module, preparation: Preparation) -> list[Graph]:
        """Return the graphs of a bundle, each fed by what the one before gives."""
        ...

    def check(self, recipe: Recipe) -> None:
        """Refuse what a recipe asks for and the family cannot do.

        Raises
        ------
        ValueError
            Naming it.
        """
        asked = {
            "cached_features": (
                recipe.cached_features is not None,
                "cached_features needs a classifier whose backbone is frozen ([''])",
            ),
            "mixed": (recipe.sampling.kind == "mixed", "sampling 'mixed' is for the map model"),
            "soup": (recipe.ships == "soup", "ships 'soup' is for the map model"),
            "sequence": (
                recipe.sequence is not None,
                "sequence is for the map model; a classifier has a recurrent head of its own",
            ),
        }
        for ability, (is_asked, refusal) in asked.items():
            if is_asked and ability not in self.abilities:
                raise ValueError(refusal)

    def rules(self, recipe: Recipe) -> ScoringRules:
        """Return the rules by which predictions are scored: those of the recipe, on the graphs' own logits."""
        rule = recipe.slice_rule
        own = SliceRule(kind="graph", weights=rule.weights, pixels=rule.pixels)
        return ScoringRules(own, recipe.exam_rule, recipe.preparation.max_gap_mm)

    def scores(
        self, prediction: Prediction, distances: SliceDistances, rules: ScoringRules
    ) -> Mapping[str, Scores]:
        """Score a prediction, head by head: all that ``predictions.csv`` holds."""
        return {"rule": score(prediction, distances, rules)}

    def sampler(self, recipe: Recipe, slices: TrainingSlices) -> Sampler:
        """Return what draws training batches."""
        return PlainSampler(recipe, slices.target, slices.patients)

    def cached_features(self, recipe: Recipe, source: FeatureSource) -> FrozenFeatures | None:
        """Compute features once, where the recipe asks for it."""
        return None

    def average(self, networks: Sequence[nn.Module], stacks: Sequence[NDArray[np.float32]]) -> nn.Module:
        """Return one network of several: see :mod:`ichor.training.weight_averaging`."""
        raise NotImplementedError(f"{type(self).__name__}.average")


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's parameters are."""
    return next(network.parameters()).device


def in_batches(stack: NDArray[np.float32], device: torch.device) -> list[Tensor]:
    """Return the slices of an exam on a device, some at a time."""
    whole = torch.from_numpy(stack).contiguous(memory_format=torch.channels_last).to(device)
    return [whole[k : k + INFERENCE_BATCH] for k in range(0, len(whole), INFERENCE_BATCH)]

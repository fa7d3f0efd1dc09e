"""Models that draw maps: a logit a pixel, and the slice's from the top pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ichor.detecting.rules import ScoringRules
from ichor.detecting.scoring import Prediction, Scores, score
from ichor.models import MapSpec
from ichor.preparing import Preparation
from ichor.preparing.grid import SliceDistances
from ichor.training.families.family import (
    Graph,
    LossSettings,
    ModelFamily,
    StepLoss,
    TrainingSlices,
    device_of,
    in_batches,
)
from ichor.training.losses import map_loss, map_targets
from ichor.training.plain import PlainSampler
from ichor.training.recipe import MixedSampling
from ichor.training.sampling import Batch, MixedSampler, Sampler
from ichor.training.weight_averaging import average_weights

if TYPE_CHECKING:
    from ichor.training.recipe import Recipe

__all__ = ["MapFamily"]


class _MapGraph(nn.Module):
    """What a map model's graph gives: the map, the logits of its top pixels, and the pooled head's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, slices, pooled = self.network(stack)
        return maps, slices, pooled


class MapFamily(ModelFamily):
    """See :class:`ichor.models.unet.MapNet`."""

    spec = MapSpec
    locates = True
    heads = ("rule", "map", "pooled")
    abilities = frozenset({"mixed", "soup", "sequence", "int8"})
    pretrained_parts = ("encoder.",)
    map_stride = 2

    def losses(self, network: nn.Module, batch: Batch, settings: LossSettings) -> StepLoss:
        """Give the loss of the maps, and of the slices by both heads."""
        recipe = settings.recipe
        hu, blood, of_teacher = batch.hu, batch.blood, batch.maps
        if settings.small:
            size = [round(n * recipe.small_scale / 32) * 32 for n in hu.shape[2:]]
            hu = F.interpolate(hu, size=size, mode="bilinear", antialias=True)
            blood = F.interpolate(blood[:, None].float(), size=size, mode="nearest")[:, 0].to(torch.uint8)
            if of_teacher is not None:
                half = [n // 2 for n in size]
                of_teacher = F.interpolate(of_teacher, size=half, mode="bilinear", antialias=True)
        maps, slices, pooled = network(settings.stack(hu))
        own = len(batch.labels) - batch.taught
        of_maps = maps.new_zeros((), dtype=torch.float32)
        if own:
            targets, weights = map_targets(_halve(blood[:own]), batch.labels[:own])
            of_maps = map_loss(maps[:own].float(), targets, weights)
        if of_teacher is not None and recipe.distil is not None:
            known = ~torch.isnan(batch.labels[own:])[:, :, None, None]
            soft = map_loss(maps[own:].float(), of_teacher, known.float().expand_as(of_teacher))
            of_maps = of_maps + recipe.distil.map_weight * soft
        loss = recipe.optimiser.map_weight * of_maps
        of_slices = settings.of_slices(slices.float(), batch) + settings.of_slices(pooled.float(), batch)
        return StepLoss(loss + recipe.optimiser.slice_weight * of_slices, slices)

    def predict(self, network: nn.Module, stack: NDArray[np.float32]) -> Prediction:
        """Predict maps, and slices by both heads."""
        with torch.inference_mode():
            parts = [network(batch) for batch in in_batches(stack, device_of(network))]
        return Prediction(*(torch.cat(values).cpu().numpy() for values in zip(*parts, strict=True)))

    def rules(self, recipe: Recipe) -> ScoringRules:
        """Return the recipe's rules."""
        return ScoringRules(recipe.slice_rule, recipe.exam_rule, recipe.preparation.max_gap_mm)

    def scores(
        self, prediction: Prediction, distances: SliceDistances, rules: ScoringRules
    ) -> Mapping[str, Scores]:
        """Score by the slice rule, by the map slice by slice, and by the pooled head."""
        found = {"rule": prediction, "map": Prediction(None, prediction.slices)}
        if prediction.pooled is not None:
            found["pooled"] = Prediction(None, prediction.pooled)
        return {head: score(one, distances, rules) for head, one in found.items()}

    def sampler(self, recipe: Recipe, slices: TrainingSlices) -> Sampler:
        """Draw from all sets by the shares of the recipe, or plainly from the target."""
        if isinstance(recipe.sampling, MixedSampling):
            return MixedSampler(recipe, (slices.target, slices.patients), slices.others)
        return PlainSampler(recipe, slices.target, slices.patients)

    def graphs(self, network: nn.Module, preparation: Preparation) -> list[Graph]:
        """Return the one graph."""
        example = torch.zeros(2, len(preparation.channels), preparation.rows, preparation.columns)
        return [Graph("slice", ("stack",), ("map", "slice", "pooled"), _MapGraph(network), example)]

    def average(self, networks: Sequence[nn.Module], stacks: Sequence[NDArray[np.float32]]) -> nn.Module:
        """Return the mean of the weights, its logits scaled to those of the networks."""
        return average_weights(networks, stacks)


def _halve(blood: Tensor) -> Tensor:
    """Blood map at half the resolution: a block with at least two marked pixels is marked."""
    blocks = F.pixel_unshuffle(blood[:, None].float(), 2)
    ordered = blocks.sort(dim=1).values
    return ordered[:, 2].to(torch.uint8)

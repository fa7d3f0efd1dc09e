"""What Lightning trains: a recipe's network, its losses, its optimiser."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ichor.preparing import Preparation
from ichor.training.families.family import LossSettings
from ichor.training.losses import slice_loss, slice_weights
from ichor.training.recipe import Recipe
from ichor.training.sampling import Batch

__all__ = ["TrainingModule", "channels_of", "depthwise_in_fp32"]


def depthwise_in_fp32(network: nn.Module) -> None:
    """Keep a network's depthwise convolutions out of bf16 autocast on a CPU.

    Their backward pass in bf16 is slower there than in fp32 (``benchmarks/speed/step.py``); nothing changes elsewhere.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            # A partial is copied with its module (as averaging does); a closure would keep the old weights.
            module.forward = partial(_in_fp32, module)  # type: ignore[method-assign]


def _in_fp32(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    forward = type(convolution).forward
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return forward(convolution, x)
    with torch.autocast("cpu", enabled=False):
        return forward(convolution, x.float()).to(x.dtype)


def channels_of(hu: Tensor, preparation: Preparation) -> Tensor:
    """Window slices and neighbours ``(n, k, r, c)`` HU as :meth:`Preparation.stack` does a whole exam.

    Raises
    ------
    ValueError
        Where a channel shows a neighbour that is not among the ``k`` planes, whose middle one is the slice itself.
    """
    middle = hu.shape[1] // 2
    if preparation.reach > middle:
        raise ValueError(
            f"hu: found {hu.shape[1]} planes a slice; expected {2 * preparation.reach + 1} for a channel that shows "
            f"the neighbour {preparation.reach} places away"
        )
    out = hu.new_empty((len(hu), len(preparation.channels), *hu.shape[2:]))
    preparation.fill(out, lambda offset: hu[:, middle + offset])
    return out


class TrainingModule(pl.LightningModule):
    """A network under training.

    Parameters
    ----------
    recipe
        Losses, optimiser, schedule.
    network
        What :func:`ichor.models.build_network` made of it.
    epoch_steps
        Steps of an epoch.
    positive_weight
        ``(6,)`` factor for positives of each label, or None.
    """

    def __init__(
        self, recipe: Recipe, network: nn.Module, epoch_steps: int, positive_weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.epoch_steps = epoch_steps
        self.register_buffer("positive_weight", positive_weight, persistent=False)

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """Give the loss of a batch, with the logits and labels of ``any`` for the log."""
        # Dropout depends on the step, not on what ran before: a resumed run draws the same.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step * 64 + self.global_rank)
        small = self.current_epoch < self.recipe.small_epochs
        return self._losses(batch, small=small)

    def validation_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """As the training step, at full size."""
        return self._losses(batch, small=False)

    def _losses(self, batch: Batch, *, small: bool) -> dict[str, Tensor]:
        settings = LossSettings(self.recipe, self._slice_loss, self._teacher_loss, self._stack, small)
        loss, logits = self.recipe.family.losses(self.network, batch, settings)
        own = len(batch.labels) - batch.taught
        return {"loss": loss, **_for_log(logits[:own], batch.labels[:own])}

    def _stack(self, hu: Tensor) -> Tensor:
        return channels_of(hu, self.recipe.preparation).contiguous(memory_format=torch.channels_last)

    def _slice_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._smoothed_loss(logits, labels, self.recipe.optimiser.label_smoothing)

    def _teacher_loss(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        return self._smoothed_loss(logits, probabilities, 0.0)

    def _smoothed_loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        weights = slice_weights(labels, self.positive_weight)  # type: ignore[arg-type]
        total = weights.sum()
        if self.trainer.world_size > 1:
            # Gradients are averaged over processes: each divides by the mean of all their weights.
            total = self.trainer.strategy.reduce(total, reduce_op="mean")
        return slice_loss(logits, labels, smoothing, weights, total)

    def configure_optimizers(self) -> Any:
        """Make the recipe's optimiser and schedule."""
        recipe = self.recipe.optimiser
        groups = list(self._groups())
        optimizer: torch.optim.Optimizer
        if recipe.kind == "sgd":
            optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
        elif recipe.kind == "adam":
            optimizer = torch.optim.Adam(groups, lr=recipe.learning_rate)
        else:
            optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> Any:
        """Pretrained layers learn at a share of the rate of new ones; no decay on norms and biases."""
        recipe = self.recipe.optimiser
        parts = self.recipe.family.pretrained_parts if self.recipe.model.pretrained else ()
        old = tuple(f"network.{part}" for part in parts)
        for pretrained in (True, False):
            named = [
                p for n, p in self.named_parameters() if n.startswith(old) == pretrained and p.requires_grad
            ]
            rate = recipe.learning_rate * (recipe.backbone_factor if pretrained else 1.0)
            for decays in (True, False):
                part = [p for p in named if (p.ndim > 1) == decays]
                if part:
                    yield {"params": part, "lr": rate, "weight_decay": recipe.weight_decay * decays}

    def _rate(self, step: int) -> float:
        recipe = self.recipe.optimiser
        if step < recipe.warmup_steps:
            return (step + 1) / recipe.warmup_steps
        total = self.recipe.epochs * self.epoch_steps
        progress = min(1.0, (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps))
        if recipe.schedule == "cosine":
            return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2
        return 0.1 ** int(progress * 3) if recipe.schedule == "step" else 1.0


def _for_log(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {"any_logits": logits[:, 0].detach().float(), "any_labels": labels[:, 0]}

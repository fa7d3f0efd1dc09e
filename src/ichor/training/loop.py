"""The training loop: resumable, its weights averaged, its log a CSV."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ichor.models.unet import MapNet
from ichor.preparing import Preparation, Window
from ichor.training.losses import map_loss, map_targets, slice_loss
from ichor.training.recipe import Recipe
from ichor.training.sampling import Batch, Sampler

__all__ = ["build_model", "channels_of", "fit", "load_weights"]


def build_model(recipe: Recipe, weights: bool | Path | None) -> MapNet:
    """Make the recipe's network, with ImageNet weights (from timm's hub or a file) or without."""
    model = recipe.model
    return MapNet(
        model.backbone,
        in_channels=len(recipe.preparation.channels),
        widths=model.widths,
        hottest=model.hottest,
        dropout=model.dropout,
        weights=weights if model.pretrained else None,
    )


def load_weights(recipe: Recipe, path: Path) -> MapNet:
    """Make the recipe's network with the weights that a run ended with."""
    model = build_model(recipe, None)
    model.load_state_dict(load_file(path))
    return model.eval()


def channels_of(hu: Tensor, preparation: Preparation) -> Tensor:
    """Window slices and neighbours ``(n, 3, r, c)`` HU as :meth:`Preparation.stack` does a whole exam."""
    planes = []
    for channel in preparation.channels:
        window = Window(channel.level, channel.width)
        planes.append(((hu[:, 1 + channel.offset] - window.low) / window.width).clamp(0, 1))
    return torch.stack(planes, dim=1)


def fit(
    recipe: Recipe,
    sampler: Sampler,
    folder: Path,
    weights: bool | Path | None,
    log: Callable[[int, int, str], None],
) -> Path:
    """Train to the recipe's last step, going on from the folder's checkpoint if there is one.

    Parameters
    ----------
    recipe, sampler
        What to train, on what.
    folder
        Holds ``checkpoint.pt`` while training, then ``weights.safetensors``; ``log.csv`` throughout.
    weights
        See :func:`build_model`.
    log
        Called with step, steps and a line at every tenth step.

    Returns
    -------
    pathlib.Path
        The averaged weights.
    """
    done = folder / "weights.safetensors"
    if done.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe, weights).to(memory_format=torch.channels_last)
    ema = get_ema_multi_avg_fn(recipe.average_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
    optimizer = torch.optim.AdamW(
        _groups(model, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    start = 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start = state["step"]
    for step in range(start, recipe.steps):
        began = time.perf_counter()
        batch = sampler.batch(step)
        waited = time.perf_counter() - began
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout, the same after a resumption
        losses = _step(model, batch, recipe, small=step < recipe.small_steps)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        values = {name: float(value.detach()) for name, value in losses.items()}
        values |= {"waited_s": waited, "step_s": time.perf_counter() - began}
        _write_row(folder / "log.csv", step, values)
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(f"{folder}: the loss became {values['loss']} at step {step}")
        if step % 10 == 9:
            log(step + 1, recipe.steps, f"loss {values['loss']:.3f}, {values['step_s']:.1f} s a step")
        if (step + 1) % recipe.checkpoint_steps == 0:
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step + 1,
            }
            torch.save(state, folder / "checkpoint.new")
            (folder / "checkpoint.new").rename(checkpoint)
    averaged = {k: v.contiguous() for k, v in average.module.state_dict().items()}
    save_file(averaged, folder / "weights.new")
    (folder / "weights.new").rename(done)
    checkpoint.unlink(missing_ok=True)
    return done


def _step(model: MapNet, batch: Batch, recipe: Recipe, *, small: bool) -> dict[str, Tensor]:
    hu, blood = batch.hu, batch.blood
    if small:
        size = [round(n * recipe.small_scale / 32) * 32 for n in hu.shape[2:]]
        hu = F.interpolate(hu, size=size, mode="bilinear", antialias=True)
        blood = F.interpolate(blood[:, None].float(), size=size, mode="nearest")[:, 0].to(torch.uint8)
    stack = channels_of(hu, recipe.preparation).contiguous(memory_format=torch.channels_last)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        map_logits, hottest, pooled = model(stack)
    # The map has half the grid's resolution: the brightest of four marks wins, doubt over nothing.
    marks = _halve(blood)
    targets, weights = map_targets(marks, batch.labels)
    dense = map_loss(map_logits.float(), targets, weights)
    hot = slice_loss(hottest.float(), batch.labels)
    whole = slice_loss(pooled.float(), batch.labels)
    return {"loss": recipe.map_weight * dense + hot + whole, "map": dense, "hottest": hot, "pooled": whole}


def _halve(blood: Tensor) -> Tensor:
    """Blood map at half the resolution: a block with at least two marked pixels is marked."""
    blocks = F.pixel_unshuffle(blood[:, None].float(), 2)
    ordered = blocks.sort(dim=1).values
    return ordered[:, 2].to(torch.uint8)


def _groups(model: MapNet, recipe: Recipe) -> list[dict[str, object]]:
    """Pretrained layers learn at a third of the rate of new ones; no decay on norms and biases."""
    groups: list[dict[str, object]] = []
    for part, factor in (("encoder.", 0.35), ("", 1.0)):
        named = [
            (n, p)
            for n, p in model.named_parameters()
            if (n.startswith("encoder.") if part else not n.startswith("encoder."))
        ]
        rate = recipe.learning_rate * factor
        groups.append({"params": [p for _, p in named if p.ndim > 1], "lr": rate})
        groups.append({"params": [p for _, p in named if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    return groups


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2


def _write_row(path: Path, step: int, values: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", *values])
        writer.writerow([step, *(f"{v:.5g}" for v in values.values())])

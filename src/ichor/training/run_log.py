"""How training goes: rows an epoch, TensorBoard a step, a line every ten steps, and what it took."""

from __future__ import annotations

import csv
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ichor.memory import peak_memory_mb
from ichor.progress import Progress
from ichor.training.hardware import Hardware
from ichor.training.recipe import Recipe

__all__ = ["RunLog"]

_COLUMNS = (
    "step",
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
    "waited",
)


class RunLog(pl.Callback):
    """``log.csv`` an epoch, TensorBoard a step, a line every ten steps with the time left."""

    def __init__(
        self, recipe: Recipe, folder: Path, epoch_steps: int, progress: Progress, hardware: Hardware
    ) -> None:
        self.recipe, self.folder, self.progress, self.hardware = recipe, folder, progress, hardware
        self.epoch_steps = epoch_steps
        self.total = recipe.epochs * epoch_steps
        self.before = 0.0
        """Seconds that earlier, killed runs took."""
        self.losses: list[float] = []
        self.correct = self.known = 0.0
        self.validation: list[tuple[float, float, float]] = []
        self.row: dict[str, float | int | str] = {}
        self.waited = self.busy = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the seconds so far."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting where a killed run stopped."""
        self.before = state_dict["seconds"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.began = self.idle_since = time.perf_counter()
        self.first_step = trainer.global_step

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Rows of epochs after the checkpoint are done again."""
        self.first_step = trainer.global_step
        if trainer.is_global_zero:
            rows = [
                r for r in _read_rows(self.folder / "log.csv") if int(r["epoch"]) <= trainer.current_epoch
            ]
            with (self.folder / "log.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, _COLUMNS)
                writer.writeheader()
                writer.writerows(rows)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the figures of an epoch; the last one is validated whatever the recipe's rhythm."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1
        self.losses, self.correct, self.known, self.waited, self.busy = [], 0.0, 0.0, 0.0, 0.0
        self.idle_since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count how long the step waited for its batch."""
        self.step_began = time.perf_counter()
        self.waited += self.step_began - self.idle_since

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss of a step, and say every ten steps how far it is."""
        loss = outputs["loss"].detach()
        if trainer.world_size > 1:
            loss = trainer.strategy.reduce(loss, reduce_op="mean")
        value = float(loss)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{self.folder.name}: the loss became {value} at step {trainer.global_step}"
            )
        self.losses.append(value)
        correct, known = _accuracy(outputs)
        self.correct, self.known = self.correct + correct, self.known + known
        if trainer.logger is not None:
            trainer.logger.log_metrics({"train/step_loss": value}, trainer.global_step)
        step = trainer.global_step
        self.idle_since = time.perf_counter()
        self.busy += self.idle_since - self.step_began
        if step % 10 == 0 and trainer.is_global_zero:
            each = (time.perf_counter() - self.began) / max(1, step - self.first_step)
            left = each * (self.total - step)
            line = f"loss {value:.3f}, {each:.2f} s a step, {_minutes(left)} left"
            self.progress(f"{self.folder.name} {step}/{self.total}: {line}", step / self.total)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of an epoch."""
        self.row |= {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch + 1,
            "train_loss": _rounded(sum(self.losses) / max(1, len(self.losses))),
            "train_accuracy": _rounded(self.correct / self.known) if self.known else "",
            "learning_rate": _rounded(trainer.optimizers[0].param_groups[-1]["lr"]),
            "seconds": round(self._seconds(), 2),
            "waited": _rounded(self.waited / max(self.waited + self.busy, 1e-9)),
        }
        if trainer.is_global_zero:
            with (self.folder / "log.csv").open("a", newline="") as file:
                csv.DictWriter(file, _COLUMNS, restval="").writerow(self.row)
        if trainer.logger is not None:
            numbers = {f"epoch/{k}": float(v) for k, v in self.row.items() if v != ""}
            trainer.logger.log_metrics(numbers, trainer.global_step)
        self.row = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the figures of held-out slices."""
        self.validation = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep loss and accuracy of a batch."""
        self.validation.append((float(outputs["loss"]), *_accuracy(outputs)))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the means over held-out slices."""
        weight = sum(k for *_, k in self.validation)
        if not weight:
            return
        loss = sum(v * k for v, _, k in self.validation) / weight
        pl_module.log("val_loss", torch.tensor(loss), rank_zero_only=False, sync_dist=False)
        self.row |= {
            "val_loss": _rounded(loss),
            "val_accuracy": _rounded(sum(c for _, c, _ in self.validation) / weight),
        }

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``run.json``: time, memory, sizes."""
        if not trainer.is_global_zero:
            return
        memory = peak_memory_mb()
        figures = {
            "seconds": round(self._seconds(), 1),
            "peak_memory_mb": None if memory is None else round(memory),
            "epochs": trainer.current_epoch,
            "images": trainer.global_step * self.recipe.batch_size,
            "parameters": sum(p.numel() for p in pl_module.parameters()),
            "trained_parameters": sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            "threads": torch.get_num_threads(),
            "hardware": asdict(self.hardware),
        }
        (self.folder / "run.json").write_text(json.dumps(figures, indent=1) + "\n")

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.began


def _accuracy(outputs: dict[str, Tensor]) -> tuple[float, float]:
    labels = outputs["any_labels"]
    known = ~torch.isnan(labels)
    right = (outputs["any_logits"][known] > 0) == (labels[known] > 0.5)
    return float(right.sum()), float(known.sum())


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

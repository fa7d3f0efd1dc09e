"""Training with Lightning: on one processor or many, resumable, averaged, logged."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ichor.errors import UsageError
from ichor.models import build_network
from ichor.progress import Progress
from ichor.training.hardware import Hardware, is_bf16_fast
from ichor.training.module import TrainingModule, depthwise_in_fp32
from ichor.training.recipe import Recipe
from ichor.training.run_log import RunLog
from ichor.training.sampling import Batch, Sampler

__all__ = ["FitData", "Start", "fit", "load_model", "load_start"]

_CHECKPOINT = "last.ckpt"
_BEST = "best.ckpt"


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes
    ----------
    weights
        ImageNet weights: see :func:`ichor.models.build_network`.
    path
        Weights of another run of the same network; None for none.
    """

    weights: bool | Path | None = None
    path: Path | None = None


@dataclass(frozen=True)
class FitData:
    """What a network is fitted to.

    Attributes
    ----------
    sampler
        Draws the training batches.
    validation
        Batches to measure loss and accuracy on. Chosen by them is only what ``early_stopping`` says.
    positive_weight
        ``(6,)`` weight of positives; None for 1.
    streamed
        Whether slices come over a network: the connections of a process do not survive a fork.
    """

    sampler: Sampler
    validation: Sequence[Batch] = ()
    positive_weight: Tensor | None = None
    streamed: bool = False


def load_model(recipe: Recipe, path: Path) -> nn.Module:
    """Make a recipe's network with the weights that a run ended with, in evaluation mode."""
    network = _network(recipe, None)
    network.load_state_dict(load_file(path))
    return network.eval()


def load_start(network: nn.Module, path: Path) -> None:
    """Start from another run's weights of the same network."""
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(
            f"{path}: found weights of another network ({str(error).splitlines()[0]}); "
            "expected those of a run with the same model and preparation"
        ) from None


def fit(
    recipe: Recipe,
    data: FitData,
    folder: Path,
    start: Start,
    progress: Progress,
    hardware: Hardware | None = None,
) -> Path:
    """Train to the recipe's last epoch, going on from the folder's checkpoint if there is one.

    Parameters
    ----------
    recipe, data
        What to train, on what.
    folder
        Holds ``last.ckpt`` while training, then ``weights.safetensors``; ``log.csv``, TensorBoard's events
        and ``run.json`` (time, memory) stay.
    start
        Weights to start from.
    progress
        Called every ten steps, with the name of the folder, the loss and the time left.
    hardware
        Where to train; one process by default.

    Returns
    -------
    pathlib.Path
        The weights: averaged over steps, or of the best epoch, as the recipe says.
    """
    hardware = hardware or Hardware()
    done = folder / "weights.safetensors"
    if done.exists():
        return done
    if recipe.batch_size % hardware.world:
        raise UsageError(
            f"batch_size: found {recipe.batch_size}; expected a multiple of {hardware.world}, "
            "the number of processes that share a batch"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _quiet()
    pl.seed_everything(recipe.seed, verbose=False)
    network = _network(recipe, start.weights)
    if start.path is not None:
        load_start(network, start.path)
    network = network.to(memory_format=torch.channels_last)
    depthwise_in_fp32(network)
    epoch_steps = data.sampler.epoch_steps
    module = TrainingModule(recipe, network, epoch_steps, data.positive_weight)
    callback = RunLog(recipe, folder, epoch_steps, progress, hardware)
    trainer = _trainer(recipe, folder, callback, hardware, has_validation=bool(data.validation))
    checkpoint = folder / _CHECKPOINT
    trainer.fit(
        module,
        datamodule=_Data(recipe, data, hardware),
        ckpt_path=str(checkpoint) if checkpoint.exists() else None,
        weights_only=True,
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    _keep(module, trainer, folder, best=recipe.early_stopping is not None)
    trainer.strategy.barrier()
    return done


def _keep(module: TrainingModule, trainer: pl.Trainer, folder: Path, *, best: bool) -> None:
    """Write the weights that training ended with, or those of the best epoch, and leave no checkpoint."""
    path = folder / _BEST
    if best and path.exists():
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    if trainer.is_global_zero:
        state = {k: v.detach().cpu().contiguous() for k, v in module.network.state_dict().items()}
        save_file(state, folder / "weights.new")
        (folder / "weights.new").rename(folder / "weights.safetensors")
        for left in (folder / _CHECKPOINT, path):
            left.unlink(missing_ok=True)


def _network(recipe: Recipe, weights: bool | Path | None) -> nn.Module:
    preparation = recipe.preparation
    size = (preparation.rows, preparation.columns)
    return build_network(recipe.model, len(preparation.channels), size, weights)


def _trainer(
    recipe: Recipe, folder: Path, log: RunLog, hardware: Hardware, *, has_validation: bool
) -> pl.Trainer:
    # The checkpoint is what a killed run goes on from: an epoch's end is the unit that is never half done.
    callbacks: list[pl.Callback] = [
        log,
        ModelCheckpoint(
            folder,
            _CHECKPOINT.removesuffix(".ckpt"),
            every_n_epochs=max(1, recipe.checkpoint_steps // log.epoch_steps),
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if recipe.average_decay:
        callbacks.append(EMAWeightAveraging(decay=recipe.average_decay))
    if recipe.early_stopping:
        if not has_validation:
            raise UsageError(
                "early_stopping: found no patients to hold back; expected more training patients"
            )
        callbacks.append(EarlyStopping("val_loss", patience=recipe.early_stopping.patience))
        callbacks.append(
            ModelCheckpoint(
                folder,
                _BEST.removesuffix(".ckpt"),
                monitor="val_loss",
                save_weights_only=True,
                enable_version_counter=False,
            )
        )
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy="ddp" if hardware.world > 1 else "auto",
        precision=_precision(hardware),
        max_epochs=recipe.epochs,
        gradient_clip_val=recipe.optimiser.clip,
        check_val_every_n_epoch=recipe.validate_epochs,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=_tensorboard(folder),
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the sampler itself deals a batch to the processes
        sync_batchnorm=hardware.world > 1 and hardware.accelerator == "gpu",
        default_root_dir=folder,
    )


def _precision(hardware: Hardware) -> Any:
    if hardware.precision not in ("auto", "32", "bf16"):
        raise UsageError(f"precision {hardware.precision!r}: expected auto, 32 or bf16")
    if hardware.precision == "auto":
        return "bf16-mixed" if is_bf16_fast(hardware.accelerator) else "32-true"
    return "32-true" if hardware.precision == "32" else "bf16-mixed"


def _tensorboard(folder: Path) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="", version="events")


class _Steps(Dataset[Batch]):
    """A batch by the number of its step: this process's share of it."""

    def __init__(self, sampler: Sampler, slots: Sequence[int]) -> None:
        self.sampler, self.slots = sampler, slots

    def __getitem__(self, step: int) -> Batch:
        return self.sampler.batch(step, self.slots)


class _EpochSteps(torch.utils.data.Sampler[int]):
    """The steps of the present epoch, counted in steps done: the trainer's epoch lags after a resumption."""

    def __init__(self, epoch_steps: int, steps_done: Callable[[], int]) -> None:
        self.epoch_steps, self.steps_done = epoch_steps, steps_done

    def __iter__(self) -> Iterator[int]:
        start = self.steps_done()
        return iter(range(start, start + self.epoch_steps))

    def __len__(self) -> int:
        return self.epoch_steps


class _Data(pl.LightningDataModule):
    """The batches of a run; made once the processes know who they are."""

    def __init__(self, recipe: Recipe, data: FitData, hardware: Hardware) -> None:
        super().__init__()
        self.recipe, self.data, self.hardware = recipe, data, hardware

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        if trainer is None:
            raise RuntimeError("the loader of a run was asked for outside of a trainer")
        rank = trainer.global_rank
        share = self.recipe.batch_size // self.hardware.world
        workers = self.hardware.workers
        return DataLoader(
            _Steps(self.data.sampler, range(rank * share, (rank + 1) * share)),
            batch_size=None,
            sampler=_EpochSteps(self.data.sampler.epoch_steps, lambda: trainer.global_step),
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            multiprocessing_context="spawn" if workers and self.data.streamed else None,
        )

    def val_dataloader(self) -> Any:
        validation = self.data.validation
        return DataLoader(validation, batch_size=None) if validation else []  # type: ignore[arg-type]


def _quiet() -> None:
    """Lightning's advice is for its own users; ichor says what matters itself."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")

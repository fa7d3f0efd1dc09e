"""Features of a backbone that keeps still, computed once: a large network is then tried at a head's price."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.datasets.store import Store
from ichor.models import ClassifierSpec
from ichor.models.classifier import SliceClassifier
from ichor.preparing import prepare
from ichor.training.module import channels_of
from ichor.training.recipe import Recipe
from ichor.training.sampling import shaded_batch

__all__ = ["cached_views", "inference_device"]

_BATCH = 16


def cached_views(
    recipe: Recipe,
    network: SliceClassifier,
    dataset: Dataset,
    store: Store,
    folder: Path,
    log: Callable[[str], None],
    accelerator: str = "auto",
) -> NDArray[np.float16]:
    """Compute the features of a data set's slices, or open what an earlier run computed.

    Parameters
    ----------
    recipe
        Preparation, augmentation, how many views.
    network
        Its backbone is used, in evaluation mode.
    dataset, store
        The exams, and their slices on the grid.
    folder
        Where features are kept.
    log
        Told what is being done.
    accelerator
        See :func:`inference_device`.

    Returns
    -------
    numpy.ndarray
        ``(views + 1, N, F)``, memory-mapped. The first is the slice as detection prepares it; the others are
        changed as the recipe's augmentation says, all slices of an exam alike.
    """
    views = recipe.cached_features.views if recipe.cached_features else 0
    home = folder / f"{dataset.name}-{_key(recipe, network)}"
    done = home / "done.json"
    if not done.exists():
        home.mkdir(parents=True, exist_ok=True)
        device = inference_device(accelerator)
        network.eval().to(device)
        for view in range(views + 1):
            part = home / f"view-{view}.npy"
            if part.exists():
                continue  # of a run that was killed
            log(f"features of {dataset.name}, view {view} of {views}: once, kept in {home.name}")
            rows = (
                _plain(recipe, network, dataset, store)
                if not view
                else _changed(recipe, network, store, view)
            )
            array = np.concatenate(list(rows)).astype(np.float16)
            temporary = home / f"view-{view}.{os.getpid()}.tmp"
            with temporary.open("wb") as file:
                np.save(file, array)
            temporary.rename(part)
        done.write_text(json.dumps({"views": views, "slices": len(store.labels)}) + "\n")
    arrays = [np.load(home / f"view-{view}.npy", mmap_mode="r") for view in range(views + 1)]
    return np.stack(arrays)


def inference_device(accelerator: str) -> torch.device:
    """Return where networks judge: the GPU where there is one and ``accelerator`` is not ``cpu``."""
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _plain(
    recipe: Recipe, network: SliceClassifier, dataset: Dataset, store: Store
) -> Iterator[NDArray[np.float32]]:
    """Features by the very path of detection, exam by exam."""
    with torch.inference_mode():
        for patient in store.patients:
            stack = torch.from_numpy(prepare(dataset.load(patient).exam, recipe.preparation).stack)
            stack = stack.to(network.mean.device)  # type: ignore[arg-type]
            for start in range(0, len(stack), _BATCH):
                yield network.features(stack[start : start + _BATCH]).cpu().numpy()


def _changed(
    recipe: Recipe, network: SliceClassifier, store: Store, view: int
) -> Iterator[NDArray[np.float32]]:
    clipped = store.hu_range == (0.0, 80.0)
    device = network.mean.device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):  # type: ignore[arg-type]
        for start in range(0, len(store.labels), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(store.labels)))
            near = store.neighbours(index, recipe.preparation.max_gap_mm)
            hu = torch.from_numpy(store.hu[near].astype(np.float32))
            nothing = torch.zeros(len(index), *hu.shape[2:], dtype=torch.uint8)
            labels = torch.from_numpy(store.labels[index])
            seeds = [[recipe.seed, view, int(store.exam[i])] for i in index]
            batch = shaded_batch(recipe, hu, nothing, labels, torch.full((len(index),), clipped), seeds)
            stack = channels_of(batch.hu, recipe.preparation).contiguous(memory_format=torch.channels_last)
            yield network.features(stack.to(device)).float().cpu().numpy()  # type: ignore[arg-type]


def _key(recipe: Recipe, network: SliceClassifier) -> str:
    """Hash what features depend on: the backbone and its weights, the preparation, the changes."""
    spec = recipe.model
    parts = [recipe.preparation.model_dump_json(), recipe.augmentation.model_dump_json(), str(recipe.seed)]
    if isinstance(spec, ClassifierSpec):
        parts.append(spec.model_copy(update={"head": None, "dropout": 0.0}).model_dump_json(warnings=False))
    parts.append(str(recipe.cached_features))
    digest = hashlib.sha256("\n".join(parts).encode())
    for parameter in network.backbone.state_dict().values():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]

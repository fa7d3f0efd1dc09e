"""Features of a frozen backbone, computed once: a large network is then tried at a head's price."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ichor.datasets.labelled import Dataset
from ichor.datasets.store import Store
from ichor.detecting.scoring import Prediction
from ichor.models import build_network
from ichor.models.classifier import SliceClassifier
from ichor.preparing import prepare
from ichor.training.families.family import INFERENCE_BATCH, FeatureSource, device_of
from ichor.training.hardware import is_bf16_fast
from ichor.training.module import channels_of
from ichor.training.predicting import inference_device
from ichor.training.recipe import Recipe
from ichor.training.sampling import Drawn, shaded_batch

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FrozenFeatures", "cache_features", "cached_views"]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of a data set's slices.

    Attributes
    ----------
    views
        ``(views + 1, N, F)``, memory-mapped. The first is the slice as detection prepares it; the others are
        changed as the recipe's augmentation says, all slices of an exam alike.
    """

    views: NDArray[np.float16]

    def predict(self, network: nn.Module, slices: NDArray[np.bool_]) -> Prediction:
        """Predict the slices of one exam, as prepared for detection, by a network's head alone."""
        features = torch.from_numpy(self.views[0, slices].astype(np.float32)).to(device_of(network))
        with torch.inference_mode():
            logits = cast("SliceClassifier", network).head(features)
        return Prediction(None, logits.cpu().numpy())


def cache_features(recipe: Recipe, source: FeatureSource) -> FrozenFeatures:
    """Compute the features of a data set's slices, or open what an earlier run computed.

    Parameters
    ----------
    recipe
        Its backbone, preparation, augmentation, how many views.
    source
        Of the slices.
    """
    preparation = recipe.preparation
    torch.manual_seed(recipe.seed)
    size = (preparation.rows, preparation.columns)
    network = build_network(recipe.model, len(preparation.channels), size, source.weights)
    if not isinstance(network, SliceClassifier):
        raise TypeError("cached features are of a classifier's backbone")
    return FrozenFeatures(cached_views(recipe, network, source))


def cached_views(recipe: Recipe, network: SliceClassifier, source: FeatureSource) -> NDArray[np.float16]:
    """Return :attr:`FrozenFeatures.views` of a network's backbone; what is already there is kept."""
    dataset, store = source.dataset, source.store
    views = recipe.cached_features.views if recipe.cached_features else 0
    home: Path = source.folder / f"{dataset.name}-{_key(recipe, network)}"
    done = home / "done.json"
    if not done.exists():
        home.mkdir(parents=True, exist_ok=True)
        network.eval().to(inference_device(source.accelerator))
        for view in range(views + 1):
            part = home / f"view-{view}.npy"
            if part.exists():
                continue  # of a run that was killed
            source.log(f"features of {dataset.name}, view {view} of {views}: once, kept in {home.name}")
            rows = (
                _plain(recipe, network, dataset, store)
                if not view
                else _changed(recipe, network, store, view, is_bf16_fast(source.accelerator))
            )
            array = np.concatenate(list(rows)).astype(np.float16)
            temporary = home / f"view-{view}.{os.getpid()}.tmp"
            with temporary.open("wb") as file:
                np.save(file, array)
            temporary.rename(part)
        done.write_text(json.dumps({"views": views, "slices": len(store.labels)}) + "\n")
    arrays = [np.load(home / f"view-{view}.npy", mmap_mode="r") for view in range(views + 1)]
    return np.stack(arrays)


def _plain(
    recipe: Recipe, network: SliceClassifier, dataset: Dataset, store: Store
) -> Iterator[NDArray[np.float32]]:
    """Features by the very path of detection, exam by exam."""
    with torch.inference_mode():
        for patient in store.patients:
            stack = torch.from_numpy(prepare(dataset.load(patient).exam, recipe.preparation).stack)
            stack = stack.to(network.mean.device)  # type: ignore[arg-type]
            for start in range(0, len(stack), INFERENCE_BATCH):
                yield network.features(stack[start : start + INFERENCE_BATCH]).cpu().numpy()


def _changed(
    recipe: Recipe, network: SliceClassifier, store: Store, view: int, bf16: bool
) -> Iterator[NDArray[np.float32]]:
    device = network.mean.device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):  # type: ignore[arg-type]
        for start in range(0, len(store.labels), INFERENCE_BATCH):
            index = np.arange(start, min(start + INFERENCE_BATCH, len(store.labels)))
            near = store.neighbours(index, recipe.preparation.max_gap_mm)
            hu = torch.from_numpy(store.hu[near].astype(np.float32))
            nothing = torch.zeros(len(index), *hu.shape[2:], dtype=torch.uint8)
            labels = torch.from_numpy(store.labels[index])
            seeds = [[recipe.seed, view, int(store.exam[i])] for i in index]
            limits = torch.from_numpy(store.hu_ranges[store.exam[index]])
            batch = shaded_batch(recipe, Drawn(hu, nothing, labels, limits, seeds))
            stack = channels_of(batch.hu, recipe.preparation).contiguous(memory_format=torch.channels_last)
            yield network.features(stack.to(device)).float().cpu().numpy()  # type: ignore[arg-type]


def _key(recipe: Recipe, network: SliceClassifier) -> str:
    """Hash what features depend on: the backbone and its weights, the preparation, the changes."""
    parts = [recipe.preparation.model_dump_json(), recipe.augmentation.model_dump_json(), str(recipe.seed)]
    # Neither the head nor dropout changes what a frozen backbone gives.
    backbone = recipe.model.model_dump(mode="json") | {"head": None, "dropout": 0.0}
    parts.append(json.dumps(backbone, separators=(",", ":")))
    parts.append(str(recipe.cached_features))
    digest = hashlib.sha256("\n".join(parts).encode())
    for parameter in network.backbone.state_dict().values():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]

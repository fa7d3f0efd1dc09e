"""Slices, or whole exams for recurrent heads: as they come, or balanced over subtypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ichor.datasets.store import Store
from ichor.training.recipe import PlainSampling, Recipe
from ichor.training.sampling import Batch, Drawn, shaded_batch

__all__ = ["PlainSampler", "label_weights"]

_LARGEST_WEIGHT = 10.0
_AIR = -1000.0


class PlainSampler:
    """Draws slices, or exams where the recipe's head is sequential.

    Parameters
    ----------
    recipe
        Sampling, augmentation, seed.
    store
        Where the slices lie.
    patients
        Whose slices may be drawn.
    views
        ``(views + 1, N, F)`` cached features of the store's slices, the first those of the unchanged slice;
        given, a batch holds features in place of pixels.
    """

    def __init__(
        self, recipe: Recipe, store: Store, patients: set[str], views: NDArray[np.float16] | None = None
    ) -> None:
        if not isinstance(recipe.sampling, PlainSampling):
            raise TypeError(f"recipe {recipe.name}: sampling is {recipe.sampling.kind!r}, not 'plain'")
        self.recipe, self.store, self.views = recipe, store, views
        self.sampling = recipe.sampling
        allowed = np.isin(store.exam, [i for i, p in enumerate(store.patients) if p in patients])
        known = allowed & ~np.isnan(store.labels).all(axis=1)
        if recipe.sequential:
            self.items = [np.flatnonzero(store.exam == e) for e in np.unique(store.exam[known])]
            self.length = min(self.sampling.length, max(len(i) for i in self.items))
        else:
            self.items = [np.array([i]) for i in np.flatnonzero(known)]
            self.length = 0
        self.slices = np.concatenate(self.items)
        self._classes = self._of_each_class()
        images = self.sampling.epoch_images or len(self.items)
        self.epoch_steps = recipe.epoch_steps or -(-images // recipe.batch_size)

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """See :meth:`ichor.training.sampling.Sampler.batch`."""
        index, known, exams = self._drawn(step, slots)
        if self.views is not None:
            return self._cached(index, known, exams)
        near = self.store.neighbours(np.maximum(index, 0), self.recipe.preparation.max_gap_mm)
        hu = torch.from_numpy(self.store.hu[near].astype(np.float32))
        hu[torch.from_numpy(index < 0)] = _AIR
        blood, maps = self._marks(np.maximum(index, 0))
        limits = torch.from_numpy(self.store.hu_ranges[self.store.exam[np.maximum(index, 0)]])
        return shaded_batch(self.recipe, Drawn(hu, blood, known, limits, exams, self.length, maps))

    def _marks(self, index: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the blood maps of slices, and a teacher's maps where it has any."""
        return torch.from_numpy(self.store.blood[index]), None

    def _drawn(
        self, step: int, slots: Sequence[int]
    ) -> tuple[NDArray[np.intp], torch.Tensor, list[list[int]]]:
        """Draw slices, -1 where a sequence is padded: their numbers, labels, and seeds (one an exam)."""
        indices, labels, exams = [], [], []
        for slot in slots:
            seed = [self.recipe.seed, step, slot]
            rng = np.random.default_rng(seed)
            item = self.items[self._draw(step, slot, rng)]
            label = self.store.labels[item]
            if self.length:
                item, label = self._cut_or_pad(item, label, rng)
            indices.append(item)
            labels.append(label)
            exams += [seed] * len(item)
        return np.concatenate(indices), torch.from_numpy(np.concatenate(labels)), exams

    def _draw(self, step: int, slot: int, rng: np.random.Generator) -> int:
        if self.sampling.balance == "oversample":
            return int(rng.choice(self._classes[rng.integers(len(self._classes))]))
        epoch, within = divmod(step, self.epoch_steps)
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.items))
        return int(order[(within * self.recipe.batch_size + slot) % len(order)])

    def _of_each_class(self) -> list[NDArray[np.intp]]:
        """Return which items are of each subtype, and which of none: those classes that there are."""
        labels = np.stack([np.nan_to_num(self.store.labels[i]).max(axis=0) for i in self.items])
        positive = labels[:, 0] > 0.5
        subtypes = labels[:, 1:] > 0.5
        classes = [np.flatnonzero(~positive), np.flatnonzero(positive & ~subtypes.any(axis=1))]
        classes += [np.flatnonzero(subtypes[:, j]) for j in range(subtypes.shape[1])]
        return [c for c in classes if len(c)]

    def _cut_or_pad(
        self, item: NDArray[np.intp], label: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Bring a sequence to its length: a part of a longer one, -1 and no labels after a shorter one."""
        spare = len(item) - self.length
        if spare >= 0:
            start = int(rng.integers(spare + 1))
            return item[start : start + self.length], label[start : start + self.length]
        return (
            np.concatenate([item, np.full(-spare, -1)]),
            np.concatenate([label, np.full((-spare, label.shape[1]), np.nan, np.float32)]),
        )

    def _cached(self, index: NDArray[np.intp], labels: torch.Tensor, seeds: list[list[int]]) -> Batch:
        views = self.views
        if views is None:
            raise TypeError("no cached features")
        # One view a sequence; where there are changed views the unchanged one is for prediction.
        view = np.array(
            [np.random.default_rng([*s, 1]).integers(min(1, len(views) - 1), len(views)) for s in seeds]
        )
        features = torch.from_numpy(views[view, np.maximum(index, 0)].astype(np.float32))
        features[torch.from_numpy(index < 0)] = 0
        nothing = torch.empty(0)
        return Batch(nothing, nothing, labels, self.length, features)


def label_weights(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight of a positive of each label, so that both classes count about as much.

    Parameters
    ----------
    labels
        ``(n, 6)``, NaN for unknown.

    Returns
    -------
    numpy.ndarray
        ``(6,)``: negatives over positives, at most 10; 1 where there are no positives.
    """
    positives = np.nansum(labels == 1, axis=0)
    negatives = np.nansum(labels == 0, axis=0)
    ratio = np.where(positives > 0, negatives / np.maximum(positives, 1), 1.0)
    return np.clip(ratio, 1.0, _LARGEST_WEIGHT).astype(np.float32)

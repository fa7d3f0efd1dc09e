"""Which slices make a batch: reproducible step by step, so that a resumed run sees the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.store import Store
from ichor.training.augment import move, paste, shade
from ichor.training.recipe import Recipe

__all__ = ["Batch", "Sampler"]

_PLACE_TOLERANCE = 0.1
"""A bleed is pasted into slices whose height in the head is within this share of its own."""


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes
    ----------
    hu
        ``(n, 3, rows, columns)`` float32 HU on the grid.
    blood
        ``(n, rows, columns)`` uint8.
    labels
        ``(n, 6)`` float32, NaN for unknown.
    """

    hu: Tensor
    blood: Tensor
    labels: Tensor


class _Pool:
    """Slices of one store that may be drawn, positives so that each patient and subtype gets its turn."""

    def __init__(self, store: Store, patients: set[str]) -> None:
        self.store = store
        allowed = np.isin(store.exam, [i for i, p in enumerate(store.patients) if p in patients])
        any_label = store.labels[:, 0]
        self.positive = np.flatnonzero(allowed & (any_label == 1))
        self.negative = np.flatnonzero(allowed & (any_label == 0))
        # A patient's weight is the root of how many slices he has; a rare subtype's, the inverse root.
        exams = store.exam[self.positive]
        per_exam = np.bincount(exams, minlength=len(store.patients))
        subtypes = np.nan_to_num(store.labels[self.positive, 1:])
        rarity = 1 / np.sqrt(np.maximum(subtypes.sum(axis=0), 1))
        weight = (subtypes * rarity).max(axis=1) + 1e-6
        weight /= np.sqrt(per_exam[exams])
        self.positive_weight = weight / weight.sum() if len(weight) else weight
        drawn = (store.blood[i] for i in self.positive)
        marked = np.array([bool(((b > 0) & (b != UNKNOWN)).sum() >= 12) for b in drawn], dtype=bool)
        self.donors = self.positive[marked]
        donor_weight = self.positive_weight[marked]
        self.donor_weight = donor_weight / donor_weight.sum() if len(donor_weight) else donor_weight
        self.place = store.place

    def read(self, index: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return ``(n, 3, r, c)`` HU and ``(n, 3, r, c)`` blood of slices and their neighbours."""
        near = self.store.neighbours(index)
        return self.store.hu[near].astype(np.float32), self.store.blood[near]


class Sampler:
    """Draws the batches of a run.

    Parameters
    ----------
    recipe
        Shares, augmentation, seed.
    target, extra
        Stores with the patients that may be drawn from each.
    """

    def __init__(
        self, recipe: Recipe, target: tuple[Store, set[str]], extra: list[tuple[Store, set[str]]]
    ) -> None:
        self.recipe = recipe
        self.target = _Pool(*target)
        self.extra = [_Pool(*pair) for pair in extra]
        if not len(self.target.positive) or not len(self.target.negative):
            raise ValueError("the training patients hold only one class")

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step; the same for the same recipe and step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        share = self.recipe.sampling
        hus, bloods, labels, clipped = [], [], [], []
        for kind in self._kinds(rng):
            pool = self.target if kind.startswith("target") else self.extra[rng.integers(len(self.extra))]
            if kind.endswith("positive"):
                index = rng.choice(pool.positive, 1, p=pool.positive_weight)
            else:
                index = rng.choice(pool.negative, 1)
            hu, blood = pool.read(index)
            label = torch.from_numpy(pool.store.labels[index].copy())
            planes, marks = torch.from_numpy(hu), torch.from_numpy(blood[:, 1])
            brain_only = pool.store.hu_range == (0.0, 80.0)
            if kind == "target_negative" and rng.random() < share.paste:
                pasted = self._paste(planes, float(pool.place[index[0]]), rng, generator)
                if pasted is not None:
                    planes, marks, label, from_brain_only = pasted
                    brain_only = brain_only or from_brain_only
            hus.append(planes)
            bloods.append(marks)
            labels.append(label)
            clipped.append(brain_only)
        spec = self.recipe.preparation
        moved, marks = move(
            torch.cat(hus), torch.cat(bloods), (spec.rows, spec.columns), self.recipe.augmentation, generator
        )
        shaded = shade(moved, torch.tensor(clipped), self.recipe.augmentation, generator)
        return Batch(shaded, marks, torch.cat(labels))

    def _kinds(self, rng: np.random.Generator) -> list[str]:
        share = self.recipe.sampling
        names = ["target_positive", "target_negative"]
        if self.extra:
            names += ["extra_positive", "extra_negative"]
        weights = np.array([getattr(share, n) for n in names])
        exact = weights / weights.sum() * self.recipe.batch_size
        counts = np.floor(exact).astype(int)
        rest = self.recipe.batch_size - counts.sum()
        left = exact - counts
        for i in rng.choice(len(names), rest, replace=False, p=left / left.sum()) if rest else []:
            counts[i] += 1
        return [name for name, count in zip(names, counts, strict=True) for _ in range(count)]

    def _paste(
        self, planes: Tensor, place: float, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, bool] | None:
        """Paste a bleed from either source; None where no donor of this height fits."""
        pools = [self.target, *self.extra]
        pool = pools[0] if rng.random() < 0.6 else pools[rng.integers(len(pools))]
        near = np.abs(pool.place[pool.donors] - place) < _PLACE_TOLERANCE
        if not near.any():
            return None
        weight = pool.donor_weight * near
        donor = rng.choice(pool.donors, 1, p=weight / weight.sum())
        donor_hu, donor_blood = (torch.from_numpy(a) for a in pool.read(donor))
        mixed, marks, done = paste(planes, donor_hu, donor_blood, generator)
        if not bool(done[0]) or not bool((marks > 0).any()):
            return None
        label = torch.from_numpy(pool.store.labels[donor].copy())
        # What the donor's slice held besides what was pasted stays behind: its subtypes are unknown here.
        seen = {int(v) for v in torch.unique(marks)}
        for subtype in range(1, 6):
            if label[0, subtype] == 1 and subtype not in seen:
                label[0, subtype] = torch.nan
        return mixed, marks, label, pool.store.hu_range == (0.0, 80.0)

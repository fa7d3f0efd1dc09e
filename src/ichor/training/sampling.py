"""Which slices make a batch: reproducible step by step, so that a resumed run sees the same ones.

A batch has numbered slots, and what stands in a slot depends on the seed, the step and the slot alone:
however many processes share a batch, together they see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.store import Store
from ichor.training.augment import Chance, move, paste, shade
from ichor.training.lesions import draw_bleed, draw_distraction, draw_partial_volume
from ichor.training.recipe import MixedSampling, Recipe

__all__ = ["Batch", "Drawn", "MixedSampler", "Sampler", "shaded_batch"]

_PLACE_TOLERANCE = 0.1
"""A bleed is pasted into slices whose height in the head is within this share of its own."""
_LEAST_PIXELS = 12
"""Of a bleed that is pasted."""


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes
    ----------
    hu
        ``(n, 3, rows, columns)`` float32 HU on the grid: a slice and its neighbours.
    blood
        ``(n, rows, columns)`` uint8.
    labels
        ``(n, 6)`` float32, NaN for unknown.
    length
        Slices of a sequence: 0 where each stands alone, else ``n`` is a multiple of it.
    features
        ``(n, F)`` float32 in place of pixels, where the backbone is frozen.
    taught
        How many of the last slices have no labels of their own: ``labels`` are a teacher's probabilities.
    maps
        ``(taught, 6, rows / 2, columns / 2)`` probabilities of a teacher's maps; None of one that draws none.
    """

    hu: Tensor
    blood: Tensor
    labels: Tensor
    length: int = 0
    features: Tensor | None = None
    taught: int = 0
    maps: Tensor | None = None

    def to(self, device: torch.device, **_: object) -> Batch:
        """Bring it to a device."""
        features, maps = (None if t is None else t.to(device) for t in (self.features, self.maps))
        hu, blood, labels = (t.to(device) for t in (self.hu, self.blood, self.labels))
        return Batch(hu, blood, labels, self.length, features, self.taught, maps)


@dataclass(frozen=True)
class Drawn:
    """Slices as they lie in a store, before they are changed.

    Attributes
    ----------
    hu
        ``(n, 3, r, c)`` float32 HU with the store's border.
    blood
        ``(n, r, c)`` uint8.
    labels
        ``(n, 6)``.
    limits
        ``(n, 2)`` HU below and above which each slice's source is clipped.
    seeds
        One a slice.
    length
        As in :class:`Batch`.
    maps
        ``(n, 6, r / 2, c / 2)`` of a teacher, which move with the slices.
    """

    hu: Tensor
    blood: Tensor
    labels: Tensor
    limits: Tensor
    seeds: Sequence[Sequence[int]]
    length: int = 0
    maps: Tensor | None = None


class Sampler(Protocol):
    """Draws the batches of a run."""

    epoch_steps: int

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """Draw some slots of the batch of a step; the same for the same recipe, step and slots."""
        ...


class _Pool:
    """Slices of one store that may be drawn, positives so that each patient and subtype gets its turn."""

    def __init__(self, store: Store, patients: set[str], max_gap_mm: float) -> None:
        self.store = store
        self.max_gap_mm = max_gap_mm
        allowed = np.isin(store.exam, [i for i, p in enumerate(store.patients) if p in patients])
        any_label = store.labels[:, 0]
        self.positive = np.flatnonzero(allowed & (any_label == 1))
        self.negative = np.flatnonzero(allowed & (any_label == 0))
        # A patient's weight is the root of how many slices he has; a rare subtype's, the inverse root.
        self.limits = store.hu_ranges[store.exam]
        exams = store.exam[self.positive]
        per_exam = np.bincount(exams, minlength=len(store.patients))
        subtypes = np.nan_to_num(store.labels[self.positive, 1:])
        rarity = 1 / np.sqrt(np.maximum(subtypes.sum(axis=0), 1))
        weight = (subtypes * rarity).max(axis=1) + 1e-6
        weight /= np.sqrt(per_exam[exams])
        self.positive_weight = weight / weight.sum() if len(weight) else weight
        marked = _bleed_pixels(store, self.positive) >= _LEAST_PIXELS
        self.donors = self.positive[marked]
        donor_weight = self.positive_weight[marked]
        self.donor_weight = donor_weight / donor_weight.sum() if len(donor_weight) else donor_weight
        self.place = store.place

    def read(self, index: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return ``(n, 3, r, c)`` HU and ``(n, 3, r, c)`` blood of slices and their neighbours."""
        near = self.store.neighbours(index, self.max_gap_mm)
        return self.store.hu[near].astype(np.float32), self.store.blood[near]


def _bleed_pixels(store: Store, index: NDArray[np.intp]) -> NDArray[np.int64]:
    """Count the pixels of slices that are known to be blood; slice by slice, which takes no memory."""
    if store.bleed_pixels is not None:
        return store.bleed_pixels[index]
    drawn = (store.blood[i : i + 1] for i in index)
    return np.array([int(((b > 0) & (b != UNKNOWN)).sum()) for b in drawn], np.int64)


class MixedSampler:
    """Positives and negatives of several data sets in fixed shares, with bleeds pasted into normal slices.

    Parameters
    ----------
    recipe
        Shares, augmentation, seed.
    target, extra
        Stores with the patients that may be drawn from each.
    """

    def __init__(
        self, recipe: Recipe, target: tuple[Store, set[str]], extra: Sequence[tuple[Store, set[str]]]
    ) -> None:
        if not isinstance(recipe.sampling, MixedSampling):
            raise TypeError(f"recipe {recipe.name}: sampling is {recipe.sampling.kind!r}, not 'mixed'")
        self.recipe = recipe
        self.share = recipe.sampling
        self.target = _Pool(*target, recipe.preparation.max_gap_mm)
        self.extra = [_Pool(*pair, recipe.preparation.max_gap_mm) for pair in extra]
        if not len(self.target.positive) or not len(self.target.negative):
            raise ValueError("the training patients hold only one class")
        slices = len(self.target.positive) + len(self.target.negative)
        self.epoch_steps = recipe.epoch_steps or -(-slices // recipe.batch_size)

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """See :meth:`Sampler.batch`."""
        kinds = self._kinds(np.random.default_rng([self.recipe.seed, step]))
        hus, bloods, labels, shown, seeds = [], [], [], [], []
        for slot in slots:
            seed = [self.recipe.seed, step, slot]
            rng = np.random.default_rng(seed)
            kind = kinds[slot]
            pool = self.target if kind.startswith("target") else self._one_of_extra(kind, rng)
            if kind.endswith("positive"):
                index = rng.choice(pool.positive, 1, p=pool.positive_weight)
            else:
                index = rng.choice(pool.negative, 1)
            hu, blood = pool.read(index)
            label = torch.from_numpy(pool.store.labels[index].copy())
            planes, marks = torch.from_numpy(hu), torch.from_numpy(blood[:, 1])
            limits = pool.limits[index[0]]
            if kind == "target_negative" and rng.random() < self.share.paste:
                pasted = self._paste(planes, float(pool.place[index[0]]), rng, Chance([[*seed, 1]]))
                if pasted is not None:
                    planes, marks, label, donor_limits = pasted
                    # What either source does not show, the mixture does not.
                    limits = np.array([max(limits[0], donor_limits[0]), min(limits[1], donor_limits[1])])
                    kind = "pasted"
            if self.share.distract and rng.random() < self.share.distract:
                planes = torch.from_numpy(draw_distraction(planes[0].numpy(), limits, rng)[None])
            if self.share.rims and rng.random() < self.share.rims:
                planes = torch.from_numpy(draw_partial_volume(planes[0].numpy(), limits, rng)[None])
            if kind.endswith("negative") and self.share.simulate and rng.random() < self.share.simulate:
                bleed = draw_bleed(planes[0].numpy(), limits, rng)
                if bleed is not None:
                    planes, marks = torch.from_numpy(bleed.hu[None]), torch.from_numpy(bleed.blood[None])
                    label = torch.zeros_like(label)
                    label[0, [0, bleed.subtype]] = 1
            hus.append(planes)
            bloods.append(marks)
            labels.append(label)
            shown.append(limits)
            seeds.append([*seed, 2])
        limits_of_all = torch.from_numpy(np.stack(shown)).float()
        drawn = Drawn(torch.cat(hus), torch.cat(bloods), torch.cat(labels), limits_of_all, seeds)
        return shaded_batch(self.recipe, drawn)

    def _one_of_extra(self, kind: str, rng: np.random.Generator) -> _Pool:
        """Draw one of the other sets, of those that hold such slices, by their weights."""
        pools = [p for p in self.extra if len(p.positive if kind.endswith("positive") else p.negative)]
        weights = np.array([self.share.weights.get(p.store.name, 1.0) for p in pools])
        return pools[rng.choice(len(pools), p=weights / weights.sum())]

    def _kinds(self, rng: np.random.Generator) -> list[str]:
        names = ["target_positive", "target_negative"]
        if self.extra:
            names += ["extra_positive", "extra_negative"]
        weights = np.array([getattr(self.share, n) for n in names])
        exact = weights / weights.sum() * self.recipe.batch_size
        counts = np.floor(exact).astype(int)
        rest = self.recipe.batch_size - counts.sum()
        left = exact - counts
        for i in rng.choice(len(names), rest, replace=False, p=left / left.sum()) if rest else []:
            counts[i] += 1
        kinds = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        return list(rng.permutation(kinds))

    def _paste(
        self, planes: Tensor, place: float, rng: np.random.Generator, chance: Chance
    ) -> tuple[Tensor, Tensor, Tensor, NDArray[np.float64]] | None:
        """Paste a bleed from either source; None where no donor of this height fits."""
        pools = [self.target, *self.extra]
        pool = pools[0] if rng.random() < 0.6 else pools[rng.integers(len(pools))]
        near = np.abs(pool.place[pool.donors] - place) < _PLACE_TOLERANCE
        if not near.any():
            return None
        weight = pool.donor_weight * near
        donor = rng.choice(pool.donors, 1, p=weight / weight.sum())
        donor_hu, donor_blood = (torch.from_numpy(a) for a in pool.read(donor))
        mixed, marks, done = paste(planes, donor_hu, donor_blood, chance)
        if not bool(done[0]) or not bool((marks > 0).any()):
            return None
        label = torch.from_numpy(pool.store.labels[donor].copy())
        # What the donor's slice held besides what was pasted stays behind: its subtypes are unknown here.
        seen = {int(v) for v in torch.unique(marks)}
        for subtype in range(1, 6):
            if label[0, subtype] == 1 and subtype not in seen:
                label[0, subtype] = torch.nan
        return mixed, marks, label, pool.limits[donor[0]]


def shaded_batch(recipe: Recipe, drawn: Drawn) -> Batch:
    """Change slices as the recipe says: its grid, its augmentation."""
    size = (recipe.preparation.rows, recipe.preparation.columns)
    chance = Chance(drawn.seeds)
    moved = move(drawn.hu, drawn.blood, size, recipe.augmentation, chance, drawn.maps)
    hu = shade(moved.hu, drawn.limits, recipe.augmentation, chance)
    return Batch(hu, moved.blood, drawn.labels, drawn.length, maps=moved.maps)

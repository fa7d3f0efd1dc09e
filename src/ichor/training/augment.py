"""Changes to a batch that leave its meaning: pose, scanner, source; and bleeds pasted into normal slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ichor.datasets.labelled import UNKNOWN
from ichor.training.recipe import AugmentationRecipe

__all__ = ["Chance", "Moved", "move", "paste", "shade"]

_DEEPEST_CUT = 0.2
"""Share of the grid that a small field of view loses at one edge."""
_MOST_LOST = 0.3
"""Share of a bleed that it may lose with it."""
_WIDEST_WINDOW = 1000.0
"""HU: a source that shows more is not one in a window."""
_WIDEST_DRAWN = 300.0
"""HU of the widest window that a slice is shown in."""


class Chance:
    """Draws for the samples of a batch, each from its own seed: a sample is the same in whatever batch it is.

    Parameters
    ----------
    seeds
        One a sample; samples of the same seed (the slices of an exam) get the same draws.
    """

    def __init__(self, seeds: Sequence[Sequence[int]]) -> None:
        self.names = [tuple(s) for s in seeds]
        self._generators = {
            name: torch.Generator().manual_seed(
                int(np.random.SeedSequence(name).generate_state(1, np.uint64)[0] >> 2)
            )
            for name in self.names
        }

    def __len__(self) -> int:
        return len(self.names)

    def uniform(self) -> Tensor:
        """Draw ``(n,)`` from 0 to 1."""
        return self._each(lambda g: torch.rand(1, generator=g))

    def normal(self) -> Tensor:
        """Draw ``(n,)`` from the normal distribution, at most 2 away from 0."""
        return self._each(lambda g: torch.randn(1, generator=g)).clamp(-2, 2)

    def symmetric(self, amount: float) -> Tensor:
        """Draw ``(n,)`` between ``-amount`` and ``amount``."""
        return (self.uniform() * 2 - 1) * amount

    def happens(self, probability: float) -> Tensor:
        """Draw ``(n,)`` bool."""
        return self.uniform() < probability

    def noise(self, shape: Sequence[int], where: Tensor) -> Tensor:
        """Draw ``(n, *shape)`` from the normal distribution, different in every sample; 0 where ``where`` is False."""
        out = torch.zeros(len(self), *shape)
        for k in torch.nonzero(where).flatten().tolist():
            out[k] = torch.randn(*shape, generator=self._generators[self.names[k]])
        return out

    def _each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        drawn = {name: draw(generator) for name, generator in self._generators.items()}
        return torch.cat([drawn[name] for name in self.names])


class Moved(NamedTuple):
    """Slices in another pose: HU ``(n, 3, *size)``, blood ``(n, *size)``, and a teacher's maps at half the size."""

    hu: Tensor
    blood: Tensor
    maps: Tensor | None


def move(
    hu: Tensor,
    blood: Tensor,
    size: tuple[int, int],
    recipe: AugmentationRecipe,
    chance: Chance,
    maps: Tensor | None = None,
) -> Moved:
    """Rotate, scale, stretch, shear, shift and mirror, cut to the grid's size, and end some fields of view early.

    Parameters
    ----------
    hu
        ``(n, 3, rows, columns)`` float HU, the slice and its neighbours, with the store's border.
    blood
        ``(n, rows, columns)`` uint8.
    size
        Rows and columns of the grid, before any shrinking.
    recipe
        How far.
    chance
        Of ``n`` samples.
    maps
        ``(n, 6, rows / 2, columns / 2)`` probabilities.
    """
    n = len(hu)
    angle = chance.symmetric(math.radians(recipe.rotation_degrees))
    zoom = torch.exp(chance.symmetric(recipe.scale))
    stretch = torch.exp(chance.symmetric(recipe.stretch))
    shear = chance.symmetric(recipe.shear)
    mirror = torch.where(chance.happens(recipe.flip), -1.0, 1.0)
    upside = torch.where(chance.happens(recipe.flip_vertical), -1.0, 1.0)
    # Output pixel -> input pixel, in pixels from the centre.
    cos, sin = torch.cos(angle), torch.sin(angle)
    a, b = zoom * stretch * cos * mirror, zoom / stretch * (shear * cos - sin) * upside
    c, d = zoom * stretch * sin * mirror, zoom / stretch * (shear * sin + cos) * upside
    rows, columns = hu.shape[2:]
    tx, ty = chance.symmetric(recipe.shift * columns), chance.symmetric(recipe.shift * rows)
    half_in = torch.tensor([columns / 2, rows / 2])
    half_out = torch.tensor([size[1] / 2, size[0] / 2])
    theta = torch.stack(
        [
            torch.stack([a * half_out[0], b * half_out[1], tx], dim=1) / half_in[0],
            torch.stack([c * half_out[0], d * half_out[1], ty], dim=1) / half_in[1],
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [n, 1, *size], align_corners=False)
    air = -1000.0
    moved = F.grid_sample(hu - air, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + air
    marks = F.grid_sample(
        blood[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    marks = marks[:, 0].round().to(torch.uint8)
    if maps is not None:
        halved = F.affine_grid(theta, [n, 1, size[0] // 2, size[1] // 2], align_corners=False)
        maps = F.grid_sample(maps, halved, mode="bilinear", padding_mode="zeros", align_corners=False)
    if recipe.crop:
        cut = _cut_off(marks, recipe.crop, chance)
        moved, marks = torch.where(cut[:, None], air, moved), torch.where(cut, 0, marks)
        maps = None if maps is None else torch.where(cut[:, None, ::2, ::2], 0, maps)
    return Moved(moved, marks, maps)


def _cut_off(marks: Tensor, probability: float, chance: Chance) -> Tensor:
    """Draw where a small field of view ends, ``(n, rows, columns)`` bool: a strip along one edge of some slices.

    A strip that would take much of a bleed away is not cut: the slice's labels would no longer be true.
    """
    n, rows, columns = marks.shape
    depth = chance.uniform() * _DEEPEST_CUT * chance.happens(probability)
    side = (chance.uniform() * 4).long()
    near = torch.stack([side == k for k in range(4)], dim=1) * depth[:, None]
    y = ((torch.arange(rows) + 0.5) / rows)[:, None]
    x = ((torch.arange(columns) + 0.5) / columns)[None]
    top, bottom, left, right = (d.view(n, 1, 1) for d in near.unbind(1))
    cut = (y < top) | (1 - y < bottom) | (x < left) | (1 - x < right)
    blood = (marks > 0) & (marks != UNKNOWN)
    lost = (blood & cut).sum(dim=(1, 2)) > _MOST_LOST * blood.sum(dim=(1, 2))
    return cut & ~lost.view(n, 1, 1)


def shade(hu: Tensor, limits: Tensor, recipe: AugmentationRecipe, chance: Chance) -> Tensor:
    """Change what the scanner and the source would: gain, offset, noise, sharpness, window, single slices.

    Parameters
    ----------
    hu
        ``(n, 3, rows, columns)`` float HU.
    limits
        ``(n, 2)`` HU below and above which each slice's source is clipped.
    recipe
        How far.
    chance
        Of ``n`` samples.

    Returns
    -------
    Tensor
        Like ``hu``.
    """
    n = len(hu)

    def column(values: Tensor) -> Tensor:
        return values.view(n, 1, 1, 1)

    low, high = (column(side) for side in limits.to(hu.dtype).unbind(1))
    windowed = column(limits[:, 1] - limits[:, 0] < _WIDEST_WINDOW)
    # A source in a window has its lower end where others have air; it must stay as quiet as air.
    background = (hu <= low + 0.5) & windowed
    single = column(chance.happens(recipe.lone))
    swapped = column(chance.happens(0.5))
    # Below and above change places: a bleed does not know which way the stack runs.
    hu, background = (
        torch.where(swapped, kept.flip(1), kept)
        for kept in (torch.where(single, part[:, 1:2], part) for part in (hu, background))
    )
    gain = 1 + recipe.hu_gain * chance.normal()
    offset = recipe.hu_offset * chance.normal()
    hu = hu * column(gain) + column(offset)
    soft = F.avg_pool2d(hu, 3, stride=1, padding=1, count_include_pad=False)
    amount = column((chance.uniform() * 1.6 - 0.6) * chance.happens(2 * recipe.blur))
    hu = hu + amount * (soft - hu)  # above 0 blurs, below 0 sharpens
    strength = column(chance.uniform() * recipe.noise_hu * chance.happens(0.5))
    grainy = column(chance.happens(0.5))
    # A window is all that some sources show: any source may look like them.
    shown = chance.happens(recipe.clip)
    noise = chance.noise(hu.shape[1:], strength.flatten() > 0)
    # Noise of a soft kernel is grainy, not white.
    coarse = F.avg_pool2d(noise, 3, stride=1, padding=1) * 3
    hu = hu + strength * torch.where(grainy, coarse, noise)
    hu = torch.where(background, low, hu)
    bottom, top = (column(side) for side in _drawn_windows(n, recipe, chance))
    bottom, top = torch.maximum(bottom, low), torch.minimum(top, high)
    as_picture = column(shown) | windowed
    bottom, top = (torch.where(column(shown), a, b) for a, b in ((bottom, low), (top, high)))
    hu = torch.where(as_picture, torch.maximum(torch.minimum(hu, top), bottom), hu)
    if recipe.window_error or recipe.window_error_hu:
        # A picture's window is estimated, or what somebody wrote down: both of its numbers may be wrong.
        middle = (bottom + top) / 2
        wider = column(torch.exp(recipe.window_error * chance.normal()))
        moved = column(recipe.window_error_hu * chance.normal())
        hu = torch.where(as_picture, (hu - middle) * wider + middle + moved, hu)
    return hu


def _drawn_windows(n: int, recipe: AugmentationRecipe, chance: Chance) -> tuple[Tensor, Tensor]:
    """Draw the windows that slices are shown in, ``(n,)`` HU at the lower and at the upper end: mostly the brain's."""
    bottom, top = torch.zeros(n), torch.full((n,), 80.0)
    if not recipe.other_window:
        return bottom, top
    other = chance.happens(recipe.other_window)
    width = 60 * (_WIDEST_DRAWN / 60) ** chance.uniform()
    level = 38 + 0.25 * (width - 80).clamp(min=0) * chance.uniform() + chance.symmetric(8)
    return torch.where(other, level - width / 2, bottom), torch.where(other, level + width / 2, top)


def paste(
    hu: Tensor,
    donor_hu: Tensor,
    donor_blood: Tensor,
    chance: Chance,
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste donors' bleeds into normal slices at the same place of the head, mirrored or not.

    Parameters
    ----------
    hu
        ``(n, 3, rows, columns)`` HU of normal slices and their neighbours.
    donor_hu
        ``(n, 3, rows, columns)`` HU of the donors.
    donor_blood
        ``(n, 3, rows, columns)`` uint8 blood maps of the donors and their neighbours.
    chance
        Of ``n`` samples.

    Returns
    -------
    hu
        With the bleeds.
    blood
        ``(n, rows, columns)`` uint8 of the middle slice.
    done
        ``(n,)`` bool: False where the bleed would have come to lie outside the brain, and nothing was pasted.
    """
    flip = chance.happens(0.5)
    donor_hu = torch.where(flip.view(-1, 1, 1, 1), donor_hu.flip(3), donor_hu)
    donor_blood = torch.where(flip.view(-1, 1, 1, 1), donor_blood.flip(3), donor_blood)
    is_blood = ((donor_blood > 0) & (donor_blood != UNKNOWN)).float()
    alpha = F.avg_pool2d(F.max_pool2d(is_blood, 3, stride=1, padding=1), 3, stride=1, padding=1)
    room = ((hu > 5) & (hu < 60)).float()  # brain, not bone, not air
    middle = is_blood[:, 1]
    done = (middle * room[:, 1]).sum(dim=(1, 2)) >= 0.7 * middle.sum(dim=(1, 2)).clamp(min=1)
    alpha = alpha * (hu < 90).float() * done.view(-1, 1, 1, 1)
    blood = torch.where((alpha[:, 1] >= 0.5) & (donor_blood[:, 1] != UNKNOWN), donor_blood[:, 1], 0)
    return hu + alpha * (donor_hu - hu), blood.to(torch.uint8), done

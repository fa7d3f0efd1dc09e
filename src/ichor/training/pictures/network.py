"""The network that measures a picture: a few convolutions over 96 by 96 greys."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["OUTPUTS", "PictureNet", "loss"]

OUTPUTS = ("log_width", "place", "log_width_error", "place_error", "linear", "head", "brain")
"""In order: both of the window, the logarithm of the scale of the error of each, and three logits."""
_CHANNELS = (2, 24, 32, 48, 64, 96)
_FREEDOM = 3.0
"""Degrees of freedom of Student's t: windows that are far off must not rule the rest."""
_DARKEST = 1e-4


class PictureNet(nn.Module):
    """``(n, 1, 96, 96)`` greys 0..1 to ``(n, 7)``, see :data:`OUTPUTS`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(_CHANNELS):
            for channels, stride in ((before, 2), (after, 1)):
                layers += [
                    nn.Conv2d(channels, after, 3, stride, 1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                ]
        self.body = nn.Sequential(*layers)
        width = 2 * _CHANNELS[-1]
        self.top = nn.Sequential(
            nn.Linear(width, 96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, len(OUTPUTS))
        )

    def forward(self, grey: Tensor) -> Tensor:
        """Dark greys are spread by a square root: in a wide window brain is dark, and so is fluid in a narrow one."""
        features = self.body(torch.cat([grey, grey.clamp(min=_DARKEST).sqrt()], 1))
        found: Tensor = self.top(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))
        return found


def loss(outputs: Tensor, truth: Tensor) -> Tensor:
    """Loss of a batch.

    Parameters
    ----------
    outputs
        ``(n, 7)``.
    truth
        ``(n, 5)``: log width, place, linear, head, brain; NaN where unknown or without meaning.
    """
    known = truth[:, 0].isfinite() & (truth[:, 2] == 1)
    scale = outputs[:, 2:4].clamp(-5, 2)
    off = (outputs[:, :2] - truth[:, :2].nan_to_num()) / scale.exp()
    window = (0.5 * (_FREEDOM + 1) * torch.log1p(off**2 / _FREEDOM) + scale).sum(1)
    total = (window * known).sum() / known.sum().clamp(min=1)
    for place, weight in ((0, 0.5), (1, 1.0), (2, 0.5)):
        label = truth[:, 2 + place]
        of = label.isfinite()
        entropy = nn.functional.binary_cross_entropy_with_logits(
            outputs[:, 4 + place], label.nan_to_num(), reduction="none"
        )
        total = total + weight * (entropy * of).sum() / of.sum().clamp(min=1)
    return total

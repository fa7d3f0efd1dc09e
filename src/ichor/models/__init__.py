"""Models: what a recipe's network is made of, and how it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ichor.models.specs import ClassifierSpec, HeadSpec, MapSpec, ModelSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ClassifierSpec", "HeadSpec", "MapSpec", "ModelSpec", "build_network"]


def build_network(
    spec: ModelSpec, in_channels: int, size: tuple[int, int], weights: bool | Path | None = None
) -> nn.Module:
    """Make the network that a recipe names.

    Parameters
    ----------
    spec
        Its parts.
    in_channels, size
        Channels, and rows and columns, of the stack.
    weights
        ImageNet weights of the backbone: True for timm's hub, a safetensors file, or None for random ones.
    """
    return spec.build(in_channels, size, weights)

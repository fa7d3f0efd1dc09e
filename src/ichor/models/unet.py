"""A U-Net over a timm encoder that gives a map and a probability for each of the six labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MapNet"]


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class MapNet(nn.Module):
    """Encoder, U-Net decoder down to stride 2, and two heads over one slice with its neighbours.

    The *map* head gives a logit a pixel, and the mean of its top pixels is the slice's logit: a bleed
    anywhere makes a slice positive, however small. The *pooled* head looks at the whole slice; with few
    patients it ranks worse and only helps the encoder to learn.

    Parameters
    ----------
    backbone
        Name of a timm model with ``features_only`` support.
    in_channels
        Input channels (:class:`ichor.preparing.Preparation` says which).
    widths
        Channels of the decoder at strides 16, 8, 4 and 2.
    top_pixels
        How many pixels of the map, those with the highest logits, make the slice's logit.
    dropout
        Before the pooled head.
    mirrored
        In evaluation mode, predict the slices' mirror images too and take the mean of both.
    weights
        ``True``: ImageNet weights from timm's hub. A path: a safetensors file under timm's names.
        ``None``: random.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        in_channels: int = 4,
        widths: Sequence[int] = (128, 64, 48, 32),
        top_pixels: int = 16,
        dropout: float = 0.3,
        mirrored: bool = False,
        weights: bool | Path | None = None,
    ) -> None:
        super().__init__()
        overlay = {"file": str(weights)} if isinstance(weights, Path) else None
        self.encoder = timm.create_model(
            backbone,
            features_only=True,
            in_chans=in_channels,
            pretrained=bool(weights),
            pretrained_cfg_overlay=overlay,
        )
        channels: list[int] = self.encoder.feature_info.channels()  # type: ignore[union-attr, operator]
        self.up = nn.ModuleList()
        below = channels[-1]
        for skip, width in zip(reversed(channels[:-1]), widths, strict=True):
            self.up.append(_Block(below + skip, width))
            below = width
        self.refine = _Block(below, below)
        self.map_head = nn.Conv2d(below, 6, 1)
        self.pooled_head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels[-1], 6))
        self.top_pixels = top_pixels
        self.mirrored = mirrored
        self.map_head.bias = nn.Parameter(torch.full((6,), -4.0))

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict slices.

        Parameters
        ----------
        stack
            ``(n, channels, rows, columns)``, 0..1; rows and columns whole multiples of 32.

        Returns
        -------
        map_logits
            ``(n, 6, rows / 2, columns / 2)``.
        slice_logits, pooled_logits
            ``(n, 6)`` each: the slice's logit, and the auxiliary head's.
        """
        if self.mirrored and not self.training:
            maps, pooled = self._both_heads(torch.cat([stack, stack.flip(-1)]))
            n = stack.shape[0]  # len would make it a constant of the exported graph
            maps, pooled = (maps[:n] + maps[n:].flip(-1)) / 2, (pooled[:n] + pooled[n:]) / 2
        else:
            maps, pooled = self._both_heads(stack)
        return maps, maps.flatten(2).topk(self.top_pixels, dim=2).values.mean(dim=2), pooled

    def _both_heads(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(stack * 2 - 1)
        x = features[-1]
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        for block, skip in zip(self.up, reversed(features[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return self.map_head(self.refine(x)), self.pooled_head(pooled)

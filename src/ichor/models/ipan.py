"""The network that i-pan/ct-head-hemorrhage-detection publishes, under the names of its tensors.

A MaxViT takes a slice with its neighbours, a bidirectional GRU all slices of an exam, and decoders of the kind of
DeepLabV3+ share the encoder. Written from the published configuration, model card and tensor names.

References
----------
Tu Z et al. MaxViT: Multi-Axis Vision Transformer. ECCV 2022.
Chen L-C et al. Encoder-decoder with atrous separable convolution for semantic image segmentation. ECCV 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Decoder", "ExamHead", "Shape", "SliceEncoder", "SliceGraph"]

Shape = tuple[int, int]
_LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1 where they become logits."""
_MOST = math.log((1 - _LEAST) / _LEAST)
_DILATIONS = (6, 12, 18, 24)
_FINE = 48
"""Channels that the decoder takes of the finest map."""


def _logit(probabilities: Tensor) -> Tensor:
    kept = probabilities.clamp(_LEAST, 1 - _LEAST)
    return kept.log() - (1 - kept).log()


class SliceEncoder(nn.Module):
    """The slice classifier: a MaxViT of timm without pooling, mean pooling, a linear layer.

    Parameters
    ----------
    backbone
        timm's name.
    channels, size
        Of the input.
    labels
        Of the output.
    """

    def __init__(self, backbone: str, channels: int, size: Shape, labels: int) -> None:
        super().__init__()
        network: Any = timm.create_model(
            backbone, pretrained=False, num_classes=0, global_pool="", in_chans=channels, img_size=size
        )
        self.backbone: Any = network
        self.num_features = int(network.num_features)
        self.linear = nn.Linear(self.num_features, labels)

    @property
    def map_channels(self) -> list[int]:
        """Channels of each of :meth:`maps`."""
        return [int(stage["num_chs"]) for stage in self.backbone.feature_info]

    def maps(self, x: Tensor) -> list[Tensor]:
        """Give the maps of the stem and of each stage, finest first."""
        found = [self.backbone.stem(x)]
        for stage in self.backbone.stages:
            found.append(stage(found[-1]))
        return found

    def pooled(self, last: Tensor) -> Tensor:
        """Give the features ``(n, features)`` of the coarsest map."""
        features: Tensor = self.backbone.head(self.backbone.norm(last), pre_logits=True)
        return features.mean(dim=(2, 3))


def _separable(before: int, after: int, dilation: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(before, before, 3, padding=dilation, dilation=dilation, groups=before, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(before, after, 1, bias=False))


def _normed(convolution: nn.Module, channels: int, *first: nn.Module) -> nn.Sequential:
    return nn.Sequential(*first, convolution, nn.BatchNorm2d(channels), nn.ReLU())


class _Pyramid(nn.Module):
    """Looks at the coarsest map at several distances, and as a whole."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        wide = (_normed(_separable(before, after, rate), after) for rate in _DILATIONS)
        whole = _normed(nn.Conv2d(before, after, 1, bias=False), after, nn.AdaptiveAvgPool2d(1))
        self.convs = nn.ModuleList([_normed(nn.Conv2d(before, after, 1, bias=False), after), *wide, whole])
        joined = (len(_DILATIONS) + 2) * after
        self.project = _normed(nn.Conv2d(joined, after, 1, bias=False), after)

    def forward(self, x: Tensor) -> Tensor:
        *near, whole = (look(x) for look in self.convs)
        out: Tensor = self.project(torch.cat([*near, whole.expand_as(near[0])], dim=1))
        return out


class Decoder(nn.Module):
    """One fold's decoder and its last layer: logits ``(n, labels, rows / 4, columns / 4)``.

    Parameters
    ----------
    map_channels
        Of the encoder's maps.
    width
        Channels within.
    labels
        Of the output.
    """

    def __init__(self, map_channels: Sequence[int], width: int, labels: int) -> None:
        super().__init__()
        self.decoder = nn.ModuleDict(
            {
                "aspp": nn.Sequential(
                    _Pyramid(map_channels[-1], width), *_normed(_separable(width, width), width)
                ),
                "block1": _normed(nn.Conv2d(map_channels[-4], _FINE, 1, bias=False), _FINE),
                "block2": _normed(_separable(_FINE + width, width), width),
            }
        )
        self.segmentation_head = nn.ModuleDict({"conv": nn.Conv2d(width, labels, 3, padding=1)})

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Give logits of encoder maps."""
        fine = self.decoder["block1"](maps[-4])
        coarse = F.interpolate(
            self.decoder["aspp"](maps[-1]), size=(int(fine.shape[2]), int(fine.shape[3])), mode="bilinear"
        )
        out: Tensor = self.segmentation_head["conv"](self.decoder["block2"](torch.cat([coarse, fine], 1)))
        return out


class SliceGraph(nn.Module):
    """What the graph ``features`` of a bundle computes.

    Parameters
    ----------
    encoder, decoders
        Loaded.
    order
        Places of our labels among the publisher's.
    """

    def __init__(self, encoder: SliceEncoder, decoders: Sequence[Decoder], order: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.decoders, self.order = encoder, nn.ModuleList(decoders), list(order)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Give pooled features with the slice's own logits behind them, and the mean map of all decoders."""
        maps = self.encoder.maps(stack * 2 - 1)
        pooled = self.encoder.pooled(maps[-1])
        features = torch.cat([pooled, self.encoder.linear(pooled)], dim=1)
        probabilities = torch.stack([decoder(maps).sigmoid() for decoder in self.decoders]).mean(0)
        return features, _logit(probabilities[:, self.order])


class _ClassAttention(nn.Module):
    """Pools a sequence with weights of its own for each label."""

    def __init__(self, features: int, hidden: int, labels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, labels))
        self.classifier_weight = nn.Parameter(torch.zeros(labels, features))
        self.classifier_bias = nn.Parameter(torch.zeros(labels))

    def forward(self, sequence: Tensor) -> Tensor:
        weights = self.attention(sequence).softmax(dim=0)
        pooled = weights.transpose(0, 1) @ sequence
        logits: Tensor = (pooled * self.classifier_weight).sum(dim=1) + self.classifier_bias
        return logits


class ExamHead(nn.Module):
    """What the graph ``head`` of a bundle computes: a GRU over all slices, blended with the slices' own logits.

    Parameters
    ----------
    features, labels
        Of a slice.
    longest
        Slices that the GRU takes; of a longer exam so many, evenly spread.
    blend
        Weight of the GRU in logits of slices, and in those of the exam, label by label.
    order
        Places of our labels among the publisher's.
    """

    def __init__(
        self,
        features: int,
        labels: int,
        longest: int,
        blend: tuple[Sequence[float], Sequence[float]],
        order: Sequence[int],
    ) -> None:
        super().__init__()
        hidden, width, attention = 256, 512, 128
        self.longest, self.labels, self.order = longest, labels, list(order)
        self.of_slices, self.of_exam = (torch.tensor(list(share)) for share in blend)
        self.input_norm = nn.LayerNorm(features)
        self.projection = nn.Linear(features, width)
        self.projection_norm = nn.LayerNorm(width)
        self.sequence = nn.GRU(width + 1, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.slice_head = nn.Linear(2 * hidden, labels)
        self.sequence_pool = _ClassAttention(2 * hidden, attention, labels)
        self.mil_pool = _ClassAttention(width, attention, labels)
        """Published, and of no use here."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits of slices ``(n, labels)`` and of the exam ``(1, labels)``."""
        own, pooled = features[:, -self.labels :], features[:, : -self.labels]
        # Counted by sums, so that a traced graph takes any number of slices.
        ones = torch.ones_like(features[:, 0])
        places = ones.cumsum(0) - 1
        last = places[-1:]
        first = places[: self.longest]
        taken = (first * (last / first[-1:].clamp(min=1))).round()
        x = pooled[taken.long()]
        x = self.projection_norm(F.gelu(self.projection(self.input_norm(x))))
        x = torch.cat([x, (taken / last.clamp(min=1))[:, None]], dim=1)
        context = self.sequence(x[None])[0][0]
        nearest = (places[:, None] - taken[None, :]).abs().argmin(dim=1)
        in_context = self.slice_head(context)[nearest]
        slices = (1 - self.of_slices) * own + self.of_slices * in_context
        highest = own.amax(dim=0).clamp(-_MOST, _MOST)
        exam = (1 - self.of_exam) * highest + self.of_exam * self.sequence_pool(context)
        return slices[:, self.order], exam[None, self.order]

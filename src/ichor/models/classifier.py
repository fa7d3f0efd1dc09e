"""A backbone, pooled, and a head: the network of every published recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ichor.models.heads import build_head
from ichor.models.specs import ClassifierSpec

__all__ = ["PlainCnn", "SliceClassifier", "channel_weights"]

_CNN = "cnn-"
_NORMALISATION = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Keras' VGG16: blue, green, red, 0..255 less the mean of each.
    "caffe": ((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


class PlainCnn(nn.Module):
    """Convolutions 3 x 3 with ReLU, each followed by 2 x 2 max-pooling: a network from scratch, no norms.

    Parameters
    ----------
    in_channels
        Of the input.
    widths
        Channels of each convolution.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((in_channels, *widths), widths, strict=False):
            conv = nn.Conv2d(before, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            layers += [conv, nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)
        self.num_features = widths[-1]

    def forward_features(self, x: Tensor) -> Tensor:
        """Give the last map ``(n, widths[-1], rows / 2^k, columns / 2^k)``."""
        out: Tensor = self.layers(x)
        return out


class SliceClassifier(nn.Module):
    """Backbone, pooling, head.

    Parameters
    ----------
    spec
        What it is made of.
    in_channels
        Of the stack.
    size
        Rows and columns of the stack; fixes the number of features where they are not pooled.
    weights
        ``True``: ImageNet weights from timm's hub. A path: a safetensors file under timm's names.
        ``None``: random.
    """

    def __init__(
        self,
        spec: ClassifierSpec,
        in_channels: int,
        size: tuple[int, int],
        weights: bool | Path | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = _backbone(spec, in_channels, weights if spec.pretrained else None)
        mean, std = _input_scale(spec, self.backbone)
        shape = (1, in_channels, 1, 1)
        repeat = -(-in_channels // 3)
        self.register_buffer(
            "mean", torch.tensor((mean * repeat)[:in_channels]).view(shape), persistent=False
        )
        self.register_buffer("std", torch.tensor((std * repeat)[:in_channels]).view(shape), persistent=False)
        with torch.no_grad():
            self.eval()
            maps = self.maps(torch.zeros(1, in_channels, *size))
            self.map_shape = (maps.shape[1], maps.shape[2], maps.shape[3])
            self.num_features = self.pooled(maps).shape[1]
        self.head = build_head(self.num_features, spec.head)
        for name, parameter in self.backbone.named_parameters():
            if name.startswith(spec.frozen):
                parameter.requires_grad_(False)
        self.train()

    def features(self, stack: Tensor) -> Tensor:
        """Describe slices.

        Parameters
        ----------
        stack
            ``(n, channels, rows, columns)``, 0..1.

        Returns
        -------
        Tensor
            ``(n, F)``.
        """
        return self.pooled(self.maps(stack))

    def maps(self, stack: Tensor) -> Tensor:
        """Give the backbone's last maps ``(n, C, h, w)`` of slices, as :meth:`features` takes them."""
        maps: Tensor = self.backbone.forward_features((stack - self.mean) / self.std)  # type: ignore[operator]
        return maps

    def pooled(self, maps: Tensor) -> Tensor:
        """Give the features ``(n, F)`` of the backbone's last maps ``(n, C, h, w)``."""
        pooling = self.spec.pooling
        if pooling == "flatten":
            return F.dropout(maps.flatten(1), self.spec.dropout, self.training)
        pooled = []
        if pooling in ("avg", "avgmax"):
            pooled.append(maps.mean(dim=(2, 3)))
        if pooling in ("max", "avgmax"):
            pooled.append(maps.amax(dim=(2, 3)))
        return F.dropout(torch.cat(pooled, dim=1), self.spec.dropout, self.training)

    def forward(self, stack: Tensor) -> Tensor:
        """Predict slices: ``(n, 6)`` logits; of one exam, in order, where the head is sequential."""
        logits: Tensor = self.head(self.features(stack))
        return logits

    def train(self, mode: bool = True) -> SliceClassifier:
        """Set training mode; batch norms of frozen layers keep their running figures."""
        super().train(mode)
        if mode and self.spec.frozen:
            for name, module in self.backbone.named_modules():
                if f"{name}.".startswith(self.spec.frozen) and isinstance(
                    module, nn.modules.batchnorm._BatchNorm
                ):
                    module.eval()
        return self


def channel_weights(gradient: Tensor, map_shape: tuple[int, int, int], pooling: str) -> Tensor:
    """Average a gradient over each map, from that of the features: the weights of Grad-CAM (Selvaraju et al. 2017).

    Parameters
    ----------
    gradient
        ``(n, F)`` of a logit with respect to :meth:`SliceClassifier.features`.
    map_shape
        ``(C, h, w)`` of the backbone's last maps.
    pooling
        How the features come from them: see :class:`~ichor.models.specs.ClassifierSpec`.

    Returns
    -------
    Tensor
        ``(n, C)``, one a map.
    """
    channels, rows, columns = map_shape
    if pooling == "flatten":
        return gradient.reshape(-1, channels, rows * columns).mean(2)
    # A mean shares its gradient out over all pixels, a maximum gives it to the highest: the sum is the same.
    return gradient.reshape(-1, gradient.shape[1] // channels, channels).sum(1) / (rows * columns)


def _backbone(spec: ClassifierSpec, in_channels: int, weights: bool | Path | None) -> nn.Module:
    if spec.backbone.startswith(_CNN):
        return PlainCnn(in_channels, [int(n) for n in spec.backbone.removeprefix(_CNN).split("-")])
    overlay = {"file": str(weights)} if isinstance(weights, Path) else None
    if spec.backbone.startswith("vgg") and isinstance(weights, Path):
        return _vgg(spec, in_channels, weights)
    model: nn.Module = timm.create_model(
        spec.backbone,
        num_classes=0,
        in_chans=in_channels,
        pretrained=bool(weights),
        pretrained_cfg_overlay=overlay,
    )
    _without_top(model)
    if spec.norm_eps is not None:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eps = spec.norm_eps
    return model


def _vgg(spec: ClassifierSpec, in_channels: int, weights: Path) -> nn.Module:
    """VGG's convolutions from a file without its fully connected top, which timm would miss."""
    from safetensors.torch import load_file

    model: nn.Module = timm.create_model(spec.backbone, num_classes=0, in_chans=3)
    _without_top(model)
    state = load_file(weights)
    if in_channels != 3:
        raise ValueError(f"{spec.backbone} from a file: found {in_channels} channels; expected 3")
    model.load_state_dict({k: v for k, v in state.items() if k.startswith("features.")})
    return model


def _without_top(model: nn.Module) -> None:
    """VGG keeps two layers of 4096 units even without classes; the head brings its own."""
    if hasattr(model, "pre_logits"):
        model.pre_logits = nn.Identity()


def _input_scale(spec: ClassifierSpec, backbone: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if spec.normalisation != "auto":
        return _NORMALISATION[spec.normalisation]
    settings: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    mean, std = _NORMALISATION["half"]
    return tuple(settings.get("mean", mean)), tuple(settings.get("std", std))

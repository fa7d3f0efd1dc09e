"""What a network is made of, as a recipe says it. Nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ClassifierSpec", "HeadSpec", "MapSpec", "ModelSpec"]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSpec(_Spec):
    """What every family of models says of its network.

    Attributes
    ----------
    kind
        Name of the family (:mod:`ichor.training.families`).
    backbone
        Named on the card.
    pretrained
        Whether the backbone starts from ImageNet weights.
    """

    kind: str
    backbone: str
    pretrained: bool = True

    @property
    def sequential(self) -> bool:
        """Whether the slices of an exam are predicted together, in order."""
        return False

    @property
    def all_frozen(self) -> bool:
        """Whether no part of the backbone learns: its features can be computed once."""
        return False

    def build(self, in_channels: int, size: tuple[int, int], weights: bool | Path | None) -> nn.Module:
        """Make the network: see :func:`ichor.models.build_network`."""
        raise NotImplementedError(f"{type(self).__name__}.build")


class MapSpec(ModelSpec):
    """A U-Net with classification heads: see :class:`ichor.models.unet.MapNet`."""

    kind: Literal["map"] = "map"
    backbone: str = "tf_efficientnet_lite0"
    widths: tuple[int, int, int, int] = (128, 64, 48, 32)
    hottest: int = Field(default=16, ge=1, description="pixels of the map whose mean is the slice's logit")
    dropout: float = Field(default=0.3, ge=0, lt=1)
    mirrored: bool = Field(default=False, description="predict mirror images too, once trained")

    def build(self, in_channels: int, size: tuple[int, int], weights: bool | Path | None) -> nn.Module:
        """Make the U-Net."""
        from ichor.models.unet import MapNet

        return MapNet(
            self.backbone,
            in_channels=in_channels,
            widths=self.widths,
            top_pixels=self.hottest,
            dropout=self.dropout,
            mirrored=self.mirrored,
            weights=weights if self.pretrained else None,
        )


class HeadSpec(_Spec):
    """What turns a backbone's features into six logits: see :mod:`ichor.models.heads`."""

    kind: Literal["linear", "mlp", "lstm", "gru"] = "linear"
    units: tuple[int, ...] = Field(
        default=(), description="of the hidden layers of an mlp, or of each recurrent layer (stacked)"
    )
    bidirectional: bool = False
    difference: bool = Field(
        default=False, description="a slice's features, and less those of its neighbours"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on what goes into each layer")
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1, description="on the recurrent state")

    @property
    def sequential(self) -> bool:
        """Whether the slices of an exam are predicted together, in order."""
        return self.kind in ("lstm", "gru") or self.difference


class ClassifierSpec(ModelSpec):
    """A backbone and a head: see :class:`ichor.models.classifier.SliceClassifier`."""

    kind: Literal["classifier"] = "classifier"
    backbone: str = Field(description="a timm model, or cnn-N-M-...: a plain network from scratch")
    normalisation: Literal["auto", "half", "imagenet", "caffe", "none"] = Field(
        default="auto", description="of the input; auto: what timm says of the weights"
    )
    norm_eps: float | None = Field(
        default=None, description="of every batch norm, where weights need another"
    )
    pooling: Literal["avg", "max", "avgmax", "flatten"] = "avg"
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the pooled features")
    frozen: tuple[str, ...] = Field(
        default=(), description="first parts of names of backbone parameters that do not learn; '' is all"
    )
    head: HeadSpec = HeadSpec()

    @property
    def sequential(self) -> bool:
        """Whether the head takes the slices of an exam in order."""
        return self.head.sequential

    @property
    def all_frozen(self) -> bool:
        """Whether no part of the backbone learns."""
        return "" in self.frozen

    def build(self, in_channels: int, size: tuple[int, int], weights: bool | Path | None) -> nn.Module:
        """Make the backbone with its head."""
        from ichor.models.classifier import SliceClassifier

        return SliceClassifier(self, in_channels, size, weights)

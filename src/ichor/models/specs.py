"""What a network is made of, as a recipe says it. Nothing here needs torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ClassifierSpec", "HeadSpec", "MapSpec", "ModelSpec"]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MapSpec(_Spec):
    """A U-Net with classification heads: see :class:`ichor.models.unet.MapNet`."""

    kind: Literal["map"] = "map"
    backbone: str = "tf_efficientnet_lite0"
    widths: tuple[int, int, int, int] = (128, 64, 48, 32)
    hottest: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    mirrored: bool = Field(default=False, description="judge mirror images too, once trained")
    pretrained: bool = True


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
        """Whether the slices of an exam are judged together, in order."""
        return self.kind in ("lstm", "gru") or self.difference


class ClassifierSpec(_Spec):
    """A backbone and a head: see :class:`ichor.models.classifier.SliceClassifier`."""

    kind: Literal["classifier"] = "classifier"
    backbone: str = Field(description="a timm model, or cnn-N-M-...: a plain network from scratch")
    pretrained: bool = True
    normalisation: Literal["auto", "half", "imagenet", "caffe", "none"] = Field(
        default="auto", description="of the input; auto: what timm says of the weights"
    )
    norm_eps: float | None = Field(
        default=None, description="of every batch norm, where weights need another"
    )
    pooling: Literal["avg", "max", "avgmax", "flatten"] = "avg"
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the pooled features")
    frozen: tuple[str, ...] = Field(
        default=(), description="first parts of names of backbone parameters that keep still; '' is all"
    )
    head: HeadSpec = HeadSpec()

    @property
    def all_frozen(self) -> bool:
        """Whether no part of the backbone learns: its features can be computed once."""
        return "" in self.frozen


ModelSpec = Annotated[MapSpec | ClassifierSpec, Field(discriminator="kind")]

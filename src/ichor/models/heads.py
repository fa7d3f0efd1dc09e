"""Heads: from a slice's features, alone or in the order of the exam, to six logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ichor.models.specs import HeadSpec

__all__ = ["LABELS", "Head", "build_head", "neighbour_differences"]

LABELS = 6


class Head(nn.Module):
    """What all heads share.

    Attributes
    ----------
    sequential
        Whether the rows of the input are the slices of one exam, in order.
    """

    sequential = False

    def forward(self, features: Tensor) -> Tensor:
        """Predict slices ``(n, F)``: all of one exam where the head is sequential; ``(n, 6)`` logits."""
        return self.padded(features[None])[0]

    def padded(self, features: Tensor) -> Tensor:
        """Predict a batch of exams ``(exams, slices, F)``, shorter ones padded at their end."""
        raise NotImplementedError(f"{type(self).__name__}.padded")

    def with_gradient(self, features: Tensor, label: int = 0) -> tuple[Tensor, Tensor] | None:
        """Predict slices, and differentiate a label's logit with respect to the features of the same slice.

        Written out with the operations of a forward pass, so that an ONNX graph can hold it.

        Parameters
        ----------
        features
            ``(n, F)``.
        label
            Place of the label.

        Returns
        -------
        logits, gradient
            ``(n, 6)`` and ``(n, F)``; None where a slice's logit depends on other slices as well.
        """
        return None


class MlpHead(Head):
    """Fully connected layers with ReLU; with none hidden, a linear head.

    Parameters
    ----------
    inputs
        Number of features.
    spec
        ``units``, ``dropout``, ``difference``.
    """

    def __init__(self, inputs: int, spec: HeadSpec) -> None:
        super().__init__()
        self.sequential = spec.sequential
        self.difference = spec.difference
        layers: list[nn.Module] = []
        width = 3 * inputs if spec.difference else inputs
        for units in spec.units:
            layers += [nn.Dropout(spec.dropout), nn.Linear(width, units), nn.ReLU(inplace=True)]
            width = units
        self.layers = nn.Sequential(*layers, nn.Dropout(spec.dropout), nn.Linear(width, LABELS))

    def padded(self, features: Tensor) -> Tensor:
        """See :meth:`Head.padded`."""
        logits: Tensor = self.layers(neighbour_differences(features) if self.difference else features)
        return logits

    def with_gradient(self, features: Tensor, label: int = 0) -> tuple[Tensor, Tensor] | None:
        """See :meth:`Head.with_gradient`: the weights, multiplied back through the units that are not cut off."""
        if self.sequential:
            return None
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        passed, x = [], features
        for layer in linear[:-1]:
            before = layer(x)
            passed.append((before > 0).to(x.dtype))
            x = torch.relu(before)
        logits: Tensor = linear[-1](x)
        gradient = linear[-1].weight[label].expand_as(x)
        for layer, mask in zip(reversed(linear[:-1]), reversed(passed), strict=True):
            gradient = (gradient * mask) @ layer.weight
        return logits, gradient


class RecurrentHead(Head):
    """LSTM or GRU layers over the slices of an exam, and a linear layer.

    Dropout on the recurrent state takes whole rows out of the recurrent weights, one draw a batch, so that
    the fused kernels still serve (weight-dropped LSTM, Merity et al. 2018).

    Parameters
    ----------
    inputs
        Number of features.
    spec
        ``kind``, ``units`` (one a layer), ``bidirectional``, ``difference``, both dropouts.
    """

    sequential = True

    def __init__(self, inputs: int, spec: HeadSpec) -> None:
        super().__init__()
        self.difference = spec.difference
        self.recurrent_dropout = spec.recurrent_dropout
        self.dropout = nn.Dropout(spec.dropout)
        layer = nn.LSTM if spec.kind == "lstm" else nn.GRU
        width = 3 * inputs if spec.difference else inputs
        self.layers = nn.ModuleList()
        for units in spec.units or (64,):
            self.layers.append(layer(width, units, batch_first=True, bidirectional=spec.bidirectional))
            width = units * (2 if spec.bidirectional else 1)
        self.out = nn.Linear(width, LABELS)

    def padded(self, features: Tensor) -> Tensor:
        """See :meth:`Head.padded`."""
        x = neighbour_differences(features) if self.difference else features
        for layer in self.layers:
            x = self.dropout(x)
            if self.training and self.recurrent_dropout:
                x = self._with_dropped_state(layer, x)
            else:
                x, _ = layer(x)
        logits: Tensor = self.out(x)
        return logits

    def _with_dropped_state(self, layer: nn.Module, x: Tensor) -> Tensor:
        keep = 1 - self.recurrent_dropout
        dropped = {}
        for name, weight in layer.named_parameters():
            if name.startswith("weight_hh"):
                # A column is what one unit of the state gives to all gates.
                mask = torch.bernoulli(torch.full((1, weight.shape[1]), keep, device=weight.device)) / keep
                dropped[name] = weight * mask
        y, _ = torch.func.functional_call(layer, dropped, (x,))
        out: Tensor = y
        return out


def neighbour_differences(features: Tensor) -> Tensor:
    """Put beside each slice's features how they differ from the slice below and from the one above.

    Parameters
    ----------
    features
        ``(exams, slices, F)``.

    Returns
    -------
    Tensor
        ``(exams, slices, 3 F)``; at an exam's ends a difference is 0.
    """
    step = features[:, 1:] - features[:, :-1]
    none = torch.zeros_like(features[:, :1])
    return torch.cat([features, torch.cat([none, step], 1), torch.cat([-step, none], 1)], dim=2)


def build_head(inputs: int, spec: HeadSpec) -> Head:
    """Make the head that a recipe names."""
    return RecurrentHead(inputs, spec) if spec.kind in ("lstm", "gru") else MlpHead(inputs, spec)

"""One network of several: the mean of the weights of a run's folds, which ranks as their ensemble does.

Networks that start from the same weights and learn by the same recipe end in the same valley: the mean of their weights
predicts about as well as the mean of their predictions, at the price of one (Wortsman et al., Model soups, ICML 2022).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.errors import UsageError
from ichor.models.unet import MapNet

__all__ = ["average_weights"]

_BATCH = 16


def average_weights(networks: Sequence[nn.Module], stacks: Sequence[NDArray[np.float32]]) -> MapNet:
    """Take the mean of networks' weights, and give its logits (of the map, and pooled) the mean and spread of theirs.

    The mean of weights draws paler maps than any of its networks: without the second step, probabilities and regions
    that were calibrated on those would be wrong.

    Parameters
    ----------
    networks
        Map models of one recipe, in evaluation mode.
    stacks
        ``(n, channels, rows, columns)`` slices that they trained on, to compare logits on.

    Returns
    -------
    MapNet
        In evaluation mode.

    Raises
    ------
    UsageError
        Where there is none, or one draws no maps.
    """
    if not networks or not all(isinstance(network, MapNet) for network in networks):
        raise UsageError(
            "weight averaging: found no networks, or some that draw no maps; expected those of a map model's folds"
        )
    averaged: MapNet = copy.deepcopy(networks[0])  # type: ignore[assignment]
    states = [network.state_dict() for network in networks]
    averaged.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    averaged.eval()
    theirs = np.mean([_logits(network, stacks) for network in networks], axis=0)
    own = _logits(averaged, stacks)
    scale = theirs.std(axis=1) / np.maximum(own.std(axis=1), 1e-6)
    offset = theirs.mean(axis=1) - scale * own.mean(axis=1)
    _rescale(averaged.map_head, scale[0], offset[0])
    _rescale(cast("nn.Linear", averaged.pooled_head[-1]), scale[1], offset[1])
    return averaged


def _mean(values: list[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0]  # how many batches a normalisation has seen
    return torch.stack([v.double() for v in values]).mean(0).to(values[0].dtype)


def _logits(network: nn.Module, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Logits ``(2, n, 6)`` of slices: of the map's top pixels, and pooled."""
    slices = torch.from_numpy(np.concatenate(stacks))
    with torch.inference_mode():
        parts = [torch.stack(network(slices[k : k + _BATCH])[1:]) for k in range(0, len(slices), _BATCH)]
    return np.asarray(torch.cat(parts, dim=1).double().numpy())


def _rescale(head: nn.Conv2d | nn.Linear, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
    """Fold ``scale * logit + offset``, label by label, into a network's last layer."""
    with torch.no_grad():
        factor = torch.from_numpy(scale).to(head.weight.dtype)
        head.weight.mul_(factor.view(-1, *[1] * (head.weight.ndim - 1)))
        if head.bias is not None:
            head.bias.mul_(factor).add_(torch.from_numpy(offset).to(head.bias.dtype))

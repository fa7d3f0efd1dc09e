"""What the network is punished for: pixels where they are known, slices where they are labelled."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN

__all__ = ["map_loss", "map_targets", "slice_loss", "slice_weights"]


def map_targets(blood: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a blood map into a target and a weight for each label.

    Parameters
    ----------
    blood
        ``(n, rows, columns)`` uint8, as in :class:`ichor.datasets.labelled.LabelledExam`.
    labels
        ``(n, 6)``, NaN for unknown.

    Returns
    -------
    targets, weights
        ``(n, 6, rows, columns)`` float32; weight 0 where nothing is known.
    """
    blood = blood.long()
    subtype = torch.arange(1, 6, device=blood.device).view(1, 5, 1, 1)
    is_blood = (blood > 0) & (blood != UNKNOWN)
    targets = torch.cat([is_blood[:, None], blood[:, None] == subtype], dim=1).float()
    known = (blood != UNKNOWN)[:, None].expand(-1, 6, -1, -1)
    # Blood of an unknown subtype is a positive for "any" and silent on the subtypes; so is a slice whose
    # label for a subtype is unknown.
    has_subtype = torch.cat(
        [torch.ones_like(known[:, :1]), (blood != ANY_SUBTYPE)[:, None].expand(-1, 5, -1, -1)], dim=1
    )
    labelled = ~torch.isnan(labels)[:, :, None, None]
    return targets, (known & has_subtype & labelled).float()


def map_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy a pixel plus Dice over the batch; all five subtypes count as much as ``any``.

    Parameters
    ----------
    logits, targets, weights
        ``(n, 6, rows, columns)``.

    Returns
    -------
    Tensor
        Scalar.
    """
    share = torch.tensor([1.0, *[0.2] * 5], device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weights
    # Positive pixels are rare: as much weight to all of them as to all the others, within reason.
    positives = (targets * weights).sum(dim=(0, 2, 3))
    negatives = ((1 - targets) * weights).sum(dim=(0, 2, 3))
    on = (entropy * targets).sum(dim=(0, 2, 3)) / (positives + 50)
    off = (entropy * (1 - targets)).sum(dim=(0, 2, 3)) / (negatives + 50)
    p = torch.sigmoid(logits) * weights
    overlap = 2 * (p * targets).sum(dim=(0, 2, 3)) + 50
    dice = 1 - overlap / (p.sum(dim=(0, 2, 3)) + (targets * weights).sum(dim=(0, 2, 3)) + 50)
    return ((0.3 * on + 10.0 * off + dice) * share).sum()


def slice_weights(labels: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Weight of each label of each slice: 0 where unknown, ``any`` twice (as RSNA weighs it).

    Parameters
    ----------
    labels
        ``(n, 6)``, NaN for unknown.
    positive_weight
        ``(6,)`` factor for positives.
    """
    weight = torch.tensor([2.0, *[1.0] * 5], device=labels.device) * ~torch.isnan(labels)
    if positive_weight is not None:
        weight = torch.where(labels > 0.5, weight * positive_weight, weight)
    return weight


def slice_loss(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.02,
    weights: Tensor | None = None,
    total: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over known labels.

    Parameters
    ----------
    logits, labels
        ``(n, 6)``; NaN labels do not count.
    smoothing
        How far labels are drawn from 0 and 1.
    weights
        ``(n, 6)``; :func:`slice_weights` of the labels by default.
    total
        Sum of weights to divide by, where it is that of more than these slices.

    Returns
    -------
    Tensor
        Scalar.
    """
    if weights is None:
        weights = slice_weights(labels)
    soft = torch.nan_to_num(labels) * (1 - 2 * smoothing) + smoothing
    entropy = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    total = weights.sum() if total is None else total
    return (entropy * weights).sum() / total.clamp(min=1)

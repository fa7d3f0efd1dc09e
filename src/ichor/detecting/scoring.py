"""From a network's outputs to slices and to an exam: the one scorer of detection, training, evaluation and release.

A network sees the slices of the model's grid. What they are worth is decided here once: the slice rule pools each map
and smooths it along the stack, a stacking model may weigh all slices of an exam together, and the exam rule pools the
slices **of the grid**. Native slices get values by interpolation and decide nothing: of a thin-slice exam they are more
than the grid's, so that their top k would lie higher than what detection compares with a threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.rules import ScoringRules
from ichor.preparing.grid import SliceDistances
from ichor.preparing.stacks import neighbour_indices

__all__ = ["Prediction", "Scores", "Stacking", "interpolated", "mixed", "score", "sigmoid", "top_k_mean"]


class Prediction(NamedTuple):
    """What a network predicts for the grid's slices of one exam, in order.

    Attributes
    ----------
    maps
        ``(m, 6, rows / stride, columns / stride)`` logits; None of a model that draws none.
    slices
        ``(m, 6)`` logits: of a map model, the mean of the map's top pixels, slice by slice.
    pooled
        ``(m, 6)`` logits of the auxiliary head of a map model; None where it was not asked for.
    exam
        ``(6,)`` logits of the exam, of a model that predicts them itself; else None.
    grad_cam
        ``(m, h, w)``, 0 or more: what speaks for any hemorrhage in each slice, by Grad-CAM; None of a model whose
        graphs do not give it.
    """

    maps: NDArray[np.float32] | None
    slices: NDArray[np.float32]
    pooled: NDArray[np.float32] | None = None
    exam: NDArray[np.float32] | None = None
    grad_cam: NDArray[np.float32] | None = None


class Scores(NamedTuple):
    """Logits of one exam, before calibration.

    Attributes
    ----------
    rule
        ``(m, 6)`` of the grid's slices by the slice rule alone.
    grid
        ``(m, 6)`` of the grid's slices: ``rule``, or what stacking made of it.
    native
        ``(n, 6)`` of the exam's own slices, interpolated from ``grid``.
    exam
        ``(6,)`` of the exam, pooled over ``grid``, or as the model predicts it.
    """

    rule: NDArray[np.float64]
    grid: NDArray[np.float64]
    native: NDArray[np.float64]
    exam: NDArray[np.float64]


Stacking = Callable[[NDArray[np.float64], Prediction], NDArray[np.float64]]
"""Weighs the slices of an exam together: the rule's logits ``(m, 6)`` and the prediction, to logits ``(m, 6)``."""


def score(
    outputs: Prediction, distances: SliceDistances, rules: ScoringRules, stacking: Stacking | None = None
) -> Scores:
    """Score one exam.

    Parameters
    ----------
    outputs
        What the network predicts for the grid's slices.
    distances
        Of the same exam's slices.
    rules
        The bundle's.
    stacking
        The bundle's model over all slices of an exam; a single slice has no others, and its pooled head is weighed
        beside the rule instead, by the bundle's share.

    Returns
    -------
    Scores
        Logits of the grid's slices, of the native slices and of the exam.

    Raises
    ------
    ValueError
        Where outputs and distances are not of equally many slices, or the model's own logits of the exam are missing.
    """
    m = len(distances.grid)
    if len(outputs.slices) != m:
        raise ValueError(f"outputs: found {len(outputs.slices)} slices; expected {m}, as the grid has")
    if outputs.maps is None or rules.slice_rule.kind == "graph":
        rule = outputs.slices.astype(np.float64)
    else:
        rule = _smoothed_top_pixels(outputs.maps, distances.grid, rules)
    if m == 1:
        rule = mixed(rule, outputs.pooled, rules.slice_rule.pooled_share)
    grid = rule if stacking is None or m < 2 else stacking(rule, outputs)
    if rules.exam_rule.kind == "graph":
        if outputs.exam is None:
            raise ValueError("outputs: found no logits of the exam; expected them: the exam rule is 'graph'")
        exam = outputs.exam.astype(np.float64)
    else:
        exam = top_k_mean(grid, rules.exam_rule.slices)
    return Scores(rule, grid, interpolated(grid, distances), exam)


def mixed(rule: NDArray[Any], pooled: NDArray[Any] | None, pooled_share: float) -> NDArray[np.float64]:
    """Logits of a slice by itself: the rule's, and the pooled head's by its share, where there is one; of one shape."""
    if pooled is None:
        return np.asarray(rule, dtype=np.float64)
    return np.asarray((1 - pooled_share) * rule + pooled_share * pooled, dtype=np.float64)


def top_k_mean(values: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Top-k pooling: for each label the mean of its ``k`` largest values.

    Blood in one slice makes an exam positive; asking for two slices (about 10 mm) keeps one noisy slice from
    deciding alone, and a single slice stands for itself.

    Parameters
    ----------
    values
        ``(m, 6)`` of the grid's slices.
    k
        How many count.

    Returns
    -------
    numpy.ndarray
        ``(6,)``.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)
    return np.asarray(ordered[-k:].mean(axis=0))


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities of logits, as floats of the same kind.

    As :func:`scipy.special.expit`, whose package takes a twentieth of a second to load at every start of the command.
    """
    small = np.exp(-np.abs(logits))  # never overflows
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


def interpolated(values: NDArray[np.floating], distances: SliceDistances) -> NDArray[np.float64]:
    """Carry values of the grid's slices ``(m, ...)`` to native slices ``(n, ...)``: linear, flat beyond the ends."""
    grid, native = distances
    given: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    m = len(grid)
    if m < 2:
        return np.repeat(given, len(native), axis=0)
    if np.array_equal(grid, native):
        return given
    at = np.interp(native, grid, np.arange(m))
    low = np.minimum(at.astype(int), m - 2)
    share = (at - low).reshape(-1, *[1] * (given.ndim - 1))
    return np.asarray((1 - share) * given[low] + share * given[low + 1])


def _smoothed_top_pixels(
    maps: NDArray[np.float32], distances: NDArray[np.float64], rules: ScoringRules
) -> NDArray[np.float64]:
    """Logits of slices: the mean over the top pixels of the map, smoothed along the stack.

    Blood goes on from slice to slice; noise, and the partial volume of one slice with bone, do not. A bleed
    anywhere makes a slice positive, however small: only its top pixels count.
    """
    weights, pixels = rules.slice_rule.weights, rules.slice_rule.pixels
    half = len(weights) // 2
    total = sum(weights)
    m = len(maps)
    kernel = np.zeros((m, m), np.float32)
    for offset, weight in zip(range(-half, half + 1), weights, strict=True):
        at = neighbour_indices(distances, offset, rules.max_gap_mm)
        kernel[np.arange(m), at] += np.float32(weight / total)
    flat = (kernel @ maps.reshape(m, -1)).reshape(*maps.shape[:2], -1)
    return np.asarray(np.partition(flat, -pixels, axis=2)[:, :, -pixels:].mean(axis=2, dtype=np.float64))

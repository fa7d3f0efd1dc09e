"""Which slices of an exam may show brain: the others (neck, air above the vertex) are not run through the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.scoring import Prediction
from ichor.preparing.grid import GridTransform

__all__ = ["BRAIN_REACH_MM", "brain_reach", "predict_near_brain"]

BRAIN_REACH_MM = 80.0
"""How far there may be brain beyond the slices that show it within closed bone.

These end at the base of the skull, whose bone is open, and below the vertex, where the section is small. The foramen
magnum lies at most about 60 mm below the lowest of them, the vertex less above the highest.
"""
_LEAST_SLICES = 4
"""With fewer that show brain, it is not known well enough where it lies."""


def brain_reach(brains: NDArray[np.bool_], transform: GridTransform) -> tuple[float, float] | None:
    """Return between which distances there may be brain.

    Parameters
    ----------
    brains
        ``(m,)`` which slices of the grid show brain within closed bone.
    transform
        Of the same grid.

    Returns
    -------
    tuple of float or None
        Lowest and highest mm along the normal; None where it is not known.
    """
    geometry = transform.geometry
    if brains.sum() < _LEAST_SLICES or not (geometry.positions_known and geometry.spacing_known):
        return None
    at = transform.distances[brains]
    return float(at.min()) - BRAIN_REACH_MM, float(at.max()) + BRAIN_REACH_MM


def predict_near_brain(
    predict: Callable[[NDArray[np.float32]], Prediction],
    stack: NDArray[np.float32],
    near: NDArray[np.bool_],
) -> Prediction:
    """Predict the slices that may show brain; the others get what is lowest among these, label by label.

    Parameters
    ----------
    predict
        Of a model that predicts each slice by itself.
    stack
        ``(m, channels, rows, columns)`` float32, 0..1.
    near
        ``(m,)`` which slices may show brain; at least one.

    Returns
    -------
    Prediction
        Of all ``m`` slices.
    """
    if near.all():
        return predict(stack)
    found = predict(stack[near])

    def of_all(values: NDArray[np.float32]) -> NDArray[np.float32]:
        others = tuple(axis for axis in range(values.ndim) if axis != 1)
        out = np.empty((len(near), *values.shape[1:]), values.dtype)
        out[:] = values.min(axis=others, keepdims=True)
        out[near] = values
        return out

    return Prediction(
        None if found.maps is None else of_all(found.maps),
        of_all(found.slices),
        None if found.pooled is None else of_all(found.pooled),
        found.exam,
    )

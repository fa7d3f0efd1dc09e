"""What a network looked at, for an exam that is suspected and has no outline: its map of probabilities, or Grad-CAM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ichor.errors import BundleError
from ichor.findings import Findings
from ichor.preparing.grid import GridTransform

__all__ = ["grad_cam", "heat_map", "lacks_outline"]


def lacks_outline(findings: Findings) -> bool:
    """Tell whether hemorrhage is suspected, and no region is outlined."""
    return findings.positive.any is True and not findings.regions


def heat_map(warmth: NDArray[np.float32], transform: GridTransform) -> NDArray[np.uint8]:
    """Carry a map of any hemorrhage to the native slices.

    Parameters
    ----------
    warmth
        ``(m, h, w)`` on the grid, 0 or more.
    transform
        Of the same exam.

    Returns
    -------
    numpy.ndarray
        ``(n, rows, columns)`` uint8, native orientation: 255 where the map is highest, 0 where it is 0 or the grid
        does not reach. It is relative to the exam's own highest value, and says nothing about how probable a
        bleed is.
    """
    highest = float(warmth.max(initial=0.0))
    heat = np.zeros((len(transform.origins), *transform.native_shape), np.uint8)
    if highest <= 0:
        return heat
    for k in range(len(heat)):  # one slice at a time: as floats, a thin-slice exam would take gigabytes
        plane = transform.grid_to_native(warmth, [k])[0]
        heat[k] = np.rint(np.clip(plane / highest, 0, 1) * 255)
    return heat


def grad_cam(activations: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh the last layer's maps, and keep what speaks for a hemorrhage: Grad-CAM.

    Parameters
    ----------
    activations
        ``(m, C, h, w)``.
    weights
        ``(m, C)``: the mean gradient of the logit of any hemorrhage over each map.

    Returns
    -------
    numpy.ndarray
        ``(m, h, w)``, 0 or more.

    Raises
    ------
    BundleError
        Where the two do not fit each other, or are no numbers.
    """
    if activations.ndim != 4 or weights.shape != activations.shape[:2]:
        raise BundleError(
            f"graph 'head': found channel_weights of shape {weights.shape} for activations of shape "
            f"{activations.shape}; expected one for each map; bundle.json and the graphs do not belong together"
        )
    weighed = np.matmul(weights[:, None], activations.reshape(*weights.shape, -1))
    cam = np.asarray(np.maximum(weighed.reshape(len(weights), *activations.shape[2:]), 0), np.float32)
    if not np.isfinite(cam).all():
        raise BundleError(
            f"graph 'features': found activations that are no numbers for {len(weights)} slices; expected finite "
            "ones; get the bundle again, or use --device cpu if this was on a GPU"
        )
    return cam

"""Where the network's map is highest, for an exam that is suspected and has no outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.scoring import sigmoid
from ichor.findings import Findings
from ichor.preparing.grid import GridTransform

__all__ = ["heat_map", "lacks_outline"]


def lacks_outline(findings: Findings) -> bool:
    """Tell whether hemorrhage is suspected, and no region is outlined."""
    return findings.positive.any is True and not findings.regions


def heat_map(any_map: NDArray[np.float32], transform: GridTransform) -> NDArray[np.uint8]:
    """Carry the map of any hemorrhage to the native slices.

    Parameters
    ----------
    any_map
        ``(m, h, w)`` logits on the grid.
    transform
        Of the same exam.

    Returns
    -------
    numpy.ndarray
        ``(n, rows, columns)`` uint8, native orientation: 255 where the map is highest, 0 where it is 0 or the grid
        does not reach. It is relative to the exam's own highest value, and says nothing about how probable a
        bleed is.
    """
    warmth = np.asarray(sigmoid(any_map), dtype=np.float32)
    highest = float(warmth.max(initial=0.0))
    heat = np.zeros((len(transform.origins), *transform.native_shape), np.uint8)
    if highest <= 0:
        return heat
    for k in range(len(heat)):  # one slice at a time: as floats, a thin-slice exam would take gigabytes
        plane = transform.grid_to_native(warmth, [k])[0]
        heat[k] = np.rint(np.clip(plane / highest, 0, 1) * 255)
    return heat

"""What the small network that measures a picture takes: the picture in 96 by 96 greys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["INPUT_SIDE", "network_input"]

INPUT_SIDE = 96


def network_input(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shrink a picture, its proportions kept, onto a square of its darkest grey.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, cut to the head where one was found.

    Returns
    -------
    numpy.ndarray
        ``(1, INPUT_SIDE, INPUT_SIDE)`` float32, 0..1.
    """
    rows, columns = grey.shape
    scale = INPUT_SIDE / max(rows, columns)
    high, wide = (max(1, round(n * scale)) for n in (rows, columns))
    small = np.asarray(Image.fromarray(grey).resize((wide, high), Image.Resampling.BOX), np.float32)
    out = np.full((1, INPUT_SIDE, INPUT_SIDE), float(small.min()), np.float32)
    top, left = (INPUT_SIDE - high) // 2, (INPUT_SIDE - wide) // 2
    out[0, top : top + high, left : left + wide] = small
    return out / np.float32(255)

"""From slices to an exam: one stated rule, used by training's measurements and by detection alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["exam_logits"]


def exam_logits(slice_logits: NDArray[np.floating], hottest: int = 2) -> NDArray[np.float64]:
    """Logits of an exam: for each label the mean over its ``hottest`` most suspicious slices of the grid.

    One bleeding slice makes an exam positive; asking for two (about 10 mm) keeps one noisy slice from
    deciding alone, and a lone slice is judged by itself.

    Parameters
    ----------
    slice_logits
        ``(m, 6)`` for the grid's slices.
    hottest
        How many slices count.

    Returns
    -------
    numpy.ndarray
        ``(6,)``.
    """
    ordered = np.sort(np.asarray(slice_logits, dtype=np.float64), axis=0)
    return np.asarray(ordered[-hottest:].mean(axis=0))

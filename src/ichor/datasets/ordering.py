"""Bringing the slices of an exam that was stored without positions back into their order in the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["spatial_order"]

_SIDE = 32
_TISSUE = 12
_RISE = 0.15
"""Of the head's largest area: past the vertex a stack that grows by so much has begun again from below."""


def spatial_order(pictures: list[NDArray[np.uint8]]) -> NDArray[np.intp]:
    """Order slices from the base to the vertex where a stack reaches the vertex and goes on from lower down.

    Each ascending part keeps its order; the parts are merged so that slices beside each other look as alike as
    they can (the sum of their differences is the least of all merges).

    Parameters
    ----------
    pictures
        Grey slices of one size, in the order in which they are stored.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` numbers of the stored slices; ``0, 1, ..`` where the stack ascends as a whole.
    """
    thumbs = np.stack([_thumb(p) for p in pictures])
    areas = (thumbs > _TISSUE).mean(axis=(1, 2))
    least = areas.max() * _RISE
    starts = [0]
    for k in range(1, len(areas)):
        falling = areas[k - 1] < 0.75 * areas[starts[-1] : k].max()
        if falling and areas[k] > areas[k - 1] + least:
            starts.append(k)
    parts = np.split(np.arange(len(areas)), starts[1:])
    order = parts[0]
    for part in parts[1:]:
        order = _merged(order, part, thumbs)
    return order


def _thumb(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    step = max(1, min(picture.shape) // _SIDE)
    rows, columns = (n // step for n in picture.shape)
    tiles = picture[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return np.asarray(tiles.mean(axis=(1, 3)), np.float32)


def _merged(a: NDArray[np.intp], b: NDArray[np.intp], thumbs: NDArray[np.float32]) -> NDArray[np.intp]:
    """Merge two ascending parts: the cheapest path through the grid of how much of each was taken."""
    flat = thumbs.reshape(len(thumbs), -1)
    cost = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    best = np.full((len(a) + 1, len(b) + 1, 2), np.inf)  # the last one taken: of a, of b
    came = np.zeros(best.shape, np.int8)
    if len(a):
        best[1, 0, 0] = 0.0
    if len(b):
        best[0, 1, 1] = 0.0
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i > 0 and i + j > 1:
                options = [
                    best[i - 1, j, 0] + (cost[a[i - 2], a[i - 1]] if i > 1 else np.inf),
                    best[i - 1, j, 1] + (cost[b[j - 1], a[i - 1]] if j > 0 else np.inf),
                ]
                came[i, j, 0] = int(np.argmin(options))
                best[i, j, 0] = min(options)
            if j > 0 and i + j > 1:
                options = [
                    best[i, j - 1, 0] + (cost[a[i - 1], b[j - 1]] if i > 0 else np.inf),
                    best[i, j - 1, 1] + (cost[b[j - 2], b[j - 1]] if j > 1 else np.inf),
                ]
                came[i, j, 1] = int(np.argmin(options))
                best[i, j, 1] = min(options)
    i, j, last = len(a), len(b), int(np.argmin(best[len(a), len(b)]))
    out = []
    while i + j > 0:
        out.append(int(b[j - 1] if last else a[i - 1]))
        before = int(came[i, j, last])
        i, j, last = (i, j - 1, before) if last else (i - 1, j, before)
    return np.array(out[::-1], np.intp)

"""Outlines of a region, along the edges of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["outlines"]

_TURNS = {(0, 1): ((1, 0), (0, 1), (-1, 0)), (1, 0): ((0, -1), (1, 0), (0, 1))}
_TURNS |= {(0, -1): ((-1, 0), (0, -1), (1, 0)), (-1, 0): ((0, 1), (-1, 0), (0, -1))}
"""Where to look next, by the way one came: first towards the inside, so that diagonal neighbours part."""


def outlines(mask: NDArray[np.bool_], *, away: int = 1) -> list[NDArray[np.float64]]:
    """Draw closed lines around what is set, a little outside of it, so that no blood lies under them.

    Parameters
    ----------
    mask
        ``(rows, columns)``.
    away
        Pixels between the region and its line.

    Returns
    -------
    list of numpy.ndarray
        One ``(k, 2)`` array a line: row and column, 0 at the outer edge of the first pixel. The last
        point joins the first. Holes have a line of their own.
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return []
    pad = away + 1
    grown = np.pad(mask, pad)
    if away:
        grown = ndimage.binary_dilation(grown, iterations=away)
    lines = [_smooth(line) - pad for line in _loops(_edges(grown))]
    # Outside the slice there is nothing to draw on.
    return [np.clip(line, 0, mask.shape) for line in lines]


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Directed edges of pixels between set and not set, the set side on the right: start to directions."""
    edges: dict[tuple[int, int], set[tuple[int, int]]] = {}

    def add(places: NDArray[np.intp], shift: tuple[int, int], way: tuple[int, int]) -> None:
        for r, c in places.tolist():
            edges.setdefault((r + shift[0], c + shift[1]), set()).add(way)

    above = np.zeros_like(mask)
    above[1:] = mask[:-1]
    add(np.argwhere(mask & ~above), (0, 0), (0, 1))  # top edge: to the right
    add(np.argwhere(~mask & above), (0, 1), (0, -1))  # bottom edge: to the left
    before = np.zeros_like(mask)
    before[:, 1:] = mask[:, :-1]
    add(np.argwhere(mask & ~before), (1, 0), (-1, 0))  # left edge: up
    add(np.argwhere(~mask & before), (0, 0), (1, 0))  # right edge: down
    return edges


def _loops(edges: dict[tuple[int, int], set[tuple[int, int]]]) -> list[NDArray[np.float64]]:
    """Chain edges into closed lines through the edges' midpoints."""
    lines = []
    while edges:
        start = at = next(iter(edges))
        way = next(iter(edges[at]))
        points = []
        while True:
            ways = edges[at]
            ways.discard(way)
            if not ways:
                del edges[at]
            points.append((at[0] + way[0] / 2, at[1] + way[1] / 2))
            at = (at[0] + way[0], at[1] + way[1])
            left = edges.get(at)
            if left is None or (at == start and not any(turn in left for turn in _TURNS[way])):
                break
            way = next(turn for turn in _TURNS[way] if turn in left)
        lines.append(np.array(points, dtype=np.float64))
    return lines


def _smooth(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the steps of single pixels out of a closed line."""
    if len(line) < 8:
        return line
    return (np.roll(line, 1, axis=0) + 2 * line + np.roll(line, -1, axis=0)) / 4

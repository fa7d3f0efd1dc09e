"""Removing a photograph's light from a slice: tint, haze, glare and the change of light from side to side.

Two surfaces are fitted over the slice: the level of black, from the air around the head, and the level of
white, from the skull. Both are smooth (first or second order) and fitted outside the brain, so that a bleed
cannot change them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["air_level", "even_illumination", "has_haze", "remove_tint", "tint_gains"]

_TINTED = 1.04
"""Gain of the strongest against the weakest of red, green and blue, below which it is the JPEG's doing."""
_HAZE = 10
"""Grey value of the air near a head that a screenshot does not reach."""
_AROUND = 0.22
"""Of the head's longer side: how far around it air is looked at."""
_BLOCKS = 56
"""Blocks of air along the longer side of what is looked at."""
_SECTORS = 36
_RIM = 0.35
"""Of the deepest pixel's depth: how far inwards the skull is looked for."""
_LEAST_WHITE = 60.0
"""Grey values between black and white, below which there is nothing to be stretched."""
_WHITE_SIDE = 2000
"""Pixels of the longer side of what the skull is looked for in; a larger head is looked at in steps."""
_SLOPE = (0.6, 1.6)
"""How far white may fall or rise against its median over the head."""


def tint_gains(rgb: NDArray[np.uint8], head: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Gains ``(3,)`` of red, green and blue over a head; None where it is as grey as a screenshot's.

    Parameters
    ----------
    rgb
        ``(rows, columns, 3)`` uint8.
    head
        ``(rows, columns)`` bool.
    """
    pixels = rgb[head]
    if not len(pixels):
        return None
    # Bright but not clipped: black has no colour, and what is clipped has lost it.
    level = pixels.max(axis=1)
    coloured = pixels[(level > 50) & (level < 250)]
    if len(coloured) < 200:
        return None
    medians = np.median(coloured, axis=0)
    if medians.max() < _TINTED * medians.min():
        return None
    return np.asarray(medians / medians.mean())


def has_haze(grey: NDArray[np.uint8], head: NDArray[np.bool_]) -> bool:
    """Whether the air around a head is not black, as where light falls on a screen or a film.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, bone bright.
    head
        ``(rows, columns)`` bool.
    """
    reach = max(4, round(0.03 * max(head.shape)))
    near = ndimage.binary_dilation(head, iterations=3 * reach) & ~ndimage.binary_dilation(
        head, iterations=reach
    )
    return bool(near.any() and np.percentile(grey[near], 10) > _HAZE)


def remove_tint(rgb: NDArray[np.uint8], gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Undo a tint: ``(rows, columns, 3)`` uint8 in which a grey thing is grey."""
    out = np.empty_like(rgb)
    for channel, gain in enumerate(gains.astype(np.float32)):  # one at a time: a photograph has many pixels
        out[..., channel] = np.clip(rgb[..., channel] / gain + np.float32(0.5), 0, 255)
    return out


def even_illumination(
    grey: NDArray[np.uint8], head: NDArray[np.bool_], outside: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Make air black and the skull white all over a photographed slice.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, bone bright.
    head
        ``(rows, columns)`` bool, the head with everything in it.
    outside
        ``(rows, columns)`` bool, what the photograph does not show; it tells nothing of the light.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` uint8; as it was, where the head shows too little white to know the light by.
    """
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    if not len(rows):
        return grey
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    pad = round(_AROUND * longest)
    window = (
        slice(max(0, rows[0] - pad), rows[-1] + 1 + pad),
        slice(max(0, columns[0] - pad), columns[-1] + 1 + pad),
    )
    near, near_head = grey[window].astype(np.float32), head[window]
    hidden = np.zeros(near.shape, bool) if outside is None else outside[window]
    black = _black(near, near_head, hidden)
    near -= black
    # The plane of the skull needs no more than this; its distances take many bytes a pixel.
    step = max(1, max(near.shape) // _WHITE_SIDE)
    solution = _white(near[::step, ::step], near_head[::step, ::step])
    if solution is None:
        return grey
    near /= np.clip(_surface(near.shape, solution), _SLOPE[0] * solution[0], _SLOPE[1] * solution[0])
    near *= 255
    near += np.float32(0.5)
    out = np.zeros(grey.shape, np.uint8)
    out[window] = np.clip(near, 0, 255, out=near)
    return out


def _terms(
    shape: tuple[int, ...], order: int, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    """``(points, terms)`` of a surface at some pixels: 1, x, y, and for order 2 their products; -1..1."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[rows]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[columns]
    plane = [np.ones_like(x), x, y]
    return np.stack(plane if order == 1 else [*plane, x * x, x * y, y * y], axis=-1)


def _surface(shape: tuple[int, ...], solution: NDArray[np.float64]) -> NDArray[np.float32]:
    """``(rows, columns)`` of the surface with these weights of :func:`_terms`."""
    one, by_x, by_y, by_xx, by_xy, by_yy = np.pad(solution, (0, 6 - len(solution))).astype(np.float32)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    out = (by_x + by_xy * y) * x
    out += one + by_y * y + by_yy * y * y
    out += by_xx * x * x
    return np.asarray(out, dtype=np.float32)


def air_level(grey: NDArray[np.uint8], outside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Estimate the level of black over a photographed screen or film, before a head is found in it.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, flattened.
    outside
        ``(rows, columns)`` bool, what the photograph does not show.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` float32, a surface that bends once, through the darkest third.
    """
    return _black(grey.astype(np.float32), np.zeros(grey.shape, bool), outside, start=35)


def _black(
    grey: NDArray[np.float32], head: NDArray[np.bool_], hidden: NDArray[np.bool_], start: float = 80
) -> NDArray[np.float32]:
    """Surface through the air around a head: letters, tables and the scalp's glow lie above and do not count."""
    step = max(1, max(grey.shape) // _BLOCKS)
    taken = hidden | ndimage.binary_dilation(head, iterations=2 * step) if head.any() else hidden
    rows, columns = (n // step for n in grey.shape)
    by_block = (rows, step, columns, step)
    free = ~taken[: rows * step, : columns * step].reshape(by_block).any(axis=(1, 3))
    levels = np.median(grey[: rows * step, : columns * step].reshape(by_block), axis=(1, 3))
    places, values = np.argwhere(free) * step + step // 2, levels[free]
    if len(values) < 12:  # cut so close that there is no air: its darkest is all that can be known
        return np.full(grey.shape, float(np.percentile(grey[~hidden], 0.5)), np.float32)
    at, v = places, values.astype(np.float64)
    order = 2 if len(v) >= 60 else 1
    left = _terms(grey.shape, order, at[:, 0], at[:, 1]).astype(np.float64)
    kept = v <= np.percentile(v, start)
    solution = np.zeros(left.shape[1])
    for _ in range(6):
        # A little weight on a flat surface, where air is seen on one side only.
        ridge = np.diag([0.0] + [0.02 * kept.sum()] * (left.shape[1] - 1))
        solution = np.linalg.solve(left[kept].T @ left[kept] + ridge, left[kept].T @ v[kept])
        off = v - left @ solution
        spread = 1.5 * float(np.median(np.abs(off[kept]))) + 1.0
        kept = (off < 2 * spread) & (off > -4 * spread)
        if kept.sum() < 12:
            break
    surface = _surface(grey.shape, solution)
    # Between the air on all sides nothing is darker or brighter by much than the air is.
    return np.asarray(np.clip(surface, max(0.0, v[kept].min() - 2) if kept.any() else 0.0, v.max()))


def _white(grey: NDArray[np.float32], head: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Weights of a plane through the brightest of the skull in each direction from the head's middle."""
    depth = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    rim = head & (depth < _RIM * depth.max())
    i, j = np.nonzero(rim)
    middle = np.argwhere(head).mean(axis=0)
    sector = ((np.arctan2(i - middle[0], j - middle[1]) / (2 * np.pi) + 0.5) * _SECTORS).astype(
        int
    ) % _SECTORS
    soft = ndimage.uniform_filter(grey, 3)
    values = soft[i, j]
    left, right = [], []
    for k in range(_SECTORS):
        own = sector == k
        if own.sum() < 20:
            continue
        level = np.percentile(values[own], 93)
        bright = own.copy()
        bright[own] = values[own] >= level
        left.append(_terms(grey.shape, 1, i[bright], j[bright]).mean(axis=0))
        right.append(float(values[bright].mean()))
    if len(right) < 12:
        return None
    a, v = np.array(left, np.float64), np.array(right)
    kept = v > 0.75 * np.percentile(v, 75)
    solution = np.array([float(np.percentile(v, 75)), 0.0, 0.0])
    for _ in range(5):
        if kept.sum() < 12:
            break
        ridge = np.diag([0.0, 0.05 * kept.sum(), 0.05 * kept.sum()])
        solution = np.linalg.solve(a[kept].T @ a[kept] + ridge, a[kept].T @ v[kept])
        off = v - a @ solution
        spread = 1.5 * float(np.median(np.abs(off[kept]))) + 1.0
        # Sutures, thin bone and the face lie below; no skull is brighter than white.
        kept = (off > -1.5 * spread) & (off < 3 * spread)
    if solution[0] < _LEAST_WHITE:
        return None
    return solution

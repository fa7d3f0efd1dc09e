"""Where in a picture the slices lie, past borders, toolbars and captions, and whether bone is dark there.

A head looks the same in every window: a rounded region on a darker ground, brighter along its rim than
within. Bars, pages and panels are rectangles; letters are small. Where no such region is found, only an even
border is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["FoundSlice", "find_slice", "find_slices", "without_letters"]

_COARSE_SIDE = 192
_MARGIN = 0.03
"""Of the head's longer side, kept around it: the scalp, and air to know it by."""
_LEVELS = (14, 24, 36, 52, 72, 100, 140, 190)
"""Grey values above which things are taken to stand out: which one parts the head from its ground varies."""
_MIN_SHARE = 0.015
"""Of the picture's pixels; smaller is a letter or an icon."""
_BOX_FILL = (0.5, 0.62, 0.9, 0.965)
"""Share of its box that a head fills (an ellipse: 0.785): none below the first or above the last."""
_LARGEST, _ROUND_FILL = 0.8, 0.84
"""Of a photographed screen, and of its own box: what fills more is no head on it, but the screen."""
_PART = 0.3
"""Share of a thing's score from which two things within it, apart, are heads that ran together."""
_ASPECT = (0.45, 0.62)
_FRAME_TOUCHED = (0.3, 0.45)
"""Share of the picture's frame that a head may touch; ground, and a page, touch most of it."""
_RIM_CONTRAST = (10.0, 30.0)
_WITHOUT_RIM = 0.15
_NO_RIM = 3.0
"""Up to this rim contrast a thing may be plain air: no picture is turned for it."""
_HOLLOW = (0.5, 0.75)
_WHEN_HOLLOW = 0.2
"""Air around a head is a thing with a large hole in the negative; a head is mostly itself."""
_RING = (3, 10)
"""Coarse pixels from a thing, between which its ground is looked at: beyond the band of a head holder."""
_BRIGHT_GROUND = (0.4, 0.7)
_LEAST_SCORE = 0.01
_INVERTED_BY = (1.5, 1.1)
"""How much better the negative must look to be believed: on a dark ground, and on a bright one."""
_ALSO = 0.5
"""A second head of this share of the first one's pixels is another slice, not a thumbnail."""
_ALSO_OF_SHEET = 0.2
"""The same where at least so many are about the first one's size: a sheet has the vertex and the base, too."""
_SHEET = 3
_EVEN = 6.0
"""Greys within which a border line counts as even (JPEG)."""
_WHITE, _BAR_SHARE = 225, 0.55
_LETTER_SHARE = 0.02


@dataclass(frozen=True)
class FoundSlice:
    """One slice found in a picture.

    Attributes
    ----------
    box
        First row, first column, rows, columns.
    inverted
        Whether bone is dark; the picture is to be turned before use.
    others
        Further slices of about the same size in the picture.
    head
        ``(rows, columns)`` bool over the whole picture: the head with everything in it, generously; None
        where no head was found.
    """

    box: tuple[int, int, int, int]
    inverted: bool = False
    others: int = 0
    head: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class _Candidate:
    score: float
    rim_contrast: float
    box: tuple[slice, slice]
    region: NDArray[np.bool_]
    """Within ``box`` of the coarse picture."""


def find_slice(grey: NDArray[np.uint8]) -> FoundSlice:
    """Find the clearest slice in a picture: the first of :func:`find_slices`."""
    return find_slices(grey)[0]


def find_slices(grey: NDArray[np.uint8], *, screen: bool = False) -> tuple[FoundSlice, ...]:
    """Find all slices in a picture.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, of either polarity.
    screen
        The picture is a screen or film that was photographed: no head fills it, heads side by side may run
        together in the haze, and its ground is dark.

    Returns
    -------
    tuple of FoundSlice
        Each head with a small margin, the clearest first; where there is none, one without a head: the
        picture without even borders.
    """
    trimmed = _trim(grey)
    without_bars = _without_bars(grey, trimmed)
    found = _find_heads(grey, trimmed, screen)
    # In a negative, air is what a bar of a caption is: white, with something dark upon it.
    return found if found[0].inverted or without_bars == trimmed else _find_heads(grey, without_bars, screen)


def _find_heads(
    grey: NDArray[np.uint8], trimmed: tuple[slice, slice], screen: bool
) -> tuple[FoundSlice, ...]:
    inner = grey[trimmed]
    step = max(1, -(-max(inner.shape) // _COARSE_SIDE))
    small = ndimage.uniform_filter(inner, step)[step // 2 :: step, step // 2 :: step]
    plain, negative = (
        sorted(_head_candidates(s, screen), key=lambda c: -c.score) for s in (small, 255 - small)
    )
    negative = [c for c in negative if c.rim_contrast > _NO_RIM]
    bright = bool(np.median(_corners(small)) > 128)
    rival = plain[0].score if plain else 0.0 if bright else 0.05
    inverted = bool(negative) and negative[0].score > _INVERTED_BY[bright] * rival
    if screen and plain:
        inverted, plain = False, _without_merged(plain)
    heads = negative if inverted else plain
    if not heads:
        rows, columns = trimmed
        return (
            FoundSlice((rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)),
        )
    # A bright border of the picture is no air to be kept around the head; a dark one is.
    bounds = (
        trimmed
        if _border_is_bright(grey, trimmed, inverted)
        else (slice(0, grey.shape[0]), slice(0, grey.shape[1]))
    )
    chosen = _separate(heads)
    return tuple(
        _at_full_size(head, grey.shape, trimmed, bounds, step, inverted, len(chosen) - 1) for head in chosen
    )


def _at_full_size(
    best: _Candidate,
    shape: tuple[int, ...],
    trimmed: tuple[slice, slice],
    bounds: tuple[slice, slice],
    step: int,
    inverted: bool,
    others: int,
) -> FoundSlice:
    """Scale a candidate of the coarse picture up to the picture itself."""
    longest = max(s.stop - s.start for s in best.box) * step
    margin = max(2 * step, round(_MARGIN * longest))
    low, high = [], []
    for axis in range(2):
        start = trimmed[axis].start
        low.append(max(bounds[axis].start, start + best.box[axis].start * step - margin))
        high.append(min(bounds[axis].stop, start + best.box[axis].stop * step + margin))
    head = np.zeros(shape, bool)
    full = np.repeat(np.repeat(best.region, step, axis=0), step, axis=1)
    top, left = (trimmed[axis].start + best.box[axis].start * step for axis in range(2))
    full = full[: trimmed[0].stop - top, : trimmed[1].stop - left]
    head[top : top + full.shape[0], left : left + full.shape[1]] = full
    return FoundSlice(
        (low[0], low[1], high[0] - low[0], high[1] - low[1]),
        inverted,
        others,
        ndimage.binary_dilation(head, iterations=2 * step),
    )


def without_letters(grey: NDArray[np.uint8], head: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Put the ground in place of small bright things apart from the head: letters, scales, markers.

    Nothing within the head or touching it is altered: a bleed is a small bright thing, too.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8, bone bright.
    head
        ``(rows, columns)`` bool, the head with everything in it.
    """
    if head.all():
        return grey
    ground = int(np.median(grey[~head]))
    bright = ndimage.binary_dilation(~head & (grey > ground + 40), iterations=2)
    labels, count = ndimage.label(bright)
    if not count:
        return grey
    wiped = np.bincount(labels.ravel(), minlength=count + 1) < _LETTER_SHARE * grey.size
    wiped[0] = False
    wiped[np.unique(labels[head])] = False
    return np.where(wiped[labels], np.minimum(grey, ground), grey).astype(np.uint8)


def _trim(grey: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns within the even border of a picture; all of them where all is even."""
    kept: list[slice] = []
    for axis in (1, 0):
        lines = grey if axis == 1 else grey[kept[0]]
        low, high = np.percentile(lines, [2, 98], axis=axis)
        uneven = np.flatnonzero(high - low > _EVEN)
        whole = slice(0, lines.shape[1 - axis])
        kept.append(slice(int(uneven[0]), int(uneven[-1]) + 1) if len(uneven) else whole)
    return kept[0], kept[1]


def _without_bars(grey: NDArray[np.uint8], box: tuple[slice, slice]) -> tuple[slice, slice]:
    """Cut white bars with captions off the top and the bottom."""
    lines = grey[box]
    end = max(1, lines.shape[1] // 32)
    white = (lines >= _WHITE).mean(axis=1) > _BAR_SHARE
    white &= (lines[:, :end] >= _WHITE).all(axis=1) & (lines[:, -end:] >= _WHITE).all(axis=1)
    inner = np.flatnonzero(~white)
    if not len(inner):
        return box
    return slice(box[0].start + int(inner[0]), box[0].start + int(inner[-1]) + 1), box[1]


def _border_is_bright(grey: NDArray[np.uint8], trimmed: tuple[slice, slice], inverted: bool) -> bool:
    outside = np.ones(grey.shape, bool)
    outside[trimmed] = False
    if not outside.any():
        return False
    return bool((float(np.median(grey[outside])) > 60) != inverted)


def _head_candidates(small: NDArray[np.uint8], screen: bool) -> Iterator[_Candidate]:
    """Every region of a coarse picture that could be a head, at every level."""
    least = _MIN_SHARE * small.size
    for level in _LEVELS:
        things = ndimage.binary_opening(small > level, iterations=2)
        labels, count = ndimage.label(things)
        if not count:
            return
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            height, width = (s.stop - s.start for s in box)
            if height * width < least or min(height, width) < 12:
                continue
            own = labels[box] == number
            region = ndimage.binary_fill_holes(own)
            pixels = int(np.count_nonzero(region))
            shape = _ramp(min(height, width) / max(height, width), *_ASPECT)
            fill = pixels / (height * width)
            shape *= _ramp(fill, *_BOX_FILL[:2]) * (1 - _ramp(fill, *_BOX_FILL[2:]))
            shape *= 1 - _ramp(_frame_touched(region, box, small.shape), *_FRAME_TOUCHED)
            if pixels < least or shape <= 0:
                continue
            if screen and (
                pixels > _LARGEST * small.size
                or (fill > _ROUND_FILL and min(height / small.shape[0], width / small.shape[1]) > 0.9)
            ):
                continue  # the screen itself
            contrast = _rim_contrast(small[box], region)
            rim = _WITHOUT_RIM + (1 - _WITHOUT_RIM) * _ramp(contrast, *_RIM_CONTRAST)
            solid = _ramp(float(np.count_nonzero(own)) / pixels, *_HOLLOW)
            score = shape * rim * (_WHEN_HOLLOW + (1 - _WHEN_HOLLOW) * solid) * pixels / small.size
            if score > _LEAST_SCORE:
                score *= 1 - _ramp(_bright_around(small > level, box, region), *_BRIGHT_GROUND)
            if score > _LEAST_SCORE:
                yield _Candidate(score, contrast, box, region)


def _corners(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Corners of a coarse picture, where ground shows even when the head fills it."""
    rows, columns = (max(2, n // 12) for n in small.shape)
    return np.concatenate(
        [
            small[r, c].ravel()
            for r in (slice(rows), slice(-rows, None))
            for c in (slice(columns), slice(-columns, None))
        ]
    )


def _frame_touched(region: NDArray[np.bool_], box: tuple[slice, slice], shape: tuple[int, ...]) -> float:
    touched = sum(
        int(np.count_nonzero(side))
        for side, at_edge in (
            (region[0], box[0].start == 0),
            (region[-1], box[0].stop == shape[0]),
            (region[:, 0], box[1].start == 0),
            (region[:, -1], box[1].stop == shape[1]),
        )
        if at_edge
    )
    return touched / (2 * (shape[0] + shape[1]))


def _bright_around(bright: NDArray[np.bool_], box: tuple[slice, slice], region: NDArray[np.bool_]) -> float:
    """Share of what lies around a region that is no darker than it; 0 where nothing of the picture does."""
    pad = tuple(
        (min(s.start, _RING[1]), min(n - s.stop, _RING[1])) for s, n in zip(box, bright.shape, strict=True)
    )
    window = tuple(slice(s.start - a, s.stop + b) for s, (a, b) in zip(box, pad, strict=True))
    distance = ndimage.distance_transform_edt(~np.pad(region, pad))
    ring = (distance > _RING[0]) & (distance <= _RING[1])
    return float(bright[window][ring].mean()) if ring.any() else 0.0


def _rim_contrast(small: NDArray[np.uint8], region: NDArray[np.bool_]) -> float:
    """How much brighter a region is along its edge (the brightest third there) than in its middle."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    deepest = depth.max()
    rim, core = region & (depth < 0.3 * deepest), depth > 0.5 * deepest
    if not rim.any() or not core.any():  # a thing so small or thin that it has no middle
        return 0.0
    return float(np.percentile(small[rim], 75) - np.median(small[core]))


def _without_merged(heads: list[_Candidate]) -> list[_Candidate]:
    """Leave out each region that holds two separate others: heads that ran together."""
    kept = []
    for head in heads:
        parts: list[_Candidate] = []
        for part in heads:
            within = all(
                a.start >= b.start and a.stop <= b.stop for a, b in zip(part.box, head.box, strict=True)
            )
            bright = part.rim_contrast > _RIM_CONTRAST[0] and _PART * head.score < part.score
            if within and bright and part is not head and not any(_overlap(part.box, p.box) for p in parts):
                parts.append(part)
        if len(parts) < 2:
            kept.append(head)
    return kept or heads


def _separate(heads: list[_Candidate]) -> list[_Candidate]:
    """Heads that overlap neither the best one nor each other, of about its size."""
    apart = [heads[0]]
    for head in heads[1:]:
        if not any(_overlap(head.box, a.box) for a in apart):
            apart.append(head)
    first = heads[0].score
    alike = [head for head in apart if head.score > _ALSO * first]
    if len(alike) < _SHEET:
        return alike
    return [head for head in apart if head.score > _ALSO_OF_SHEET * first]


def _overlap(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    return all(x.start < y.stop and y.start < x.stop for x, y in zip(a, b, strict=True))


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1))

"""From the pixels of a picture to the grey slices in it: flattened, without borders and marks, each alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ichor.errors import RefusedInput
from ichor.exam import Picture, Source
from ichor.notices import Notice, notice
from ichor.reading.picture.flattening import Plane, apply_homography, find_plane, flatten
from ichor.reading.picture.illumination import (
    air_level,
    even_illumination,
    has_haze,
    remove_tint,
    tint_gains,
)
from ichor.reading.picture.slice_finding import FoundSlice, find_slices, without_letters

__all__ = ["slices_of_picture"]

_MIN_SIDE = 64
_STRONG_COLOUR = 60
"""Difference between the strongest and weakest of red, green and blue that no grey slice has."""
_MOST_COLOUR = 0.25
"""Share of coloured pixels above which a picture is a photograph or a map, not a slice with marks on it."""
_MOST_TINT = 1.6
"""Gain of the strongest against the weakest of red, green and blue, above which no lamp explains a colour."""
_DARK_SPREAD = 6
"""Grey values by which the air of a photographed screen or film may lie above its smooth level."""
_LEAST_GREYS = 16
"""Fewer distinct greys than this show no brain."""
_NO_SCALE = "A picture has no Hounsfield units and no scale: HU are taken from its greys, no volume is given."


@dataclass(frozen=True)
class _View:
    """The pixels that slices are cut from: the picture as it came, or flattened."""

    grey: NDArray[np.uint8]
    rgb: NDArray[np.uint8] | None
    plane: Plane | None = None
    outside: NDArray[np.bool_] | None = None
    """Where the flattened view lies outside the photograph."""


def slices_of_picture(
    pixels: NDArray[np.uint8], name: str, notices: tuple[Notice, ...], began: float
) -> Iterator[Picture | RefusedInput]:
    """Find the slices in a picture and bring each to grey, bone bright, as a screenshot would show it.

    A picture that is no photograph keeps its own pixels where the head is, but for coloured marks.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.
    name
        Of the picture, for results and messages.
    notices
        What was noticed before.
    began
        When reading began (``time.perf_counter``).

    Yields
    ------
    Picture or RefusedInput
        One a slice, row by row.

    Raises
    ------
    RefusedInput
        ``picture_too_small`` or ``not_a_head``, for the whole picture.
    """
    if min(pixels.shape[:2]) < _MIN_SIDE:
        raise _too_small(name, pixels.shape, "", "give the picture at its original size")
    grey, rgb = _grey(pixels), pixels if pixels.ndim == 3 else None
    greys = int(np.count_nonzero(np.bincount(grey.ravel(), minlength=256)))
    if greys < _LEAST_GREYS:
        raise _no_head(
            name,
            f"a picture of {greys} {'grey' if greys == 1 else 'greys'}",
            f"at least {_LEAST_GREYS}, as a slice has them",
        )
    view, found = _choose_view(grey, rgb, name)
    shape = (grey.shape[0], grey.shape[1])
    for k, slice_ in enumerate(_by_rows(found)):
        own_name, own_notices = name, (notice("picture", _NO_SCALE), *notices)
        if len(found) > 1:
            own_name = f"{name} slice {k + 1}"
            text = f"This is slice {k + 1} of {len(found)} in one picture; each is assessed alone."
            own_notices = (*own_notices, notice("picture_several", text))
        try:
            cut, changes = _cut_slice(view, slice_, own_name)
        except RefusedInput as refusal:
            yield refusal
            continue
        box = slice_.box if view.plane is None else _box_in_file(slice_.box, view.plane, shape)
        every = (*own_notices, *changes)
        yield Picture(cut, Source(own_name, "picture"), box, shape, every, time.perf_counter() - began)


def _choose_view(
    grey: NDArray[np.uint8], rgb: NDArray[np.uint8] | None, name: str
) -> tuple[_View, tuple[FoundSlice, ...]]:
    """Choose between the picture as it is and what it shows of a screen or film, flattened."""
    plane = find_plane(grey)
    if plane is not None and plane.slanted:
        flat = flatten(grey if rgb is None else rgb, plane)
        outside = flatten(np.full(grey.shape, 255, np.uint8), plane) < 255
        found = find_slices(_without_haze(_grey(flat), outside), screen=True)
        if found[0].head is not None:
            return _View(_grey(flat), None if rgb is None else flat, plane, outside), found
    share = 0.0 if rgb is None else float((_spread(rgb) > _STRONG_COLOUR).mean())
    if rgb is not None and 0 < share <= _MOST_COLOUR:
        grey = _without_marks(grey, _spread(rgb) > _STRONG_COLOUR)
    found = find_slices(grey)
    if share > _MOST_COLOUR and found[0].head is None:
        raise _coloured(name, share)
    return _View(grey, rgb), found


def _cut_slice(view: _View, found: FoundSlice, name: str) -> tuple[NDArray[np.uint8], tuple[Notice, ...]]:
    """Cut one slice out, bone bright and evenly lit.

    Returns
    -------
    pixels, notices
        ``(rows, columns)`` uint8, and what was changed.

    Raises
    ------
    RefusedInput
        ``not_a_head`` or ``picture_too_small``.
    """
    row, column, rows, columns = found.box
    box = np.s_[row : row + rows, column : column + columns]
    gains = _photograph_gains(view, found)
    photographed = view.plane is not None or gains is not None
    grey = _without_colour(view, found, gains, photographed, name)
    notices = []
    if found.inverted:
        grey = (255 - grey).astype(np.uint8)
        notices.append(notice("picture_inverted", "Bone was dark: the picture was inverted."))
    if photographed and found.head is not None:
        grey = even_illumination(grey, found.head, view.outside)
        notices += _photograph_notices(flattened=view.plane is not None)
    if rows * columns < 0.9 * grey.size:
        text = f"Borders were cut: {rows} x {columns} of {grey.shape[0]} x {grey.shape[1]} pixels."
        notices.append(notice("picture_cropped", text))
    if found.head is not None:
        grey = without_letters(grey, found.head)
    out = np.ascontiguousarray(grey[box])
    if min(out.shape) < _MIN_SIDE:
        raise _too_small(name, out.shape, "a slice of ", "give a larger picture")
    return out, tuple(notices)


def _photograph_gains(view: _View, found: FoundSlice) -> NDArray[np.float64] | None:
    """Gains ``(3,)`` of the light on a photographed slice; None where it is neutral, or where this is no photograph.

    A tint alone does not make a photograph: films are blue, and so are screenshots of them.
    """
    if view.rgb is None or found.head is None:
        return None
    gains = tint_gains(view.rgb, found.head)
    if gains is None or gains.max() > _MOST_TINT * gains.min():
        return None
    if view.plane is not None or (not found.inverted and has_haze(view.grey, found.head)):
        return gains
    return None


def _without_colour(
    view: _View, found: FoundSlice, gains: NDArray[np.float64] | None, photographed: bool, name: str
) -> NDArray[np.uint8]:
    """Grey pixels of the whole view, its tint removed and coloured marks on a photographed head filled in.

    Raises
    ------
    RefusedInput
        ``not_a_head`` where much of the slice is coloured.
    """
    if view.rgb is None:
        return view.grey
    row, column, rows, columns = found.box
    rgb = view.rgb if gains is None else remove_tint(view.rgb, gains)
    marks = _spread(rgb) > _STRONG_COLOUR
    share = float(marks[row : row + rows, column : column + columns].mean())
    if share > _MOST_COLOUR:
        raise _coloured(name, share)
    if not photographed or found.head is None:
        return view.grey
    grey = _grey(rgb)
    marks &= ndimage.binary_erosion(found.head, iterations=2)
    return _without_marks(grey, marks) if marks.any() else grey


def _photograph_notices(*, flattened: bool) -> list[Notice]:
    change = "flattened and its light evened" if flattened else "evened in its light"
    text = (
        f"This is a photograph of a screen or film: it was {change}. Of all inputs it is the weakest; "
        "give the DICOM files, or the picture as exported, where they can be had."
    )
    out = [notice("picture_photograph", text)]
    if flattened:
        text = "A screen or film seen from the side was flattened by its four sides."
        out.append(notice("picture_flattened", text))
    return out


def _box_in_file(
    box: tuple[int, int, int, int], plane: Plane, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Upright box in the photograph around a box of the flattened picture."""
    row, column, rows, columns = box
    corners = np.array(
        [[column, row], [column + columns, row], [column + columns, row + rows], [column, row + rows]]
    )
    at = apply_homography(plane.matrix, corners - 0.5) + 0.5
    left, top = (int(np.clip(v, 0, None)) for v in np.floor(at.min(axis=0)))
    right, bottom = np.minimum(np.ceil(at.max(axis=0)), [shape[1], shape[0]]).astype(int)
    return top, left, int(bottom) - top, int(right) - left


def _by_rows(found: tuple[FoundSlice, ...]) -> list[FoundSlice]:
    """In reading order: slices whose middles differ by less than half their height are one row."""
    rows: list[list[FoundSlice]] = []
    for one in sorted(found, key=lambda f: f.box[0] + f.box[2] / 2):
        middle = one.box[0] + one.box[2] / 2
        if rows and middle - (rows[-1][0].box[0] + rows[-1][0].box[2] / 2) < 0.5 * one.box[2]:
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda f: f.box[1])]


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def _without_haze(grey: NDArray[np.uint8], outside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Stretch a flattened photograph so that most of a dark screen is black, to find the slices on it."""
    lit = grey - air_level(grey, outside) - _DARK_SPREAD
    lit[outside] = 0
    return np.asarray(
        np.clip(lit * (255 / max(float(np.percentile(lit, 99.5)), 32.0)), 0, 255), dtype=np.uint8
    )


def _spread(rgb: NDArray[np.uint8]) -> NDArray[np.int16]:
    """How far the strongest of red, green and blue lies above the weakest."""
    return np.asarray(rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2))


def _without_marks(grey: NDArray[np.uint8], coloured: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Put what lies around coloured arrows and letters in their place."""
    marks = ndimage.binary_dilation(coloured, iterations=2)
    nearest = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    return np.asarray(np.where(marks, grey[tuple(nearest)], grey), dtype=np.uint8)


def _coloured(name: str, share: float) -> RefusedInput:
    return _no_head(
        name, f"a picture with strong colours on {share:.0%} of it", "a grey picture of a head CT slice"
    )


def _no_head(name: str, found: str, expected: str) -> RefusedInput:
    remedy = "give the CT itself, or a plain picture of a slice"
    return RefusedInput(name, "not_a_head", found=found, expected=expected, remedy=remedy)


def _too_small(name: str, shape: tuple[int, ...], what: str, remedy: str) -> RefusedInput:
    return RefusedInput(
        name,
        "picture_too_small",
        found=f"{what}{shape[0]} x {shape[1]} pixels",
        expected=f"at least {_MIN_SIDE} on each side",
        remedy=remedy,
    )

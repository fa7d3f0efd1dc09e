"""From the headers of a series to a sorted stack, each oddity reported with its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import Geometry
from ichor.notices import Notice, notice
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.geometry_notices import AXIAL_COSINE, MIN_COVERAGE_MM, MIN_SLICES, geometry_notices

__all__ = ["Stack", "same_direction", "same_matrix", "stack_slices"]

_STAND_IN_SPACING_MM = 0.45
_STAND_IN_STEP_MM = 5.0
_SAME_PLACE_MM = 0.05
_SAME_DIRECTION = 0.02
"""Difference of a direction's components: about one degree."""
_MOST_GROUPS = 32
"""Sizes or orientations told apart in one series; what differs from all of them is left out with the rest."""
_AXIAL = np.array([1.0, 0, 0, 0, 1, 0])


@dataclass(frozen=True)
class Stack:
    """Slices in order, towards the vertex.

    Attributes
    ----------
    headers
        Sorted, without duplicates.
    geometry
        Of the same slices.
    notices
        What was noticed.
    """

    headers: tuple[SliceHeader, ...]
    geometry: Geometry
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class _Kept:
    """Slices that go on, and the notices on those that do not."""

    headers: list[SliceHeader]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class _Ordered:
    """Slices in order.

    ``positions`` are ``(n, 3)`` mm; ``known`` tells whether they are the header's, ``step_known`` whether at
    least their distances are.
    """

    headers: list[SliceHeader]
    positions: NDArray[np.float64]
    known: bool
    step_known: bool
    notices: tuple[Notice, ...] = ()


def stack_slices(headers: Sequence[SliceHeader], source: str, *, single: bool) -> Stack:
    """Sort the slices of one series and say what is odd about them.

    Parameters
    ----------
    headers
        Of one series, any order.
    source
        The input's name, for refusals.
    single
        The user named one file: a single slice is assessed alone rather than refused.

    Raises
    ------
    RefusedInput
        ``orientation_not_axial``, ``order_unknown`` or ``too_few_slices``, with what was noticed before.
    """
    sized = _largest_group(headers, same_matrix, "mixed_size", "of another size or pixel spacing")
    oriented = _with_one_orientation(sized.headers)
    noticed = (*sized.notices, *oriented.notices)
    given = oriented.headers[0].orientation
    row, column = np.split(_AXIAL if given is None else given, 2)
    normal = np.cross(row, column)
    normal = -normal if normal[2] < 0 else normal
    if normal[2] < AXIAL_COSINE:
        raise _not_axial(source, normal).with_context(notices=noticed)
    ordered = _in_order(oriented.headers, normal)
    if ordered is None:
        raise _without_order(source).with_context(notices=noticed)
    distinct = _without_duplicates(ordered, normal)
    kept, spacing = distinct.headers, distinct.headers[0].spacing
    noticed = (*noticed, *distinct.notices)
    if spacing is None:
        text = "The header has no pixel spacing: no volume can be given."
        noticed = (*noticed, notice("spacing_missing", text))
        spacing = np.array([_STAND_IN_SPACING_MM] * 2)
    centred = -(kept[0].rows - 1) / 2 * spacing[0] * column - (kept[0].columns - 1) / 2 * spacing[1] * row
    geometry = Geometry(
        # Without positions the middle of the slices is taken for the patient's, so that no side is claimed.
        positions=distinct.positions if distinct.known else distinct.positions + centred,
        row_direction=row,
        column_direction=column,
        spacing=(float(spacing[0]), float(spacing[1])),
        spacing_known=kept[0].spacing is not None and distinct.step_known,
        positions_known=distinct.known,
        orientation_known=given is not None,
        thickness=np.array([h.thickness or np.nan for h in kept], dtype=np.float64),
    )
    coverage = geometry.distances[-1] - geometry.distances[0] + geometry.slice_step
    if len(kept) == 1 and single:
        text = "One slice was given: the verdict is on this slice alone."
        noticed = (*noticed, notice("single_slice", text))
    elif len(kept) < MIN_SLICES or (distinct.known and coverage < MIN_COVERAGE_MM):
        raise _too_few(source, len(kept), coverage).with_context(notices=noticed)
    return Stack(tuple(kept), geometry, (*noticed, *geometry_notices(geometry)))


def same_matrix(a: SliceHeader, b: SliceHeader) -> bool:
    """Return whether two slices have the same rows, columns and pixel spacing."""
    if (a.rows, a.columns) != (b.rows, b.columns) or (a.spacing is None) != (b.spacing is None):
        return False
    return a.spacing is None or b.spacing is None or bool(np.allclose(a.spacing, b.spacing, rtol=0.002))


def same_direction(a: SliceHeader, b: SliceHeader) -> bool:
    """Return whether two slices are parallel to within a degree, so that rounding in the header parts nothing."""
    if a.orientation is None or b.orientation is None:
        return a.orientation is b.orientation
    return bool(np.abs(a.orientation - b.orientation).max() < _SAME_DIRECTION)


def _largest_group(
    headers: Sequence[SliceHeader], same: Callable[[SliceHeader, SliceHeader], bool], code: str, what: str
) -> _Kept:
    groups: list[list[SliceHeader]] = []
    for header in headers:
        for group in groups:
            if same(group[0], header):
                group.append(header)
                break
        else:
            if len(groups) < _MOST_GROUPS:
                groups.append([header])
    largest = max(groups, key=len)
    out = len(headers) - len(largest)
    if not out:
        return _Kept(largest)
    verb = "slice is" if out == 1 else "slices are"
    return _Kept(largest, (notice(code, f"{out} of {len(headers)} {verb} {what} and left out."),))


def _with_one_orientation(headers: list[SliceHeader]) -> _Kept:
    """One orientation for all: where it is missing in a few, those are out; where in most, it is assumed."""
    oriented = [h for h in headers if h.orientation is not None]
    lacking = len(headers) - len(oriented)
    text = f"{lacking} of {len(headers)} slices have no usable orientation"
    if len(oriented) >= lacking:
        kept = _largest_group(oriented, same_direction, "mixed_orientation", "of another orientation")
        if not lacking:
            return kept
        missing = notice("orientation_missing", f"{text} and were left out.")
        return _Kept(kept.headers, (missing, *kept.notices))
    if oriented:
        missing = notice("orientation_missing", f"{text}; that of the others was assumed.")
        return _Kept([replace(h, orientation=oriented[0].orientation) for h in headers], (missing,))
    text = f"{text}; a standard axial one was assumed, so that left and right are not known."
    return _Kept(headers, (notice("orientation_missing", text),))


def _in_order(headers: list[SliceHeader], normal: NDArray[np.float64]) -> _Ordered | None:
    """Sort along the normal; without positions by slice location, then by number; None where nothing orders."""
    placed = [h for h in headers if h.position is not None]
    if placed and 2 * len(placed) >= len(headers):
        return _by_position(placed, len(headers), normal)
    if len(headers) == 1:
        missing = notice("position_missing", "The slice has no position.")
        return _Ordered(headers, np.zeros((1, 3)), False, headers[0].thickness is not None, (missing,))
    numbers, locations = [h.number for h in headers], [h.location for h in headers]
    if None not in locations and len(set(locations)) == len(headers):
        # Slice location grows towards the head on every scanner that writes it in patient terms.
        headers = sorted(headers, key=lambda h: h.location or 0.0)
        heights = np.array([h.location or 0.0 for h in headers])
        how, step_known = "slice location gave order and distances", True
    elif None not in numbers and len(set(numbers)) == len(headers):
        headers = sorted(headers, key=_number)
        stated = headers[0].step or headers[0].thickness
        step, step_known = stated or _STAND_IN_STEP_MM, stated is not None
        heights = step * np.arange(len(headers), dtype=np.float64)
        how = f"instance number gave the order, taken to run towards the vertex, {step:g} mm apart"
    else:
        return None
    lacking = len(headers) - len(placed)
    missing = notice("position_missing", f"{lacking} of {len(headers)} slices have no position; {how}.")
    return _Ordered(headers, heights[:, None] * normal, False, step_known, (missing,))


def _by_position(placed: list[SliceHeader], n: int, normal: NDArray[np.float64]) -> _Ordered:
    positions = np.stack([h.position for h in placed if h.position is not None])
    along = positions @ normal
    order = sorted(range(len(placed)), key=lambda i: (round(float(along[i]), 2), _number(placed[i])))
    notices: tuple[Notice, ...] = ()
    if len(placed) < n:
        text = f"{n - len(placed)} of {n} slices have no position and were left out."
        notices = (notice("position_missing", text),)
    return _Ordered([placed[i] for i in order], positions[order], True, True, notices)


def _without_duplicates(ordered: _Ordered, normal: NDArray[np.float64]) -> _Ordered:
    headers, along = ordered.headers, ordered.positions @ normal
    keep = [0]
    for i in range(1, len(headers)):
        if along[i] - along[keep[-1]] > _SAME_PLACE_MM:
            keep.append(i)
    if len(keep) == len(headers):
        return ordered
    dropped = len(headers) - len(keep)
    ends = [*keep[1:], len(headers)]
    places = [k for k, (a, b) in enumerate(zip(keep, ends, strict=True)) if b - a > 1]
    verb = "slice lies" if dropped == 1 else "slices lie"
    text = f"{dropped} {verb} where another one does; the first by instance number was kept."
    return replace(
        ordered,
        headers=[headers[i] for i in keep],
        positions=ordered.positions[keep],
        notices=(*ordered.notices, notice("positions_duplicate", text, places)),
    )


def _number(header: SliceHeader) -> int:
    return header.number if header.number is not None else 0


def _not_axial(source: str, normal: NDArray[np.float64]) -> RefusedInput:
    angle = np.degrees(np.arccos(np.clip(normal[2], -1, 1)))
    return RefusedInput(
        source,
        "orientation_not_axial",
        found=f"slices that stand {angle:.0f} degrees from axial",
        expected="axial slices",
        remedy="give the axial series of the study",
    )


def _without_order(source: str) -> RefusedInput:
    return RefusedInput(
        source,
        "order_unknown",
        found="slices without distinct positions, locations or numbers",
        expected="something that says how they follow each other",
        remedy="export the series again with its positions",
    )


def _too_few(source: str, n: int, coverage: float) -> RefusedInput:
    return RefusedInput(
        source,
        "too_few_slices",
        found="one slice" if n == 1 else f"{n} slices over {coverage:.0f} mm",
        expected=f"at least {MIN_SLICES} slices over {MIN_COVERAGE_MM:.0f} mm",
        remedy="give the whole series, or one file by its name to have that slice assessed alone",
    )

"""From the headers of a series to a sorted stack: geometry spoken aloud, each oddity with its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import Geometry
from ichor.notices import Notice, notice
from ichor.reading.dicom.headers import SliceHeader

__all__ = ["AXIAL_COSINE", "MIN_COVERAGE_MM", "MIN_SLICES", "Stack", "stack_slices"]

MIN_SLICES = 5
"""Fewer slices are no exam."""
MIN_COVERAGE_MM = 40.0
"""Less of the head than this is no exam."""
AXIAL_COSINE = 0.7
"""Slices whose normal is within 45 degrees of the patient's long axis are axial."""
_OBLIQUE_DEGREES = 10.0
_TILT_DEGREES = 0.5
_THICK_MM = 7.0
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


def stack_slices(headers: Sequence[SliceHeader], source: str, *, single: bool) -> Stack:
    """Sort the slices of one series and say what is odd about them.

    Parameters
    ----------
    headers
        Of one series, any order.
    source
        The input's name, for refusals.
    single
        The user named one file: a lone slice is judged alone rather than refused.

    Raises
    ------
    RefusedInput
        ``orientation_not_axial``, ``order_unknown`` or ``too_few_slices``.
    """
    notices: list[Notice] = []
    try:
        return _stack(headers, source, single, notices)
    except RefusedInput as refusal:
        refusal.notices = (*refusal.notices, *notices)
        raise


def _stack(headers: Sequence[SliceHeader], source: str, single: bool, notices: list[Notice]) -> Stack:
    kept = _largest_group(headers, _same_matrix, "mixed_size", "of another size or pixel spacing", notices)
    kept = _with_orientation(kept, notices)
    orientation = kept[0].orientation if kept[0].orientation is not None else _AXIAL
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    normal = -normal if normal[2] < 0 else normal
    if normal[2] < AXIAL_COSINE:
        angle = np.degrees(np.arccos(np.clip(normal[2], -1, 1)))
        raise RefusedInput(
            source,
            "orientation_not_axial",
            found=f"slices that stand {angle:.0f} degrees from axial",
            expected="axial slices",
            remedy="give the axial series of the study",
        )
    kept, positions, known, step_known = _order(kept, normal, source, notices)
    kept, positions = _without_duplicates(kept, positions, normal, notices)
    spacing = kept[0].spacing
    if spacing is None:
        notices.append(notice("spacing_missing", "The header has no pixel spacing: no volume can be given."))
        spacing = np.array([_STAND_IN_SPACING_MM] * 2)
    geometry = Geometry(
        positions=positions,
        row_direction=row,
        column_direction=column,
        spacing=(float(spacing[0]), float(spacing[1])),
        spacing_known=kept[0].spacing is not None and step_known,
        positions_known=known,
        thickness=np.array([h.thickness or np.nan for h in kept], dtype=np.float64),
    )
    coverage = geometry.distances[-1] - geometry.distances[0] + geometry.slice_step
    if len(kept) == 1 and single:
        notices.append(notice("single_slice", "One slice was given: the verdict is on this slice alone."))
    elif len(kept) < MIN_SLICES or (known and coverage < MIN_COVERAGE_MM):
        raise RefusedInput(
            source,
            "too_few_slices",
            found="one slice" if len(kept) == 1 else f"{len(kept)} slices over {coverage:.0f} mm",
            expected=f"at least {MIN_SLICES} slices over {MIN_COVERAGE_MM:.0f} mm",
            remedy="give the whole series, or one file by its name to have that slice judged alone",
        )
    notices += _describe(geometry, kept)
    return Stack(tuple(kept), geometry, tuple(notices))


def _same_matrix(a: SliceHeader, b: SliceHeader) -> bool:
    if (a.rows, a.columns) != (b.rows, b.columns) or (a.spacing is None) != (b.spacing is None):
        return False
    return a.spacing is None or b.spacing is None or bool(np.allclose(a.spacing, b.spacing, rtol=0.002))


def _same_direction(a: SliceHeader, b: SliceHeader) -> bool:
    """Parallel to within a degree, so that rounding in the header parts nothing."""
    if a.orientation is None or b.orientation is None:
        return a.orientation is b.orientation
    return bool(np.abs(a.orientation - b.orientation).max() < _SAME_DIRECTION)


def _largest_group(
    headers: Sequence[SliceHeader],
    same: Callable[[SliceHeader, SliceHeader], bool],
    code: str,
    what: str,
    notices: list[Notice],
) -> list[SliceHeader]:
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
    if out:
        verb = "slice is" if out == 1 else "slices are"
        notices.append(notice(code, f"{out} of {len(headers)} {verb} {what} and left out."))
    return largest


def _with_orientation(headers: list[SliceHeader], notices: list[Notice]) -> list[SliceHeader]:
    """One orientation for all: where it is missing in a few, those are out; where in most, it is assumed."""
    oriented = [h for h in headers if h.orientation is not None]
    lacking = len(headers) - len(oriented)
    if not lacking:
        return _largest_group(
            oriented, _same_direction, "mixed_orientation", "of another orientation", notices
        )
    text = f"{lacking} of {len(headers)} slices have no usable orientation"
    if len(oriented) >= lacking:
        notices.append(notice("orientation_missing", f"{text} and were left out."))
        return _largest_group(
            oriented, _same_direction, "mixed_orientation", "of another orientation", notices
        )
    if oriented:
        notices.append(notice("orientation_missing", f"{text}; that of the others was assumed."))
        return [replace(h, orientation=oriented[0].orientation) for h in headers]
    notices.append(notice("orientation_missing", f"{text}; a standard axial one was assumed."))
    return headers


def _order(
    headers: list[SliceHeader], normal: NDArray[np.float64], source: str, notices: list[Notice]
) -> tuple[list[SliceHeader], NDArray[np.float64], bool, bool]:
    """Sort along the normal; without positions by slice location, then by number.

    Returns the slices, their positions, whether these are the header's, and whether their distances are.
    """
    placed = [h for h in headers if h.position is not None]
    if placed and 2 * len(placed) >= len(headers):
        positions = np.stack([h.position for h in placed if h.position is not None])
        along = positions @ normal
        if len(placed) < len(headers):
            text = (
                f"{len(headers) - len(placed)} of {len(headers)} slices have no position and were left out."
            )
            notices.append(notice("position_missing", text))
        order = sorted(range(len(placed)), key=lambda i: (round(float(along[i]), 2), _number(placed[i])))
        return [placed[i] for i in order], positions[order], True, True
    lacking = f"{len(headers) - len(placed)} of {len(headers)} slices have no position"
    if len(headers) == 1:
        notices.append(notice("position_missing", "The slice has no position."))
        return headers, np.zeros((1, 3)), False, headers[0].thickness is not None
    numbers = [h.number for h in headers]
    if len({h.location for h in headers}) == len(headers) and all(h.location is not None for h in headers):
        # Slice location grows towards the head on every scanner that writes it in patient terms.
        headers = sorted(headers, key=lambda h: h.location or 0.0)
        heights = np.array([h.location or 0.0 for h in headers])
        by, step_known = "slice location gave order and distances", True
    elif None not in numbers and len(set(numbers)) == len(numbers):
        headers = sorted(headers, key=_number)
        step = headers[0].thickness or _STAND_IN_STEP_MM
        heights = step * np.arange(len(headers), dtype=np.float64)
        step_known = headers[0].thickness is not None
        by = f"instance number gave the order, taken to run towards the vertex, {step:g} mm apart"
    else:
        raise RefusedInput(
            source,
            "order_unknown",
            found="slices without distinct positions, locations or numbers",
            expected="something that says how they follow each other",
            remedy="export the series again with its positions",
        )
    notices.append(notice("position_missing", f"{lacking}; {by}."))
    return headers, heights[:, None] * normal, False, step_known


def _without_duplicates(
    headers: list[SliceHeader],
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    notices: list[Notice],
) -> tuple[list[SliceHeader], NDArray[np.float64]]:
    along = positions @ normal
    keep = [0]
    for i in range(1, len(headers)):
        if along[i] - along[keep[-1]] > _SAME_PLACE_MM:
            keep.append(i)
    if len(keep) < len(headers):
        dropped = len(headers) - len(keep)
        places = sorted(
            {k for k, (a, b) in enumerate(zip(keep, [*keep[1:], len(headers)], strict=True)) if b - a > 1}
        )
        notices.append(
            notice(
                "positions_duplicate",
                f"{dropped} {'slice lies' if dropped == 1 else 'slices lie'} where another one does; "
                "the first by instance number was kept.",
                places,
            )
        )
    return [headers[i] for i in keep], positions[keep]


def _describe(geometry: Geometry, headers: Sequence[SliceHeader]) -> list[Notice]:
    """Notices on the whole stack; nothing here changes it."""
    out: list[Notice] = []
    normal = geometry.normal
    off_axis = float(np.degrees(np.arccos(np.clip(normal[2], -1, 1))))
    tilt = geometry.tilt_degrees if geometry.positions_known else 0.0
    if tilt > _TILT_DEGREES:
        text = f"The slices are sheared by {tilt:.1f} degrees against their normal (gantry tilt)."
        out.append(notice("gantry_tilt", text))
    roll = float(np.degrees(np.arcsin(np.clip(np.sort(np.abs(geometry.row_direction))[1], 0, 1))))
    if off_axis - tilt > _OBLIQUE_DEGREES or roll > _OBLIQUE_DEGREES:
        out.append(
            notice("oblique", f"The slices stand {max(off_axis, roll):.0f} degrees off the patient's axes.")
        )
    row, column = geometry.row_direction, geometry.column_direction
    if row[0] < -0.7 or column[1] < -0.7 or abs(row[1]) > 0.7:
        out.append(
            notice(
                "orientation_flipped", "Rows or columns run against the usual; the model sees them turned."
            )
        )
    if geometry.n_slices > 1:
        out += _gaps(geometry)
    known = geometry.thickness[np.isfinite(geometry.thickness)]
    if len(known) and known.max() - known.min() > 0.1:
        out.append(
            notice("thickness_mixed", f"Slice thickness runs from {known.min():g} to {known.max():g} mm.")
        )
    if geometry.slice_step > _THICK_MM or (len(known) and np.median(known) > _THICK_MM):
        step = max(geometry.slice_step, float(np.median(known)) if len(known) else 0.0)
        out.append(notice("slices_thick", f"The slices are {step:.1f} mm thick or apart."))
    return out


def _gaps(geometry: Geometry) -> list[Notice]:
    gaps, step = geometry.gaps, geometry.slice_step
    uneven = np.flatnonzero(np.abs(gaps - step) > max(0.1 * step, 0.05))
    if not len(uneven) or not geometry.positions_known:
        return []
    out = [
        notice(
            "spacing_uneven",
            f"The gaps between slices run from {gaps.min():.2f} to {gaps.max():.2f} mm.",
            uneven.tolist(),
        )
    ]
    # A gap that its slices' own thickness explains is no hole.
    thick = np.nan_to_num(geometry.thickness, nan=step)
    between = (thick[1:] + thick[:-1]) / 2
    covered = np.where(between > 1.2 * step, between, step)
    ratio = gaps / covered
    holes = np.flatnonzero((ratio > 1.6) & (np.abs(ratio - np.round(ratio)) < 0.15))
    if len(holes):
        missing = int(np.round(ratio[holes]).sum() - len(holes))
        seem = "slice seems" if missing == 1 else "slices seem"
        text = f"About {missing} {seem} to be missing: gaps of a multiple of the {step:.1f} mm step."
        out.append(notice("slices_missing", text, holes.tolist()))
    return out


def _number(header: SliceHeader) -> int:
    return header.number if header.number is not None else 0

"""One series UID, several acquisitions or reconstructions: parted by what makes them, wherever they overlap.

Archives, exports and de-identification put a soft and a bone reconstruction, scans before and after contrast, or
thin and thick slices under one UID. What lies in the same place and differs in a kernel, an agent or a time is two
stacks. What follows one after the other (a thin base, a thick vertex) is one, and stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.stack import same_direction, same_matrix
from ichor.reading.geometry_notices import MIN_SLICES

__all__ = ["Part", "parts_of", "slice_heights", "slice_normal", "without_shared_places"]

_SAME_MM = 0.05
_SAME_PLACE = 0.75
"""Slices closer than this share of the step between them show the same tissue."""
_OVERLAPPING = 0.3
"""Groups overlap where this share of the smaller one lies where the other does."""
_MOST_TIMES = 8
"""More times or numbers than these may be those of single slices: passes over the head are told apart instead."""
_LEAST_PASS = 0.6
"""Share of the series' extent that each of several passes over it covers."""


@dataclass(frozen=True)
class Part:
    """Slices of a series that belong together.

    Attributes
    ----------
    headers
        In any order.
    difference
        What parts them from the others of their series, in words; empty where there are no others.
    """

    headers: tuple[SliceHeader, ...]
    difference: str = ""


@dataclass(frozen=True)
class _Criterion:
    """A reason to part slices: what of a header tells them apart, and how people call it in the k-th part.

    ``in_order`` is for what counts on from slice to slice in some series, as acquisition numbers do: groups are
    joined in that order, and slices whose thickness leaves a gap between them lie apart, since scans may interleave.
    """

    key: Callable[[SliceHeader], Hashable]
    words: Callable[[int, SliceHeader], str]
    in_order: bool = False


def _thickness(header: SliceHeader) -> float | None:
    return None if header.thickness is None else round(header.thickness, 1)


_CRITERIA = (
    _Criterion(lambda h: h.kernel, lambda _, h: f"kernel {h.kernel.lower() or 'unnamed'}"),
    _Criterion(lambda h: h.image_type, lambda _, h: f"image type {' '.join(h.image_type[:4]).lower()}"),
    _Criterion(lambda h: h.contrast, lambda _, h: "a contrast agent" if h.contrast else "no contrast agent"),
    _Criterion(lambda h: h.description, lambda k, h: f"description {k + 1} of several"),
    _Criterion(lambda h: h.series_number, lambda _, h: f"series number {h.series_number or 'absent'}"),
    _Criterion(lambda h: h.voltage, lambda _, h: f"{h.voltage:g} kV" if h.voltage else "no tube voltage"),
    _Criterion(_thickness, lambda _, h: f"slices of {h.thickness:g} mm" if h.thickness else "no thickness"),
    _Criterion(lambda h: h.acquisition, lambda _, h: f"acquisition {h.acquisition or 'unnumbered'}", True),
)


def parts_of(headers: Sequence[SliceHeader]) -> list[Part]:
    """Part the slices of one series.

    They are parted by matrix and direction (from :data:`MIN_SLICES` slices on; fewer are strays, which stacking
    leaves out), then, where groups overlap along the normal, by kernel, image type, contrast agent, description and
    number of the series, tube voltage, thickness, acquisition number and time, and last by passes over the head in the
    order of their numbers.

    Returns
    -------
    list of Part
        One where nothing parts them.
    """
    parts = [Part(tuple(headers))]
    parts = [finer for part in parts for finer in _by_shape(part)]
    for criterion in _CRITERIA:
        parts = [finer for part in parts for finer in _by_criterion(part, criterion)]
    parts = [finer for part in parts for finer in _by_time(part)]
    return [finer for part in parts for finer in _by_pass(part)]


def without_shared_places(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Drop positions that all slices share, where they say nothing: locations differ, or all are zeros.

    What shares its location as well is the same slice several times.
    """
    out = list(headers)
    positions = np.array([h.position for h in out if h.position is not None])
    if len(positions) < 2:
        return out
    normal = slice_normal(out)
    along = positions @ (np.array([0.0, 0, 1]) if normal is None else normal)
    locations = [h.location for h in out if h.location is not None]
    elsewhere = len(locations) > 1 and np.ptp(locations) > _SAME_MM
    if np.ptp(along) > _SAME_MM or not (elsewhere or (positions == 0).all()):
        return out
    return [replace(h, position=None, location=h.location if elsewhere else None) for h in out]


def slice_normal(headers: Sequence[SliceHeader]) -> NDArray[np.float64] | None:
    """Return the unit vector ``(3,)`` at a right angle to most slices; None where none has an orientation."""
    counts: dict[tuple[float, ...], int] = {}
    for header in headers:
        if header.orientation is not None:
            key = tuple(header.orientation)
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return None
    common = np.array(max(counts, key=lambda key: counts[key]))
    return np.cross(common[:3], common[3:])


def _by_shape(part: Part) -> list[Part]:
    """Part slices of another matrix or direction, where they are enough for a stack of their own."""
    groups: list[list[SliceHeader]] = []
    for header in part.headers:
        for group in groups:
            if same_matrix(group[0], header) and same_direction(group[0], header):
                group.append(header)
                break
        else:
            groups.append([header])
    stacks = sorted((g for g in groups if len(g) >= MIN_SLICES), key=len, reverse=True)
    if len(stacks) < 2:
        return [part]
    strays = [h for g in groups if len(g) < MIN_SLICES for h in g]
    out = []
    for group in stacks:
        normal = slice_normal(group)
        turned = (
            ""
            if normal is None
            else f", {np.degrees(np.arccos(min(1.0, abs(normal[2])))):.0f} degrees from axial"
        )
        words = f"{group[0].rows} x {group[0].columns} pixels{turned}"
        out.append(Part((*group, *(strays if group is stacks[0] else ())), _joined(part.difference, words)))
    return out


def _by_criterion(part: Part, criterion: _Criterion) -> list[Part]:
    groups: dict[Hashable, list[int]] = {}
    for i, header in enumerate(part.headers):
        groups.setdefault(criterion.key(header), []).append(i)
    own = criterion.in_order and len(groups) > max(_MOST_TIMES, len(part.headers) // 2)
    if len(groups) < 2 or own:
        return [part]
    ordered = [groups[key] for key in sorted(groups, key=lambda key: _natural(str(key)))]
    if not criterion.in_order:
        ordered.sort(key=len, reverse=True)
    return _parted(part, ordered, criterion.in_order, criterion.words)


def _by_time(part: Part) -> list[Part]:
    times = sorted({h.acquired for h in part.headers})
    if not 1 < len(times) <= _MOST_TIMES:
        return [part]
    groups = [[i for i, h in enumerate(part.headers) if h.acquired == time] for time in times]
    return _parted(part, groups, True, lambda k, h: f"scan {k + 1} by time")


def _by_pass(part: Part) -> list[Part]:
    """Part several passes over the same extent, by time where it differs from slice to slice, else by number."""
    numbers = [h.number for h in part.headers]
    timed = len({h.acquired for h in part.headers}) > _MOST_TIMES
    if len(numbers) < 2 * MIN_SLICES or not (
        timed or (None not in numbers and len(set(numbers)) == len(numbers))
    ):
        return [part]
    along = slice_heights(part.headers)
    if np.isnan(along).any():
        return [part]
    order = sorted(
        range(len(numbers)), key=lambda i: (part.headers[i].acquired if timed else "", numbers[i] or 0)
    )
    heights, extent = along[order], float(np.ptp(along))
    # A pass ends where the next slice lies back by most of the extent.
    ends = [k + 1 for k, (a, b) in enumerate(pairwise(heights)) if abs(b - a) > _LEAST_PASS * extent]
    passes = [order[a:b] for a, b in pairwise([0, *ends, len(order)])]
    if not all(len(p) >= MIN_SLICES and np.ptp(along[p]) > _LEAST_PASS * extent for p in passes):
        return [part]
    return _parted(part, passes, True, lambda k, h: f"pass {k + 1} over the head")


def _parted(
    part: Part, groups: list[list[int]], in_order: bool, words: Callable[[int, SliceHeader], str]
) -> list[Part]:
    """Join groups of slices that follow one after the other; part those that overlap."""
    along = slice_heights(part.headers)
    stacks: list[list[int]] = []
    for group in groups:
        for stack in stacks:
            if not _overlap(part.headers, along, stack, group, in_order):
                stack += group
                break
        else:
            stacks.append(list(group))
    if len(stacks) < 2:
        return [part]
    members = [tuple(part.headers[i] for i in stack) for stack in stacks]
    return [Part(m, _joined(part.difference, words(k, m[0]))) for k, m in enumerate(members)]


def _overlap(
    headers: Sequence[SliceHeader],
    along: NDArray[np.float64],
    one: list[int],
    other: list[int],
    in_order: bool,
) -> bool:
    """Return whether much of one group of slices shows what the other shows."""
    a, b = (np.sort(z[np.isfinite(z)]) for z in (along[one], along[other]))
    if not len(a) or not len(b):
        # Nothing says where slices lie: two kernels are then two stacks, and strays belong to the larger one.
        return not in_order and min(len(one), len(other)) >= MIN_SLICES
    reach_a, reach_b = (
        _SAME_PLACE * _reach([headers[i] for i in group], z, in_order) for group, z in ((one, a), (other, b))
    )
    return bool(max(np.mean(_nearest(a, b) < reach_b), np.mean(_nearest(b, a) < reach_a)) > _OVERLAPPING)


def _nearest(heights: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each height to the nearest of the others, which rise."""
    at = np.searchsorted(others, heights)
    below, above = others[np.maximum(at - 1, 0)], others[np.minimum(at, len(others) - 1)]
    return np.minimum(np.abs(heights - below), np.abs(heights - above))


def _reach(headers: list[SliceHeader], heights: NDArray[np.float64], in_order: bool) -> float:
    """Distance within which a group shows the tissue beside its slices, in mm."""
    gaps = np.diff(np.unique(np.round(heights, 2)))
    known = [h.thickness for h in headers if h.thickness is not None]
    thickness = float(np.median(known)) if known else None
    if not len(gaps):
        return thickness or 1.0
    step = float(np.median(gaps))
    return min(step, thickness) if in_order and thickness else step


def slice_heights(headers: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """``(n,)`` mm along the normal, or slice locations where most positions are missing; NaN where unknown."""
    normal = slice_normal(headers)
    normal = np.array([0.0, 0, 1]) if normal is None else normal
    along = np.array([np.nan if h.position is None else h.position @ normal for h in headers])
    if np.isnan(along).mean() > 0.5:
        return np.array([np.nan if h.location is None else h.location for h in headers])
    return along


def _natural(text: str) -> tuple[int, str]:
    """Sort numbers by their value, and before texts."""
    return (int(text), "") if text.isdecimal() else (1 << 62, text)


def _joined(*words: str) -> str:
    return ", ".join(w for w in words if w)

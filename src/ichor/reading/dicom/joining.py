"""Slices that de-identification or export gave a series, a study or a patient of its own each: joined again.

Only fragments are looked at (under one patient, study and series fewer slices than an exam has, or every second or
fourth one, or a slab too thin for an exam), and only those that agree in what makes a stack. They must share a study or
a series, or a frame of reference and a folder: UIDs of these are unique in the world, so that slices of two patients
are not joined. What lies in the same place twice is parted first, as within one series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ichor.errors import RefusedInput
from ichor.notices import Notice, notice
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.parts import parts_of, slice_heights
from ichor.reading.dicom.series import exclusion
from ichor.reading.dicom.stack import same_direction, same_matrix
from ichor.reading.geometry_notices import MIN_COVERAGE_MM, MIN_SLICES

__all__ = ["Joined", "join_fragments", "scattered_refusal"]

_SAME_PLACE_MM = 0.05
_LEAST_DISTINCT = 0.9
"""Share of the slices that must lie at places of their own: fragments of several scans do not."""
_GAP = 1.5
"""Slices further apart than this many times their thickness leave others out between them."""
_LINKS = ("study_uid", "series_uid", "frame_of_reference")


@dataclass(frozen=True)
class Joined:
    """Slices after fragments were joined.

    Attributes
    ----------
    headers
        All slices; joined ones have the patient, study and series of one of them.
    notices
        What was joined.
    scattered
        Slices that look like one stack, but have nothing in common that says so; not among ``headers``.
    """

    headers: list[SliceHeader]
    notices: tuple[Notice, ...] = ()
    scattered: tuple[SliceHeader, ...] = ()


def join_fragments(headers: Sequence[SliceHeader], series: str | None) -> Joined:
    """Join what is one stack but for its UIDs.

    Parameters
    ----------
    headers
        Of all objects of one input.
    series
        UID asked for, as stored; the joined slices take it where one of them has it.
    """
    own: dict[tuple[str, str, str], list[SliceHeader]] = {}
    for h in headers:
        own.setdefault(_identity(h), []).append(h)
    fragments = [h for group in own.values() if not _is_whole(group) for h in group if _may_join(h)]
    if len(fragments) < MIN_SLICES:
        return Joined(list(headers))
    renamed: dict[int, SliceHeader] = {}
    notices: list[Notice] = []
    scattered: list[SliceHeader] = []
    for alike in _alike(fragments):
        rest = alike
        for link in _LINKS:
            for group in _linked(rest, link):
                notices.append(_notice(group))
                renamed |= {
                    id(h): new for h, new in zip(group, _with_one_identity(group, series), strict=True)
                }
            rest = [h for h in rest if id(h) not in renamed]
        one_folder = len({h.file.path.parent for h in rest}) == 1
        stacks = all(_is_stack(part.headers) for part in parts_of(rest)) if one_folder and rest else False
        if stacks and len({_identity(h) for h in rest}) >= MIN_SLICES:
            scattered += rest
    lost = {id(h) for h in scattered}
    kept = [renamed.get(id(h), h) for h in headers if id(h) not in lost]
    return Joined(kept, tuple(notices), tuple(scattered))


def scattered_refusal(scattered: Sequence[SliceHeader], source: str) -> RefusedInput:
    """Refuse slices that nothing links, once and not slice by slice."""
    return RefusedInput(
        source,
        "too_few_slices",
        found=f"{len(scattered)} slices, each with a study, series and frame of reference of its own",
        expected="slices that share one of these UIDs",
        remedy="export the series again with its UIDs, or give one file by its name to have that slice assessed alone",
    )


def _identity(header: SliceHeader) -> tuple[str, str, str]:
    return header.patient, header.study_uid, header.series_uid


def _is_whole(group: Sequence[SliceHeader]) -> bool:
    """Return whether slices of one series may be an exam by themselves; without places or thickness, by number."""
    along, thick = slice_heights(group), [h.thickness for h in group if h.thickness is not None]
    if len(group) < MIN_SLICES or np.isnan(along).any() or not thick:
        return len(group) >= MIN_SLICES
    step, thickness = float(np.median(np.diff(np.sort(along)))), float(np.median(thick))
    return step <= _GAP * thickness and float(np.ptp(along)) + thickness >= MIN_COVERAGE_MM


def _may_join(header: SliceHeader) -> bool:
    placed = header.position is not None or header.location is not None or header.number is not None
    return header.n_frames == 1 and placed and exclusion(header) is None


def _alike(fragments: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Group fragments that agree in matrix, direction and what made them."""
    groups: dict[tuple[object, ...], list[list[SliceHeader]]] = {}
    for h in fragments:
        thickness = None if h.thickness is None else round(h.thickness, 1)
        key = (h.kernel, h.image_type, h.contrast, h.voltage, thickness)
        for group in groups.setdefault(key, []):
            if same_matrix(group[0], h) and same_direction(group[0], h):
                group.append(h)
                break
        else:
            groups[key].append([h])
    return [group for found in groups.values() for group in found if len(group) >= MIN_SLICES]


def _linked(alike: Sequence[SliceHeader], link: str) -> list[list[SliceHeader]]:
    """Group what shares a UID and makes a stack."""
    groups: dict[tuple[object, ...], list[SliceHeader]] = {}
    for h in alike:
        if getattr(h, link):
            key = (getattr(h, link), h.file.path.parent if link == "frame_of_reference" else None)
            groups.setdefault(key, []).append(h)
    parts = [part.headers for group in groups.values() for part in parts_of(group)]
    return [list(part) for part in parts if len({_identity(h) for h in part}) > 1 and _is_stack(part)]


def _is_stack(group: Sequence[SliceHeader]) -> bool:
    """Return whether slices are enough for an exam and lie at places of their own."""
    if len(group) < MIN_SLICES:
        return False
    along = slice_heights(group)
    if np.isnan(along).any():  # as stacking orders them: by number where places are not known
        along = np.array([np.nan if h.number is None else h.number for h in group])
    steps = np.diff(np.sort(along[np.isfinite(along)]))
    return bool(1 + np.count_nonzero(steps > _SAME_PLACE_MM) >= _LEAST_DISTINCT * len(group))


def _with_one_identity(group: Sequence[SliceHeader], series: str | None) -> list[SliceHeader]:
    """Give all slices the patient, study and series of the one asked for, else of the lowest."""
    lowest = min(
        group,
        key=lambda h: (float(h.position[2]) if h.position is not None else float(h.number or 0), h.sop_uid),
    )
    first = next((h for h in group if series is not None and h.series_uid == series), lowest)
    patient, study_uid, series_uid = _identity(first)
    return [replace(h, patient=patient, study_uid=study_uid, series_uid=series_uid) for h in group]


def _notice(group: Sequence[SliceHeader]) -> Notice:
    names = {"patient": "patient identifier", "study_uid": "study UID", "series_uid": "series UID"}
    own = [words for name, words in names.items() if len({getattr(h, name) for h in group}) > 1]
    text = f"{len(group)} slices of one stack have several values of the {' and the '.join(own)}; they were joined."
    return notice("uids_joined", text)

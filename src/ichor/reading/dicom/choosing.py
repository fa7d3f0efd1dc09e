"""One study to one exam: its series in the order of their points, the first that can be read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import Exam, Source
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.hounsfield import no_hounsfield_reason
from ichor.reading.dicom.parts import parts_of, without_shared_places
from ichor.reading.dicom.series import (
    Candidate,
    exclusion,
    has_contrast,
    is_bone_kernel,
    is_hounsfield_capture,
    is_scout_series,
    names_elsewhere,
    score,
)
from ichor.reading.dicom.stack import stack_slices
from ichor.reading.dicom.tissues import brain_density, brain_noise, region_of
from ichor.reading.dicom.volume import details, pixel_notices, read_middle, read_volume
from ichor.uids import hashed_uid

__all__ = ["read_study"]

_MOST_LOOKED_AT = 8
"""Series whose pixels are looked at before one is taken: those with the most points by their headers."""
_LEFT_OUT = {
    "no_hounsfield": ("a map without Hounsfield units", "give the plain series of the study"),
    "localizer": ("a localizer (scout view)", "give the axial series of the study"),
    "secondary_capture": (
        "a secondary capture (screen, dose sheet) without a CT's positions, orientation, spacing and rescale",
        "give the axial series of the study",
    ),
    "modality_not_ct": ("no CT image (another modality, a report)", "give the CT series of the study"),
}
"""What is wrong with it, in words, and what to do; of several reasons, the first is the one that is reported."""
_HEAD_CT = "an axial non-contrast head CT"


@dataclass(frozen=True)
class _Choice:
    """Series that may be taken, most points first, and what was noticed of the others."""

    candidates: list[Candidate]
    notices: tuple[Notice, ...]


def read_study(headers: Sequence[SliceHeader], context: ReadContext) -> Exam:
    """Read the series of a study that the rules choose, or the one asked for.

    Parameters
    ----------
    headers
        All slices of the study.
    context
        Of the reading.

    Raises
    ------
    RefusedInput
        Where no series of it can be read as a head CT: the refusal of the one with the most points.
    """
    choice = _choose(headers, context)
    failed: list[tuple[Candidate, RefusedInput]] = []
    for i, candidate in enumerate(choice.candidates):
        try:
            exam = _read_series(candidate, context)
        except RefusedInput as refusal:
            context.check_time()
            failed.append((candidate, refusal))
            continue
        notices = (
            *_chosen(candidate, headers, choice.candidates, context),
            *choice.notices,
            *(_not_taken(c, f"found {r.found}") for c, r in failed),
            *(_not_taken(c, c.reasons) for c in choice.candidates[i + 1 :]),
            *_header_notices(candidate),
            *exam.notices,
        )
        return replace(exam, notices=notices)
    (tried, first), *rest = failed
    others = (_not_taken(c, f"found {r.found}") for c, r in rest)
    noticed = (*choice.notices, *first.notices, *others)
    raise first.with_context(notices=noticed, series_uid=tried.uid)


def _chosen(
    candidate: Candidate, headers: Sequence[SliceHeader], candidates: list[Candidate], context: ReadContext
) -> list[Notice]:
    """Say which series was taken, where there was a choice."""
    uid, n_series = hashed_uid(candidate.uid), len({h.series_uid for h in headers})
    if context.series is not None:
        return [notice("series_chosen", f"{uid} was taken because it was asked for.")]
    if n_series == 1 == len(candidates):
        return []
    whole = "1 series that holds several acquisitions" if n_series == 1 else f"{n_series} series"
    return [notice("series_chosen", f"{uid} was taken of {whole}: {candidate.reasons}.")]


def _not_taken(candidate: Candidate, why: str) -> Notice:
    parted = f" ({candidate.part.difference})" if candidate.part.difference not in why else ""
    return notice("series_left_out", f"{hashed_uid(candidate.uid)}{parted} was not taken: {why}.")


def _choose(headers: Sequence[SliceHeader], context: ReadContext) -> _Choice:
    """Order the series that may be taken.

    Raises
    ------
    RefusedInput
        ``series_not_found``, or the code for which the last series is out, where none is left.
    """
    if context.series is not None:
        headers = _asked_for(headers, context.source, context.series)
    groups: dict[str, list[SliceHeader]] = {}
    out: Counter[tuple[str, str]] = Counter()
    for header in headers:
        code = exclusion(header, asked_for=context.series is not None)
        if code:
            out[header.series_uid, code] += 1
        else:
            groups.setdefault(header.series_uid, []).append(header)
    groups = {uid: without_shared_places(members) for uid, members in groups.items()}
    if context.series is None:
        for uid in [uid for uid, members in groups.items() if is_scout_series(members)]:
            out[uid, "localizer"] += len(groups.pop(uid))
    if not groups:
        raise _nothing_left(context.source, out)
    candidates = _by_points([score(uid, p) for uid, members in groups.items() for p in parts_of(members)])
    if len(candidates) > 1:
        looked_at = [_looked_at(c, context) for c in candidates[:_MOST_LOOKED_AT]]
        looked_at = [c.against(looked_at) for c in looked_at]
        candidates = _by_points([*looked_at, *candidates[_MOST_LOOKED_AT:]])
    return _Choice(candidates, tuple(_exclusion_notice(uid, code, n) for (uid, code), n in out.items()))


def _asked_for(headers: Sequence[SliceHeader], source: str, series: str) -> list[SliceHeader]:
    found = [h for h in headers if series in (h.series_uid, hashed_uid(h.series_uid))]
    if found:
        return found
    raise RefusedInput(
        source,
        "series_not_found",
        found=f"{len({h.series_uid for h in headers})} series, none with the UID asked for",
        expected="the series named with --series",
        remedy="leave --series away to have one chosen, and read its UID in the findings",
    )


def _nothing_left(source: str, out: Counter[tuple[str, str]]) -> RefusedInput:
    """Refuse for the first of the reasons, in the name of the series that it leaves most images out of."""
    code = next(known for known in _LEFT_OUT if any(code == known for _, code in out))
    uid = max((uid for uid, why in out if why == code), key=lambda uid: out[uid, code])
    found, remedy = _LEFT_OUT[code]
    refusal = RefusedInput(source, code, found=found, expected=_HEAD_CT, remedy=remedy)
    return refusal.with_context(series_uid=uid)


def _exclusion_notice(uid: str, code: str, n: int) -> Notice:
    kind = code if code in ("localizer", "secondary_capture") else "series_left_out"
    what, whose = "image" if n == 1 else "images", hashed_uid(uid) or "a nameless series"
    return notice(kind, f"{n} {what} of {whose} left out: {_LEFT_OUT[code][0]}.")


def _by_points(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(
        candidates, key=lambda c: (-c.points, c.acquired, -len(c.headers), c.uid, c.part.difference)
    )


def _looked_at(candidate: Candidate, context: ReadContext) -> Candidate:
    """Add to a candidate what its middle slices show."""
    context.check_time()
    slices = read_middle(candidate.headers, context.limits)
    region = region_of(slices) if slices else None
    return candidate.with_pixels(region, brain_density(slices), brain_noise(slices))


def _read_series(candidate: Candidate, context: ReadContext) -> Exam:
    """Stack, decode and convert one series; what the pixels show may still refuse it."""
    began = time.perf_counter()
    if len(candidate.headers) > context.limits.frames:
        raise context.refuse("frames", f"{len(candidate.headers):,} slices")
    stack = stack_slices(candidate.headers, context.source, single=context.single_file)
    read = read_volume(stack, context)
    headers, volume = read.stack.headers, read.volume
    notices = (*read.notices, *read.stack.notices, *pixel_notices(headers, read.scales))
    reason = no_hounsfield_reason(volume, max(abs(s.slope) for s in read.scales))
    if reason:
        raise RefusedInput(
            context.source,
            "no_hounsfield",
            found=reason,
            expected="Hounsfield units (air near -1000, bone above 300)",
            remedy="give the original CT images, not a map, a capture or a coarsely compressed copy",
            notices=notices,
        )
    refusal, contradicted = _by_region(volume, candidate, context)
    if refusal is not None:
        raise refusal.with_context(notices=notices)
    notices = (*contradicted, *notices)
    first = headers[0]
    source = Source(
        input=context.source,
        format="dicom",
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        sop_instance_uids=tuple(h.sop_uid for h in headers),
        instance_numbers=tuple(h.number for h in headers),
        frame_numbers=tuple((h.frame or 0) + 1 for h in headers) if first.frame is not None else None,
        details=details(headers),
    )
    return Exam(volume, read.stack.geometry, source, notices, time.perf_counter() - began)


def _by_region(
    volume: NDArray[np.int16], candidate: Candidate, context: ReadContext
) -> tuple[RefusedInput | None, tuple[Notice, ...]]:
    """Refuse what the pixels show to be no head; say where the header contradicts them.

    The words of the header count only where the pixels show neither.
    """
    elsewhere = names_elsewhere(candidate.headers[len(candidate.headers) // 2])
    if context.series is not None:
        return None, ()
    n = len(volume)
    region = region_of([volume[k] for k in sorted({n // 4, n // 2, 3 * n // 4})])
    if region == "head":
        text = "The header names another part of the body; the pixels show a head, which was read."
        return None, (notice("body_part_contradicted", text),) if elsewhere else ()
    if region == "unclear" and not elsewhere:
        return None, ()
    found = (
        "slices with as much fat and as little brain as a chest or an abdomen"
        if region == "elsewhere"
        else "another part of the body by its header, and pixels that do not show a head"
    )
    return RefusedInput(
        context.source,
        "body_part_not_head",
        found=found,
        expected=_HEAD_CT,
        remedy=f"give a head CT, or take the series with --series {hashed_uid(candidate.uid)}",
    ), ()


def _header_notices(candidate: Candidate) -> list[Notice]:
    out = []
    middle = candidate.headers[len(candidate.headers) // 2]
    if has_contrast(middle):
        text = "The header names contrast; the model was made for exams without."
        out.append(notice("contrast", text))
    elif "denser" in candidate.rules:
        text = "The brain is denser than in another series, as after contrast; the model was made for exams without."
        out.append(notice("contrast", text))
    if is_bone_kernel(middle):
        text = "A sharp kernel made the series; it is noisier than what the model was made for."
        out.append(notice("bone_kernel", text))
    if is_hounsfield_capture(middle):
        text = "Stored as a secondary capture, but with a CT's positions, orientation, spacing and rescale."
        out.append(notice("secondary_with_hounsfield", text))
    return out

"""DICOM files to exams: one a study, from the series that the stated rules choose."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ichor.errors import RefusedInput
from ichor.exam import Exam, Source, hashed_uid
from ichor.notices import Notice, notice
from ichor.reading.decode import decode
from ichor.reading.files import InputFile
from ichor.reading.headers import SliceHeader, is_dicom, read_headers, unreadable
from ichor.reading.hounsfield import HounsfieldSlice, no_hounsfield_reason, to_hounsfield
from ichor.reading.limits import Deadline, Limits
from ichor.reading.series import (
    Candidate,
    exclusion,
    head_share,
    is_bone_kernel,
    names_contrast,
    score,
    series_exclusion,
)
from ichor.reading.stack import Stack, stack_slices

__all__ = ["is_dicom", "read_dicom"]

_MOST_BROKEN = 0.2
"""With more of its slices unreadable than this, a series is refused as a whole."""
_EXPECTED = {
    "modality_not_ct": ("no CT image", "give the CT series of the study"),
    "localizer": ("only localizers (scout views)", "give the axial series of the study"),
    "secondary_capture": ("only screen captures or dose sheets", "give the axial series of the study"),
    "body_part_not_head": ("a series of another part of the body", "give a head CT"),
    "no_hounsfield": ("maps without Hounsfield units", "give the plain series of the study"),
}
_PRIORITY = ("body_part_not_head", "no_hounsfield", "localizer", "secondary_capture", "modality_not_ct")


def read_dicom(
    files: Sequence[InputFile],
    *,
    source: str,
    series: str | None,
    limits: Limits,
    deadline: Deadline,
    single_file: bool,
) -> list[Exam | RefusedInput]:
    """Read DICOM files.

    Parameters
    ----------
    files
        All DICOM files of one input, of any number of patients, studies and series.
    source
        The input as the user named it.
    series
        Series instance UID (as stored, or hashed) to take instead of choosing.
    limits, deadline
        What may be spent.
    single_file
        The user named one file itself: a lone slice is then judged alone.

    Returns
    -------
    list of Exam or RefusedInput
        One entry a study, in the order in which studies first appear.
    """
    studies: dict[str, list[SliceHeader]] = {}
    broken: list[RefusedInput] = []
    for file in files:
        deadline.check()
        try:
            for header in read_headers(file, limits):
                studies.setdefault(header.study_uid, []).append(header)
        except RefusedInput as refusal:
            broken.append(refusal)
    if not studies:
        return [broken[0]] if broken else []
    # A DICOMDIR and its like have neither pixels nor a study of their own.
    images = {uid: headers for uid, headers in studies.items() if any(h.rows for h in headers)}
    shared: list[Notice] = [
        notice("slice_unreadable", f"{len(broken)} files could not be read and were left out.")
    ] if broken else []
    if len({h.patient for headers in images.values() for h in headers}) > 1:
        shared.append(notice("mixed_patients", "The input holds files of several patients; each study was taken alone."))
    results: list[Exam | RefusedInput] = []
    for headers in (images or studies).values():
        try:
            results.append(_read_study(headers, source, series, limits, deadline, single_file, shared))
        except RefusedInput as refusal:
            results.append(refusal)
    if series is not None and len(results) > 1:
        # The series asked for lies in one of the studies; the others need not complain.
        found = [r for r in results if isinstance(r, Exam) or r.code != "series_not_found"]
        return found or results[:1]
    return results


def _read_study(
    headers: list[SliceHeader],
    source: str,
    series: str | None,
    limits: Limits,
    deadline: Deadline,
    single_file: bool,
    shared: list[Notice],
) -> Exam:
    began = time.perf_counter()
    chosen, notices = _choose(headers, source, series, limits)
    if len(chosen.headers) > limits.frames:
        raise limits.refuse(source, "frames", f"{len(chosen.headers):,} slices")
    stack = stack_slices(chosen.headers, source, single=single_file)
    voxels = len(stack.headers) * stack.headers[0].rows * stack.headers[0].columns
    if voxels > limits.voxels:
        raise limits.refuse(source, "voxels", f"{voxels:,} voxels")
    stack, slices, lost = _decode_all(stack, source, limits, deadline, single_file)
    volume = np.stack([s.hu for s in slices])
    reason = no_hounsfield_reason(volume, max(abs(s.slope) for s in slices))
    if reason:
        raise RefusedInput(
            source,
            "no_hounsfield",
            found=reason,
            expected="Hounsfield units (air near -1000, bone above 300)",
            remedy="give the original CT images, not a map, a capture or a coarsely compressed copy",
        )
    first = stack.headers[0]
    exam_source = Source(
        input=source,
        format="dicom",
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        sop_instance_uids=tuple(h.sop_uid for h in stack.headers),
        frame_numbers=tuple((h.frame or 0) + 1 for h in stack.headers) if first.frame is not None else None,
        details=_details(stack),
    )
    every = (*shared, *notices, *lost, *stack.notices, *_pixel_notices(stack, slices))
    return Exam(volume, stack.geometry, exam_source, every, time.perf_counter() - began)


def _choose(
    headers: list[SliceHeader], source: str, series: str | None, limits: Limits
) -> tuple[Candidate, list[Notice]]:
    groups: dict[str, list[SliceHeader]] = {}
    out: Counter[str] = Counter()
    if series is not None:
        wanted = [h for h in headers if series in (h.series_uid, hashed_uid(h.series_uid))]
        if not wanted:
            raise RefusedInput(
                source,
                "series_not_found",
                found=f"{len({h.series_uid for h in headers})} series, none with the UID asked for",
                expected="the series named with --series",
                remedy="leave --series away to have one chosen, and read its UID in the findings",
            )
        headers = wanted
    for header in headers:
        code = exclusion(header)
        if code:
            out[code] += 1
        else:
            groups.setdefault(header.series_uid, []).append(header)
    rejected: dict[str, str] = {}
    for uid, members in list(groups.items()):
        code = series_exclusion(members)
        if code and series is None:
            out[code] += len(members)
            rejected[uid] = code
            del groups[uid]
    if not groups:
        code = next(c for c in _PRIORITY if out[c])
        found, remedy = _EXPECTED[code]
        raise RefusedInput(source, code, found=found, expected="an axial non-contrast head CT", remedy=remedy)
    several = len(groups) > 1
    candidates = [score(uid, members, _looks(members, limits) if several else None) for uid, members in groups.items()]
    candidates.sort(key=lambda c: (-c.points, -len(c.headers), c.uid))
    best = candidates[0]
    notices = [
        notice(code, f"{n} {'image was' if n == 1 else 'images were'} left out: {_words(code)}.")
        for code, n in out.items()
        if code in ("localizer", "secondary_capture")
    ]
    if several or rejected:
        why = ", ".join(best.reasons)
        notices.append(
            notice(
                "series_chosen",
                f"{len(groups) + len(rejected)} series were present; {hashed_uid(best.uid)} was taken: {why} ({best.points:g} points).",
            )
        )
        notices += [
            notice("series_left_out", f"{hashed_uid(c.uid)} was not taken: {', '.join(c.reasons)} ({c.points:g} points).")
            for c in candidates[1:]
        ]
        notices += [notice("series_left_out", f"{hashed_uid(u)} was not taken: {_words(c)}.") for u, c in rejected.items()]
    elif series is not None:
        notices.append(notice("series_chosen", f"{hashed_uid(best.uid)} was asked for."))
    middle = best.headers[len(best.headers) // 2]
    if names_contrast(middle):
        notices.append(notice("contrast", "The header names a contrast agent; only exams without were trained on."))
    if is_bone_kernel(middle):
        notices.append(notice("bone_kernel", "The series was made with a sharp kernel; its noise is unlike the training data."))
    return best, notices


def _words(code: str) -> str:
    return {"localizer": "localizer", "secondary_capture": "screen capture or dose sheet"}.get(
        code, "another part of the body"
    )


def _looks(headers: Sequence[SliceHeader], limits: Limits) -> bool | None:
    """Look at the slice two thirds of the way up; None where it cannot be decoded."""
    ordered = sorted(headers, key=lambda h: float(h.position[2]) if h.position is not None else float(h.number or 0))
    header = ordered[min(len(ordered) - 1, (2 * len(ordered)) // 3)]
    try:
        return head_share(to_hounsfield(decode(header, limits), header).hu)
    except RefusedInput:
        return None


def _decode_all(
    stack: Stack, source: str, limits: Limits, deadline: Deadline, single_file: bool
) -> tuple[Stack, list[HounsfieldSlice], list[Notice]]:
    """Decode every slice; a few broken ones are left out, with a notice, and the stack is made again."""

    def one(header: SliceHeader) -> HounsfieldSlice | RefusedInput:
        try:
            deadline.check()
            return to_hounsfield(decode(header, limits), header)
        except RefusedInput as refusal:
            return refusal

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        slices = list(pool.map(one, stack.headers))
    refused = [s for s in slices if isinstance(s, RefusedInput)]
    good = [(h, s) for h, s in zip(stack.headers, slices, strict=True) if isinstance(s, HounsfieldSlice)]
    for refusal in refused:
        if refusal.code == "limit_exceeded":
            raise refusal
    if not good or len(refused) > _MOST_BROKEN * len(slices):
        if len(slices) == 1:
            raise refused[0]
        raise unreadable(source, f"{len(refused)} of {len(slices)} slices that cannot be decoded", "a whole series")
    if not refused:
        return stack, [s for _, s in good], []
    lost = [notice("slice_unreadable", f"{len(refused)} of {len(slices)} slices could not be decoded and were left out.")]
    by_header = {id(h): s for h, s in good}
    again = stack_slices([h for h, _ in good], source, single=single_file)
    return again, [by_header[id(h)] for h in again.headers], lost


def _details(stack: Stack) -> dict[str, str]:
    details = dict(stack.headers[0].facts)
    thickness = sorted({h.thickness for h in stack.headers if h.thickness})
    if thickness:
        details["slice thickness"] = " and ".join(f"{t:g}" for t in thickness[:4]) + " mm"
    return details


def _pixel_notices(stack: Stack, slices: Sequence[HounsfieldSlice]) -> list[Notice]:
    out = []

    def where(name: str) -> list[int]:
        return [k for k, s in enumerate(slices) if getattr(s, name)]

    if any(s.assumed for s in slices):
        intercepts = sorted({s.intercept for s in slices})
        shown = " and ".join(f"{i:g}" for i in intercepts)
        out.append(notice("rescale_assumed", f"Rescale was absent; an intercept of {shown} was assumed.", where("assumed")))
    if any(s.wrapped for s in slices):
        out.append(notice("wrapped_intercept", "Twelve-bit values with a wrapped intercept were restored.", where("wrapped")))
    if len({(s.slope, s.intercept) for s in slices}) > 1:
        out.append(notice("rescale_varies", "Rescale differs between slices; each was converted with its own."))
    if any(s.padded for s in slices):
        out.append(notice("padding_replaced", "Values outside the scan circle were set to air."))
    if any(s.inverted for s in slices):
        out.append(notice("monochrome1", "The pixels are stored for inverted display; Hounsfield units are as they should be."))
    if any(h.lossy for h in stack.headers):
        out.append(notice("lossy_compression", "The pixels went through lossy compression; faint blood may be lost."))
    return out

"""DICOM files to exams: one a study, from the series that the stated rules choose."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from ichor.errors import RefusedInput
from ichor.exam import Exam, Source, hashed_uid
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.dataset import is_dicom, quiet_pydicom, unreadable
from ichor.reading.dicom.headers import SliceHeader, read_headers
from ichor.reading.dicom.hounsfield import no_hounsfield_reason
from ichor.reading.dicom.looks import Looks, looks_like
from ichor.reading.dicom.series import (
    Candidate,
    exclusion,
    is_bone_kernel,
    names_contrast,
    score,
    series_exclusion,
    split_by_kernel,
)
from ichor.reading.dicom.stack import stack_slices
from ichor.reading.dicom.volume import MOST_BROKEN, details, pixel_notices, read_middle, read_volume
from ichor.reading.files import InputFile

__all__ = ["read_dicom"]

_MOST_LOOKED_AT = 8
"""Series whose pixels are looked at before one is taken: those with the most points by their headers."""
_LEFT_OUT = {
    "modality_not_ct": ("no CT image (another modality, a report)", "give the CT series of the study"),
    "localizer": ("a localizer (scout view)", "give the axial series of the study"),
    "secondary_capture": ("a screen capture or dose sheet", "give the axial series of the study"),
    "body_part_not_head": (
        "another part of the body by its header",
        "give a head CT, or take the series by its UID",
    ),
    "no_hounsfield": ("a map without Hounsfield units", "give the plain series of the study"),
}
"""What is wrong with it, in words, and what to do. In the order in which one of several reasons is told."""
_TOLD = ("body_part_not_head", "no_hounsfield", "localizer", "secondary_capture", "modality_not_ct")


def read_dicom(files: Sequence[InputFile], context: ReadContext) -> list[Exam | RefusedInput]:
    """Read DICOM files.

    Parameters
    ----------
    files
        Files of one input, of any number of patients, studies and series; those that are no DICOM are
        counted and left out.
    context
        Of the reading.

    Returns
    -------
    list of Exam or RefusedInput
        One entry a study, in the order in which studies first appear; empty where no file is DICOM.
    """
    with quiet_pydicom():
        try:
            headers, broken, junk = _scan(files, context)
        except RefusedInput as refusal:
            return [refusal]
        n_readable = len({h.file.path for h in headers})
        if broken and len(broken) > MOST_BROKEN * (len(broken) + n_readable):
            return [
                broken[0]
                if len(broken) == 1
                else _mostly_broken(context.source, broken, len(broken) + n_readable)
            ]
        studies, shared = _studies(headers, broken, junk, len(files))
        if headers and not studies:
            return [_only_indexes(context.source)]
        results: list[Exam | RefusedInput] = []
        for members in studies:
            try:
                results.append(_read_study(members, context, shared))
            except RefusedInput as refusal:
                known = (*shared, *refusal.notices)
                results.append(refusal.with_context(notices=known, study_uid=members[0].study_uid))
    if context.series is not None and len(results) > 1:
        # The series asked for lies in one of the studies; the others need not complain.
        found = [r for r in results if isinstance(r, Exam) or r.code != "series_not_found"]
        return found or results[:1]
    return results


def _scan(
    files: Sequence[InputFile], context: ReadContext
) -> tuple[list[SliceHeader], list[RefusedInput], int]:
    """Read every header: those of slices, the refusals of broken files, the number that is no DICOM."""
    headers: list[SliceHeader] = []
    broken: list[RefusedInput] = []
    junk = 0
    for file in files:
        context.check_time()
        if not is_dicom(file.path):
            junk += 1
            continue
        try:
            headers += read_headers(file, context.limits)
        except RefusedInput as refusal:
            broken.append(refusal)
    return headers, broken, junk


def _mostly_broken(source: str, broken: list[RefusedInput], n: int) -> RefusedInput:
    if all(r.code == "limit_exceeded" for r in broken):
        return broken[0]
    return unreadable(source, f"{len(broken)} of {n} DICOM files that cannot be read", "a whole series")


def _only_indexes(source: str) -> RefusedInput:
    return RefusedInput(
        source,
        "no_image",
        found="an index (DICOMDIR), or a data set that holds no object",
        expected="an axial non-contrast head CT",
        remedy="give the folder that the index lies in, with its images",
    )


def _studies(
    headers: list[SliceHeader], broken: list[RefusedInput], junk: int, n_files: int
) -> tuple[list[list[SliceHeader]], list[Notice]]:
    """Part the slices by patient and study, and say what holds for all of them."""
    shared: list[Notice] = []
    # A DICOMDIR and its like name no object; they index others.
    objects = [h for h in headers if h.sop_class or h.rows]
    nothing = junk + len(headers) - len(objects)
    if nothing:
        verb = "file is no image" if nothing == 1 else "files are no images"
        shared.append(
            notice("not_an_image", f"{nothing} of {n_files} {verb} (indexes or other files); left out.")
        )
    if broken:
        verb = "file has a header that" if len(broken) == 1 else "files have headers that"
        shared.append(notice("slice_unreadable", f"{len(broken)} {verb} cannot be read; left out."))
    groups: dict[tuple[str, str], list[SliceHeader]] = {}
    for header in objects:
        groups.setdefault((header.patient, header.study_uid or header.series_uid), []).append(header)
    if len({h.patient for h in objects if h.rows}) > 1:
        shared.append(
            notice("mixed_patients", "The input holds files of several patients; each study was taken alone.")
        )
    studies = list(groups.values())
    with_images = [members for members in studies if any(h.rows for h in members)]
    if with_images and len(with_images) < len(studies):
        n = len(studies) - len(with_images)
        text = f"{n} {'study holds' if n == 1 else 'studies hold'} reports and no images; left out."
        shared.append(notice("series_left_out", text))
    return with_images or studies, shared


def _read_study(headers: list[SliceHeader], context: ReadContext, shared: list[Notice]) -> Exam:
    candidates, notices = _candidates(headers, context)
    n_series = len({h.series_uid for h in headers})
    if len(candidates) > 1:
        candidates = [c.with_looks(_looks(c, context)) for c in candidates[:_MOST_LOOKED_AT]] + candidates[
            _MOST_LOOKED_AT:
        ]
        candidates.sort(key=lambda c: (-c.points, -len(c.headers), c.uid))
    failed: list[tuple[Candidate, RefusedInput]] = []
    for i, candidate in enumerate(candidates):
        try:
            exam = _read_series(candidate, context)
        except RefusedInput as refusal:
            context.check_time()
            failed.append((candidate, refusal))
            continue
        if context.series is not None:
            notices.insert(
                0, notice("series_chosen", f"{hashed_uid(candidate.uid)} was taken because it was asked for.")
            )
        elif n_series > 1 or len(candidates) > 1:
            text = f"{hashed_uid(candidate.uid)} was taken of {n_series} series: {candidate.reasons}."
            notices.insert(0, notice("series_chosen", text))
        notices += [_not_taken(c, f"found {r.found}") for c, r in failed]
        notices += [_not_taken(c, c.reasons) for c in candidates[i + 1 :]]
        every = (*shared, *notices, *_header_notices(candidate), *exam.notices)
        return Exam(exam.volume, exam.geometry, exam.source, every, exam.read_seconds)
    first = failed[0][1]
    others = (_not_taken(c, f"found {r.found}") for c, r in failed[1:])
    raise first.with_context(notices=(*notices, *first.notices, *others))


def _not_taken(candidate: Candidate, why: str) -> Notice:
    return notice("series_left_out", f"{hashed_uid(candidate.uid)} was not taken: {why}.")


def _candidates(headers: list[SliceHeader], context: ReadContext) -> tuple[list[Candidate], list[Notice]]:
    """Series that may be taken, most points first, and notices on what is out.

    Raises
    ------
    RefusedInput
        Where nothing may be taken.
    """
    source, series = context.source, context.series
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
    groups: dict[str, list[SliceHeader]] = {}
    out: Counter[tuple[str, str]] = Counter()
    for header in headers:
        code = exclusion(header)
        if code:
            out[header.series_uid, code] += 1
        else:
            groups.setdefault(header.series_uid, []).append(header)
    for uid, members in list(groups.items()):
        code = series_exclusion(members) if series is None else None
        if code:
            out[uid, code] += len(members)
            del groups[uid]
    if not groups:
        code = next(told for told in _TOLD if any(code == told for _, code in out))
        found, remedy = _LEFT_OUT[code]
        raise RefusedInput(source, code, found=found, expected="an axial non-contrast head CT", remedy=remedy)
    notices = []
    for (uid, code), n in out.items():
        kind = code if code in ("localizer", "secondary_capture") else "series_left_out"
        what, whose = "image" if n == 1 else "images", hashed_uid(uid) or "a nameless series"
        text = f"{n} {what} of {whose} left out: {_LEFT_OUT[code][0]}."
        notices.append(notice(kind, text))
    parts = [(uid, part) for uid, members in groups.items() for part in split_by_kernel(members)]
    found_candidates = [score(uid, part) for uid, part in parts]
    return sorted(found_candidates, key=lambda c: (-c.points, -len(c.headers), c.uid)), notices


def _looks(candidate: Candidate, context: ReadContext) -> Looks | None:
    context.check_time()
    slices = read_middle(candidate.headers, context.limits)
    return looks_like(slices) if slices else None


def _read_series(candidate: Candidate, context: ReadContext) -> Exam:
    """Stack, decode and convert one series; what the pixels say may still refuse it."""
    began, source = time.perf_counter(), context.source
    if len(candidate.headers) > context.limits.frames:
        raise context.refuse("frames", f"{len(candidate.headers):,} slices")
    stack = stack_slices(candidate.headers, source, single=context.single_file)
    stack, volume, scales, lost = read_volume(stack, context)
    every = (*lost, *stack.notices, *pixel_notices(stack.headers, scales))
    reason = no_hounsfield_reason(volume, max(abs(s.slope) for s in scales))
    if reason:
        raise RefusedInput(
            source,
            "no_hounsfield",
            found=reason,
            expected="Hounsfield units (air near -1000, bone above 300)",
            remedy="give the original CT images, not a map, a capture or a coarsely compressed copy",
            notices=every,
        )
    n = len(volume)
    if (
        context.series is None
        and looks_like([volume[k] for k in sorted({n // 4, n // 2, 3 * n // 4})]) == "elsewhere"
    ):
        raise RefusedInput(
            source,
            "body_part_not_head",
            found="slices with as much fat and as little brain as a chest or an abdomen",
            expected="an axial non-contrast head CT",
            remedy="give a head CT, or take the series by its UID",
            notices=every,
        )
    first = stack.headers[0]
    exam_source = Source(
        input=source,
        format="dicom",
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        sop_instance_uids=tuple(h.sop_uid for h in stack.headers),
        frame_numbers=tuple((h.frame or 0) + 1 for h in stack.headers) if first.frame is not None else None,
        details=details(stack.headers),
    )
    return Exam(volume, stack.geometry, exam_source, every, time.perf_counter() - began)


def _header_notices(candidate: Candidate) -> list[Notice]:
    out = []
    middle = candidate.headers[len(candidate.headers) // 2]
    if names_contrast(middle):
        out.append(notice("contrast", "The header names contrast; the model was made for exams without."))
    if is_bone_kernel(middle):
        out.append(
            notice(
                "bone_kernel",
                "A sharp kernel made the series; it is noisier than what the model was made for.",
            )
        )
    return out

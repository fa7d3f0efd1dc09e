"""DICOM files to exams: one a study, from the series that the stated rules choose."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.choosing import read_study
from ichor.reading.dicom.dataset import is_dicom, quiet_pydicom, unreadable
from ichor.reading.dicom.headers import SliceHeader, read_headers
from ichor.reading.dicom.joining import join_fragments, scattered_refusal
from ichor.reading.dicom.volume import MOST_BROKEN
from ichor.reading.files import InputFile
from ichor.uids import hashed_uid

__all__ = ["read_dicom"]


@dataclass(frozen=True)
class _Scan:
    """The headers of all files: of slices, the refusals of broken files, and how many are no DICOM."""

    headers: list[SliceHeader]
    broken: list[RefusedInput]
    junk: int


@dataclass(frozen=True)
class _Studies:
    """Slices parted by patient and study, what holds for all of them, and slices that nothing links."""

    members: list[list[SliceHeader]]
    notices: tuple[Notice, ...]
    scattered: tuple[SliceHeader, ...]


def read_dicom(files: Sequence[InputFile], context: ReadContext) -> Iterator[Exam | RefusedInput]:
    """Read DICOM files, one study after the other: what was given may be let go before the next is decoded.

    Parameters
    ----------
    files
        Files of one input, of any number of patients, studies and series; those that are no DICOM are
        counted and left out.
    context
        Of the reading.

    Yields
    ------
    Exam or RefusedInput
        One a study, in the order in which studies first appear; nothing where no file is DICOM.
    """
    with quiet_pydicom():
        try:
            scan = _scan(files, context)
        except RefusedInput as refusal:
            yield refusal
            return
        n_files = len({h.file.path for h in scan.headers}) + len(scan.broken)
        if scan.broken and len(scan.broken) > MOST_BROKEN * n_files:
            yield _mostly_broken(context.source, scan.broken, n_files)
            return
        studies = _studies(scan, len(files), context)
        if scan.headers and not studies.members and not studies.scattered:
            yield _only_indexes(context.source)
            return
    asked_for = _asked_for(studies, context.series)
    for members, name in zip(asked_for, _names(asked_for, context.source), strict=True):
        with quiet_pydicom():
            result = _read_one(members, studies.notices, replace(context, source=name))
        yield result
        del result
    if studies.scattered:
        scattered = scattered_refusal(studies.scattered, context.source)
        yield scattered.with_context(notices=studies.notices)


def _asked_for(studies: _Studies, series: str | None) -> list[list[SliceHeader]]:
    """Return the studies that hold the series asked for; where none does, one is left to say so."""
    if series is None:
        return studies.members
    found = [m for m in studies.members if any(series in (h.series_uid, hashed_uid(h.series_uid)) for h in m)]
    return found or ([] if studies.scattered else studies.members[:1])


def _names(studies: Sequence[list[SliceHeader]], source: str) -> list[str]:
    """Name several studies of one input by the file or the innermost folder that each came from, where they differ."""
    if len(studies) < 2:
        return [source] * len(studies)
    places = [_place(sorted({h.file.name for h in members}), source) for members in studies]
    return [place if places.count(place) == 1 else source for place in places]


def _place(files: Sequence[str], source: str) -> str:
    """Return the file, or the innermost folder of some files within an input; the input where there is none."""
    if len(files) == 1:
        return files[0]
    # By characters: what follows cuts at the last mark.
    within = os.path.commonprefix([name.removeprefix(source) for name in files])  # noqa: RUF071
    return source + within[: max(within.rfind("/"), within.rfind(os.sep), 0)]


def _read_one(
    members: list[SliceHeader], shared: tuple[Notice, ...], context: ReadContext
) -> Exam | RefusedInput:
    """Read one study; what holds for all of them is reported with it."""
    try:
        exam = read_study(members, context)
    except RefusedInput as refusal:
        noticed = (*shared, *refusal.notices)
        return refusal.with_context(notices=noticed, study_uid=members[0].study_uid)
    return replace(exam, notices=(*shared, *exam.notices))


def _scan(files: Sequence[InputFile], context: ReadContext) -> _Scan:
    """Read every header."""
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
    return _Scan(headers, broken, junk)


def _studies(scan: _Scan, n_files: int, context: ReadContext) -> _Studies:
    """Part the slices by patient and study, and say what holds for all of them."""
    # A DICOMDIR and its like name no object; they index others.
    objects = [h for h in scan.headers if h.sop_class or h.rows]
    notices = _left_out_notices(scan, len(objects), n_files)
    others = [h for h in objects if not h.is_own_result]
    if others and len(others) < len(
        objects
    ):  # as if they were not there: they say nothing that the images do not
        n = len({h.file.path for h in objects}) - len({h.file.path for h in others})
        text = f"{n} {'result' if n == 1 else 'results'} of ichor's own, from an earlier run; left out."
        notices.append(notice("own_result", text))
        objects = others
    uids = {h.series_uid for h in objects}
    asked_for = next((uid for uid in uids if context.series in (uid, hashed_uid(uid))), None)
    joined = join_fragments(objects, asked_for)
    objects = joined.headers
    notices += joined.notices
    groups: dict[tuple[str, str], list[SliceHeader]] = {}
    for header in objects:
        groups.setdefault((header.patient, header.study_uid or header.series_uid), []).append(header)
    if len({h.patient for h in objects if h.rows}) > 1:
        text = "The input holds files of several patients; each study was taken alone."
        notices.append(notice("mixed_patients", text))
    studies = list(groups.values())
    with_images = [members for members in studies if any(h.rows for h in members)]
    if with_images and len(with_images) < len(studies):
        n = len(studies) - len(with_images)
        text = f"{n} {'study holds' if n == 1 else 'studies hold'} reports and no images; left out."
        notices.append(notice("series_left_out", text))
    return _Studies(with_images or studies, tuple(notices), joined.scattered)


def _left_out_notices(scan: _Scan, n_objects: int, n_files: int) -> list[Notice]:
    """Say which files are no images, and which cannot be read."""
    notices = []
    nothing = scan.junk + len(scan.headers) - n_objects
    if nothing:
        verb = "file is no image" if nothing == 1 else "files are no images"
        text = f"{nothing} of {n_files} {verb} (indexes or other files); left out."
        notices.append(notice("not_an_image", text))
    if scan.broken:
        n = len(scan.broken)
        verb = "file has a header that" if n == 1 else "files have headers that"
        notices.append(notice("slice_unreadable", f"{n} {verb} cannot be read; left out."))
    return notices


def _mostly_broken(source: str, broken: list[RefusedInput], n: int) -> RefusedInput:
    if len(broken) == 1 or all(r.code == "limit_exceeded" for r in broken):
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

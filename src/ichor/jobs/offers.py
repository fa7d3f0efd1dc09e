"""Series of a refused study that may be assessed instead, each with a picture of its middle slice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import func, select
from sqlmodel import col

from ichor.errors import RefusedInput
from ichor.exam import AIR_HU, Exam
from ichor.jobs.database import Database
from ichor.jobs.display import display_of
from ichor.jobs.queue import add_event, next_turn
from ichor.jobs.tables import Job, Study
from ichor.preparing import WINDOWS
from ichor.reading import read_all
from ichor.reading.dicom.outlook import SeriesOutlook, series_outlook
from ichor.reading.limits import Limits
from ichor.uids import hashed_uid

__all__ = ["Offer", "choose_series", "offers_of", "picture_name"]

_MOST = 8
"""Series that are offered, those with the most images: each is read."""
_SIDE = 256
_DANGEROUS = ("decoder_failed", "limit_memory", "limit_time", "limit_exceeded", "unsafe_archive", "not_found")
"""Refusals of inputs that are not opened once more."""


@dataclass(frozen=True)
class Offer:
    """A series that may be assessed.

    Attributes
    ----------
    series
        Hashed UID.
    images
        Number of its images.
    kernel, thickness
        As the header says; empty where it does not.
    picture
        Whether there is a picture of it; one without cannot be assessed.
    reason
        Why not, else empty.
    """

    series: str
    images: int
    kernel: str
    thickness: str
    picture: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def picture_name(number: int) -> str:
    """Name the file of an offer's picture, by its place among the offers."""
    return f"series-{number:02d}.png"


def offers_of(path: Path, refusal: RefusedInput, limits: Limits, folder: Path) -> list[Offer]:
    """Read the series of a refused study, each in the isolated reader, and picture what can be decoded.

    Parameters
    ----------
    path
        The input.
    refusal
        Of the study.
    limits
        How much is read.
    folder
        Where pictures go (:func:`picture_name`).

    Returns
    -------
    list of Offer
        Most images first; empty where no series has a picture.
    """
    if not refusal.study_uid or refusal.code in _DANGEROUS:
        return []
    try:
        series = [one for one in series_outlook(path, limits) if one.study_uid == refusal.study_uid]
    except RefusedInput:
        return []
    series = sorted(series, key=lambda one: -one.images)[:_MOST]
    offers = [_offer(path, one, limits, folder / picture_name(k)) for k, one in enumerate(series)]
    return offers if any(offer.picture for offer in offers) else []


def choose_series(database: Database, study: str, series: str) -> bool:
    """Queue a refused study once more, to be read from a series that it offers.

    Parameters
    ----------
    database
        Of the worklist.
    study
        Its id; it keeps that and its code.
    series
        Hashed UID.

    Returns
    -------
    bool
        False where the study offers no such series.
    """
    with database.write() as session:
        row = session.get(Study, study)
        offered = [] if row is None else [one["series"] for one in row.series or () if one["picture"]]
        if row is None or row.state != "refused" or series not in offered:
            return False
        before = session.get_one(Job, row.job)
        last = session.scalar(select(func.max(col(Job.number))).where(col(Job.upload) == before.upload))
        job = Job(
            upload=before.upload,
            number=int(last or 0) + 1,
            input=before.input,
            arrived=row.arrived,
            turn=next_turn(session),
            alias=before.alias,
            reading={"series": series},
        )
        session.add(job)
        session.flush()
        row.job, row.part, row.state, row.series = job.seq or 0, 0, "queued", None
        row.started = row.finished = row.refusal_code = row.refusal_message = None
        add_event(session, study)
        return True


def _offer(path: Path, series: SeriesOutlook, limits: Limits, picture: Path) -> Offer:
    uid = hashed_uid(series.uid)
    reason = "it cannot be read as an exam"
    results: Iterable[Any] = read_all(path, series=uid, limits=limits, isolated=True)
    for result in results:
        if isinstance(result, Exam):
            _draw(result, picture)
            return Offer(uid, series.images, series.kernel, series.thickness, True, "")
        if result.code != "series_not_found":
            reason = f"found {result.found}"
    return Offer(uid, series.images, series.kernel, series.thickness, False, reason)


def _draw(exam: Exam, path: Path) -> None:
    """Draw the middle slice, upright, in the brain window."""
    plan, volume = display_of(exam)
    grey = WINDOWS["brain"].to_grey(plan.plane(volume, len(plan.source) // 2, AIR_HU))
    spacing = np.linalg.norm(plan.affine[:3, :2], axis=0)
    sides = grey.shape[1] * spacing[0], grey.shape[0] * spacing[1]
    size = tuple(max(1, round(_SIDE * side / max(sides))) for side in sides)
    Image.fromarray(grey).resize((size[0], size[1]), Image.Resampling.LANCZOS).save(path)

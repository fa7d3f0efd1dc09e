"""The queue: jobs leased in the database, so that none is lost and none is done twice, whoever is killed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, or_, select, update
from sqlmodel import Session, col

from ichor.jobs.database import Database
from ichor.jobs.storage import new_id
from ichor.jobs.tables import Event, Job, StoredFindings, Study

__all__ = [
    "FINAL",
    "LEASE_S",
    "MOST_ATTEMPTS",
    "LeaseLost",
    "LeasedJob",
    "Part",
    "Queue",
    "StudyDeleted",
    "add_event",
    "short_label",
]

LEASE_S = 60.0
"""Without word from its worker for so long, a job is given to another."""
MOST_ATTEMPTS = 3
"""Times that a job may take its worker with it."""
FINAL = ("ready", "refused")
"""States in which a study stays."""
_COPIED = (
    *("state", "probability", "uncertain", "probabilities", "positive", "volume_ml", "warnings_n"),
    *("refusal_code", "refusal_message"),
)
"""What a duplicate's row shows of the first one's; it is not flagged itself."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing that is taken for something else when it is read out."""


@dataclass(frozen=True)
class Part:
    """The row of one result of a job, and whether it was done by an attempt before."""

    study: str
    done: bool


class LeaseLost(Exception):
    """The job is no longer this worker's: deleted, or leased to another."""


class StudyDeleted(Exception):
    """The study was deleted; its job goes on."""


@dataclass(frozen=True)
class LeasedJob:
    """A job that a worker has.

    Attributes
    ----------
    seq, upload, inputs, alias, arrived
        As in :class:`~ichor.jobs.tables.Job`.
    worker
        Who has it.
    attempts
        This one included.
    """

    seq: int
    upload: str
    inputs: tuple[str, ...]
    alias: str | None
    arrived: float
    worker: str
    attempts: int


def short_label(secret: str) -> str:
    """Make eight letters and digits from a hash or an id, by which people know studies apart: ``7F3A-K2QX``."""
    number = int(hashlib.sha256(secret.encode()).hexdigest()[:10], 16)
    letters = "".join(_ALPHABET[(number >> 5 * k) & 31] for k in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def add_event(session: Session, study: str, kind: str = "study") -> None:
    """Note that a study changed, within the transaction that changes it."""
    session.add(Event(kind=kind, study=study, at=time.time()))


class Queue:
    """Jobs of one database.

    Parameters
    ----------
    database
        Migrated.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, upload: str, inputs: Sequence[str], alias: str | None = None) -> None:
        """Queue an upload with the first row of its studies; nothing where it was queued before."""
        now = time.time()
        with self.database.write() as session:
            if session.scalar(select(Job).where(col(Job.upload) == upload)) is not None:
                return
            job = Job(upload=upload, arrived=now, inputs=list(inputs), alias=alias)
            session.add(job)
            session.flush()
            study = Study(id=new_id(), job=job.seq or 0, arrived=now, label=short_label(upload), alias=alias)
            session.add(study)
            add_event(session, study.id)

    def lease(self, worker: str) -> LeasedJob | None:
        """Take the job that has waited longest; None where none waits."""
        now = time.time()
        free = or_(col(Job.state) == "queued", (col(Job.state) == "leased") & (col(Job.lease_until) < now))
        found = select(Job).where(free).order_by(col(Job.seq)).limit(1)
        with self.database.read() as session:  # whoever has nothing to do takes no lock
            if session.scalars(found).first() is None:
                return None
        with self.database.write() as session:
            job = session.scalars(found.with_for_update(skip_locked=True)).first()
            if job is None:
                return None
            job.state, job.leased_by, job.lease_until = "leased", worker, now + LEASE_S
            job.attempts += 1
            return LeasedJob(
                job.seq or 0, job.upload, tuple(job.inputs), job.alias, job.arrived, worker, job.attempts
            )

    def renew(self, leased: LeasedJob) -> bool:
        """Keep a job for longer; False where it is no longer this worker's."""
        with self.database.write() as session:
            return _touch(session, leased, lease_until=time.time() + LEASE_S)

    def release(self, worker: str | None = None, *, uncounted: bool = False) -> int:
        """Give back what a worker had, or all workers: it ended, and will not come back.

        Parameters
        ----------
        worker
            Whose jobs; None for everybody's.
        uncounted
            The worker was asked to end: this was no attempt that failed.

        Returns
        -------
        int
            Number of jobs.
        """
        values: dict[str, Any] = {"state": "queued", "leased_by": None, "lease_until": None}
        if uncounted:
            values["attempts"] = col(Job.attempts) - 1
        held = update(Job).where(col(Job.state) == "leased").values(**values)
        if worker is not None:
            held = held.where(col(Job.leased_by) == worker)
        with self.database.write() as session:
            begun = select(Study).join(Job, col(Job.seq) == col(Study.job))
            begun = begun.where(col(Job.state) == "leased", col(Study.state).in_(("reading", "detecting")))
            if worker is not None:
                begun = begun.where(col(Job.leased_by) == worker)
            for study in session.scalars(begun).all():
                study.state = "queued"
                add_event(session, study.id)
            session.flush()
            return _count(session, held)

    def finish(self, leased: LeasedJob) -> bool:
        """Note that nothing of a job is left to do; return whether any study of it is still there.

        Raises
        ------
        LeaseLost
            Where it is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased, state="done", leased_by=None, lease_until=None):
                raise LeaseLost
            # The row that was there before anything was read, where nothing took it.
            for study in session.scalars(_open_rows(leased.seq)).all():
                add_event(session, study.id, "deleted")
                session.delete(study)
            session.flush()
            if (
                session.scalars(select(Study).where(col(Study.job) == leased.seq).limit(1)).first()
                is not None
            ):
                return True
            session.execute(delete(Job).where(col(Job.seq) == leased.seq))
            return False

    def begin_reading(self, leased: LeasedJob) -> None:
        """Show that a job is being read.

        Raises
        ------
        LeaseLost
            Where it is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased):
                raise LeaseLost
            for study in session.scalars(_open_rows(leased.seq)).all():
                study.state = "reading"
                study.started = study.started or time.time()
                add_event(session, study.id)

    def open_part(self, leased: LeasedJob, part: int) -> Part | None:
        """Return the row of one result of a job, made where it is new; None where that was deleted.

        Raises
        ------
        LeaseLost
            Where the job is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased):
                raise LeaseLost
            job = session.scalars(select(Job).where(col(Job.seq) == leased.seq)).one()
            if part in job.dropped:
                return None
            found = select(Study).where(col(Study.job) == leased.seq, col(Study.part) == part)
            study = session.scalars(found).first()
            if study is None:
                study = Study(
                    id=new_id(),
                    job=leased.seq,
                    part=part,
                    arrived=leased.arrived,
                    label=short_label(f"{leased.upload}/{part}"),
                    alias=leased.alias,
                    state="reading",
                    started=time.time(),
                )
                session.add(study)
                add_event(session, study.id)
            return Part(study.id, study.state in FINAL)

    def open_parts(self, leased: LeasedJob) -> list[str]:
        """Return the rows of a job that are not done."""
        with self.database.read() as session:
            return [study.id for study in session.scalars(_open_rows(leased.seq))]

    def mark_duplicate(self, leased: LeasedJob, study: str, content: str, **values: Any) -> bool:
        """Point a study at the one that was assessed before, if there is one; return whether there is.

        Parameters
        ----------
        leased, study, **values
            As in :meth:`change`.
        content
            Hash by which the same study is known.

        Raises
        ------
        StudyDeleted, LeaseLost
            As :meth:`change`.
        """
        with self.database.write() as session:
            same = select(Study).where(
                col(Study.content) == content,
                col(Study.duplicate_of).is_(None),
                col(Study.id) != study,
                col(Study.state).in_(FINAL),
            )
            first = session.scalars(same.order_by(col(Study.arrived)).limit(1)).first()
            if first is None:
                return False
            copied = {name: getattr(first, name) for name in _COPIED}
            _change(session, leased, study, **values, **copied, duplicate_of=first.id, finished=time.time())
            return True

    def change(
        self, leased: LeasedJob, study: str, findings: StoredFindings | None = None, **values: Any
    ) -> None:
        """Write what is now known of a study, and its findings, in one transaction.

        Parameters
        ----------
        leased
            The job it belongs to.
        study
            Its id.
        findings
            Findings, replacing those of an attempt before.
        **values
            Columns of :class:`~ichor.jobs.tables.Study`.

        Raises
        ------
        StudyDeleted, LeaseLost
            Where it was deleted, or its job is no longer this worker's; nothing is written.
        """
        if values.get("state") in FINAL:
            values["finished"] = time.time()
        with self.database.write() as session:
            _change(session, leased, study, **values)
            if findings is not None:
                session.execute(delete(StoredFindings).where(col(StoredFindings.study) == study))
                session.add(findings)


def _change(session: Session, leased: LeasedJob, study: str, **values: Any) -> None:
    # A part that is done shows that the job can be: its attempts are counted anew.
    if not _touch(session, leased, **({"attempts": 1} if "finished" in values else {})):
        raise LeaseLost
    if not _count(session, update(Study).where(col(Study.id) == study).values(**values)):
        raise StudyDeleted
    add_event(session, study)


def _open_rows(job: int) -> Select[Any]:
    return (
        select(Study).where(col(Study.job) == job, col(Study.state).not_in(FINAL)).order_by(col(Study.part))
    )


def _touch(session: Session, leased: LeasedJob, **values: Any) -> bool:
    """Change a job if it is still this worker's."""
    mine = update(Job).where(col(Job.seq) == leased.seq, col(Job.leased_by) == leased.worker)
    return _count(session, mine.values(**(values or {"leased_by": leased.worker}))) == 1


def _count(session: Session, statement: Any) -> int:
    """Run a change; return the number of rows it changed."""
    return int(getattr(session.execute(statement), "rowcount", 0))

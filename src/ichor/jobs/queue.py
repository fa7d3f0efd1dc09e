"""The queue: jobs leased in the database, so that none is lost and none is done twice, whoever is killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, or_, select, update
from sqlmodel import Session, col

from ichor.jobs.database import Database
from ichor.jobs.labels import short_label
from ichor.jobs.storage import new_id
from ichor.jobs.tables import Event, Job, StoredFindings, Study

__all__ = [
    "FINAL",
    "LEASE_S",
    "MOST_ATTEMPTS",
    "Finished",
    "LeaseLost",
    "LeasedJob",
    "Part",
    "Queue",
    "StudyDeleted",
    "add_event",
    "next_turn",
]

LEASE_S = 60.0
"""Without word from its worker for so long, a job is given to another."""
MOST_ATTEMPTS = 3
"""Times that a job may take its worker with it."""
FINAL = ("ready", "refused")
"""States in which a study stays."""
_COPIED = (
    *("state", "probability", "uncertain", "probabilities", "positive", "volume_ml", "warnings_n"),
    *("cautions", "subtypes", "refusal_code", "refusal_message"),
)
"""What a duplicate's row shows of the first one's; it is not flagged itself."""
_NOTHING = (
    "Found nothing in it that was read; expected an image; check the files, or try them with ichor detect."
)


@dataclass(frozen=True)
class Part:
    """The row of one result of a job, and whether it was done by an attempt before."""

    study: str
    done: bool


@dataclass(frozen=True)
class Finished:
    """What a job that is done leaves.

    Attributes
    ----------
    studies
        Whether any study of it is still there.
    upload
        Whether all inputs of its upload are done.
    deleted
        Whether something of it was deleted meanwhile.
    offered
        Whether a refused study of its upload may be read from another series.
    """

    studies: bool
    upload: bool
    deleted: bool
    offered: bool = False


class LeaseLost(Exception):
    """The job is no longer this worker's: deleted, or leased to another."""


class StudyDeleted(Exception):
    """The study was deleted; its job goes on."""


@dataclass(frozen=True)
class LeasedJob:
    """A job that a worker has.

    Attributes
    ----------
    seq, upload, number, input, alias, arrived, at_part, reading
        As in :class:`~ichor.jobs.tables.Job`.
    worker
        Who has it.
    attempts
        This one included.
    """

    seq: int
    upload: str
    number: int
    input: str
    alias: str | None
    arrived: float
    at_part: int | None
    worker: str
    attempts: int
    reading: dict[str, Any] | None = None


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

    def add(
        self,
        upload: str,
        inputs: Sequence[str],
        alias: str | None = None,
        reading: dict[str, Any] | None = None,
    ) -> None:
        """Queue the inputs of an upload, each with a row of its own; nothing where it was queued before."""
        now = time.time()
        with self.database.write() as session:
            if session.scalar(select(Job).where(col(Job.upload) == upload).limit(1)) is not None:
                return
            turn = next_turn(session)
            for number, name in enumerate(inputs):
                job = Job(
                    upload=upload,
                    number=number,
                    input=name,
                    arrived=now,
                    turn=turn + number,
                    alias=alias,
                    reading=reading,
                )
                session.add(job)
                session.flush()
                label = short_label(f"{upload}/{number}" if number else upload)
                study = Study(id=new_id(), job=job.seq or 0, arrived=now, label=label, alias=alias)
                session.add(study)
                add_event(session, study.id)

    def is_known(self, upload: str) -> bool:
        """Tell whether an upload was queued before, and none of its studies was deleted since."""
        with self.database.read() as session:
            return _exists(session, select(Job).where(col(Job.upload) == upload))

    def lease(self, worker: str) -> LeasedJob | None:
        """Take the job whose turn it is; None where none waits."""
        now = time.time()
        lapsed = (col(Job.state) == "leased") & (col(Job.lease_until) < now)
        free = or_(col(Job.state) == "queued", lapsed)
        # One whose worker fell silent comes after those that did no harm yet.
        found = select(Job).where(free).order_by(col(Job.state).desc(), col(Job.turn), col(Job.seq)).limit(1)
        with self.database.read() as session:  # whoever has nothing to do takes no lock
            if session.scalars(found).first() is None:
                return None
        with self.database.write() as session:
            job = session.scalars(found.with_for_update(skip_locked=True)).first()
            if job is None:
                return None
            if job.state == "leased":
                job.turn = next_turn(session)
            job.state, job.leased_by, job.lease_until = "leased", worker, now + LEASE_S
            job.attempts += 1
            return LeasedJob(
                seq=job.seq or 0,
                upload=job.upload,
                number=job.number,
                input=job.input,
                alias=job.alias,
                arrived=job.arrived,
                at_part=job.at_part,
                worker=worker,
                attempts=job.attempts,
                reading=job.reading,
            )

    def renew(self, leased: LeasedJob) -> bool:
        """Keep a job for longer; False where it is no longer this worker's."""
        with self.database.write() as session:
            return _touch(session, leased, lease_until=time.time() + LEASE_S)

    def release(self, worker: str | None = None, *, uncounted: bool = False, behind: bool = True) -> int:
        """Give back what a worker had, or all workers: it ended, and will not come back.

        Parameters
        ----------
        worker
            Whose jobs; None for everybody's.
        uncounted
            The worker was asked to end, or the database or the disk was away: no attempt that failed.
        behind
            The jobs go behind all that wait; else they keep their turn.

        Returns
        -------
        int
            Number of jobs.
        """
        with self.database.write() as session:
            held = select(Job).where(col(Job.state) == "leased").order_by(col(Job.turn))
            if worker is not None:
                held = held.where(col(Job.leased_by) == worker)
            jobs = session.scalars(held.with_for_update()).all()
            turn = next_turn(session)
            for number, job in enumerate(jobs):
                job.state, job.leased_by, job.lease_until = "queued", None, None
                job.turn = turn + number if behind else job.turn
                if uncounted:
                    job.attempts, job.at_part = job.attempts - 1, None
                for study in session.scalars(_open_rows(job.seq or 0)).all():
                    study.state = "queued"
                    add_event(session, study.id)
            return len(jobs)

    def close_part(self, leased: LeasedJob) -> None:
        """Note that a part and its report are done, or were there: the next one is being read.

        Raises
        ------
        LeaseLost
            Where the job is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased, at_part=None):
                raise LeaseLost

    def skip_part(self, leased: LeasedJob, code: str, message: str) -> bool:
        """Refuse the part whose assessment ended the worker again and again; the rest of its job gets its turn.

        Returns
        -------
        bool
            False where the worker ended while it read: then it is not known which part was to blame.

        Raises
        ------
        LeaseLost
            Where the job is no longer this worker's.
        """
        if leased.at_part is None:
            return False
        with self.database.write() as session:
            if not _touch(session, leased, attempts=1, at_part=None):
                raise LeaseLost
            for study in session.scalars(_open_rows(leased.seq).where(col(Study.part) == leased.at_part)):
                _refuse(session, study, code, message)
        return True

    def is_done(self, leased: LeasedJob) -> bool:
        """Tell whether the part at which a job was interrupted had been assessed or refused."""
        part = select(Study).where(col(Study.job) == leased.seq, col(Study.part) == leased.at_part)
        with self.database.read() as session:
            return _exists(session, part.where(col(Study.state).in_(FINAL)))

    def give_up(self, leased: LeasedJob, code: str, message: str) -> None:
        """Refuse every row of a job that is not done; a row of its own says so where all that were known are done.

        Raises
        ------
        LeaseLost
            Where the job is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased):
                raise LeaseLost
            rows = list(session.scalars(_open_rows(leased.seq)))
            if not rows:
                last = session.scalar(select(func.max(col(Study.part))).where(col(Study.job) == leased.seq))
                dropped = session.scalars(select(Job).where(col(Job.seq) == leased.seq)).one().dropped
                rows = [_new_row(leased, max([-1, *dropped, *([] if last is None else [last])]) + 1)]
                session.add_all(rows)
            for study in rows:
                _refuse(session, study, code, message)

    def finish(self, leased: LeasedJob) -> Finished:
        """Note that nothing of a job is left to do.

        Raises
        ------
        LeaseLost
            Where it is no longer this worker's.
        """
        with self.database.write() as session:
            if not _touch(session, leased, state="done", leased_by=None, lease_until=None, at_part=None):
                raise LeaseLost
            # Rows of an attempt before that nothing took this time: they say so, none is dropped silently.
            for study in session.scalars(_open_rows(leased.seq)).all():
                _refuse(session, study, "no_image", _NOTHING)
            session.flush()
            job = session.scalars(select(Job).where(col(Job.seq) == leased.seq)).one()
            deleted = bool(job.dropped)
            studies = _exists(session, select(Study).where(col(Study.job) == leased.seq))
            if not studies:
                session.delete(job)
                session.flush()
            waiting = select(Job).where(col(Job.upload) == leased.upload, col(Job.state) != "done")
            offered = _exists(session, _offering().where(col(Job.upload) == leased.upload))
            return Finished(studies, not _exists(session, waiting), deleted, offered)

    def has_waiting(self) -> bool:
        """Tell whether some job waits."""
        with self.database.read() as session:
            return _exists(session, select(Job).where(col(Job.state) == "queued"))

    def finished_uploads(self, uploads: Sequence[str]) -> list[str]:
        """Return those uploads that are known, and of which nothing is left to do."""
        with self.database.read() as session:
            known = set(session.scalars(select(col(Job.upload))))
            waiting = set(session.scalars(select(col(Job.upload)).where(col(Job.state) != "done")))
            offered = set(session.scalars(_offering()))
        return [upload for upload in uploads if upload in known - waiting - offered]

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
                study = _new_row(leased, part)
                session.add(study)
                add_event(session, study.id)
            job.at_part = part
            return Part(study.id, study.state in FINAL)

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

    def label(self, study: str) -> str:
        """Return the code by which people know a study: it is given at arrival, and stays when the study is read."""
        with self.database.read() as session:
            found = session.scalar(select(col(Study.label)).where(col(Study.id) == study))
        if found is None:
            raise StudyDeleted
        return str(found)

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


def _new_row(leased: LeasedJob, part: int) -> Study:
    return Study(
        id=new_id(),
        job=leased.seq,
        part=part,
        arrived=leased.arrived,
        label=short_label(f"{leased.upload}/{leased.number}/{part}"),
        alias=leased.alias,
        state="reading",
        started=time.time(),
    )


def _refuse(session: Session, study: Study, code: str, message: str) -> None:
    study.state, study.finished = "refused", time.time()
    study.refusal_code, study.refusal_message = code, message
    add_event(session, study.id)


def _open_rows(job: int) -> Select[Any]:
    return (
        select(Study).where(col(Study.job) == job, col(Study.state).not_in(FINAL)).order_by(col(Study.part))
    )


def _offering() -> Select[Any]:
    """Select uploads of refused studies that may be read from another series."""
    of_study = select(col(Job.upload)).join(Study, col(Study.job) == col(Job.seq))
    return of_study.where(col(Study.series).is_not(None))


def next_turn(session: Session) -> int:
    """Return the turn behind all jobs."""
    return int(session.scalar(select(func.max(col(Job.turn)))) or 0) + 1


def _exists(session: Session, query: Select[Any]) -> bool:
    return session.scalars(query.limit(1)).first() is not None


def _touch(session: Session, leased: LeasedJob, **values: Any) -> bool:
    """Change a job if it is still this worker's."""
    mine = update(Job).where(col(Job.seq) == leased.seq, col(Job.leased_by) == leased.worker)
    return _count(session, mine.values(**(values or {"leased_by": leased.worker}))) == 1


def _count(session: Session, statement: Any) -> int:
    """Run a change; return the number of rows it changed."""
    return int(getattr(session.execute(statement), "rowcount", 0))

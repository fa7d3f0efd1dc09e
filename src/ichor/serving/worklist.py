"""The worklist: what stands in it, in which order, and how a study leaves it.

The order: studies that are flagged and not yet read come first, the most probable one at the top. All others follow in
the order of their arrival. So a high probability may raise a study; a low one never lowers it among those that are
not raised.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Numeric, Select, and_, case, cast, delete, func, or_, select
from sqlmodel import Session, col

from ichor.jobs.database import Database
from ichor.jobs.queue import add_event
from ichor.jobs.storage import Storage, remove
from ichor.jobs.tables import Event, Job, StoredFindings, StoredIdentity, Study, Verdict
from ichor.uids import hashed_uid

__all__ = ["Worklist", "WorklistQuery", "WorklistRow"]

_RAISED = and_(col(Study.flagged), col(Study.read_at).is_(None), col(Study.duplicate_of).is_(None))
_EVENTS_KEPT_S = 3600.0
_EVENTS_KEPT = 2000


@dataclass(frozen=True)
class WorklistQuery:
    """Which rows are asked for, and in which order; None for no matter."""

    state: tuple[str, ...] = ()
    q: str = ""
    flagged: bool | None = None
    verdict: str | None = None
    read: bool | None = None
    duplicates: bool = False
    unread_first: bool = False


@dataclass(frozen=True)
class WorklistRow:
    """A row, and its place in the whole worklist, from 1; None for a duplicate, which has none."""

    study: Study
    place: int | None


class Worklist:
    """Rows of one database, and their files.

    Parameters
    ----------
    database, storage
        Of the server.
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self.database = database
        self.storage = storage

    def rows(self, chosen: WorklistQuery, limit: int, offset: int) -> tuple[int, list[WorklistRow]]:
        """Return the number of rows that fit, and some of them in order."""
        places = _places().subquery()
        with self.database.read() as session:
            fitting = _filtered(select(func.count()).select_from(Study), chosen)
            total = int(session.scalar(fitting) or 0)
            query = select(Study, places.c.place).outerjoin(places, places.c.id == col(Study.id))
            first: list[Any] = (
                [case((col(Study.read_at).is_(None), 0), else_=1)] if chosen.unread_first else []
            )
            query = _filtered(query, chosen).order_by(*first, *_order()).limit(limit).offset(offset)
            return total, [WorklistRow(study, place) for study, place in session.execute(query)]

    def get(self, study: str) -> WorklistRow | None:
        """Return one row."""
        places = _places().subquery()
        with self.database.read() as session:
            query = select(Study, places.c.place).outerjoin(places, places.c.id == col(Study.id))
            row = session.execute(query.where(col(Study.id) == study)).first()
            return WorklistRow(row[0], row[1]) if row else None

    def of_upload(self, upload: str) -> list[WorklistRow] | None:
        """Return the rows of an upload; None where it was not completed, or was deleted."""
        with self.database.read() as session:
            job = session.scalar(select(Job).where(col(Job.upload) == upload).limit(1))
            if job is None:
                return None
            query = select(col(Study.id)).join(Job, col(Job.seq) == col(Study.job))
            query = query.where(col(Job.upload) == upload).order_by(col(Job.number), col(Study.part))
            studies = list(session.scalars(query))
        return [row for study in studies if (row := self.get(study)) is not None]

    def stored_findings(self, study: str) -> StoredFindings | None:
        """Return the findings of a study, or of the one that it is a duplicate of."""
        with self.database.read() as session:
            row = session.get(Study, study)
            return None if row is None else session.get(StoredFindings, row.duplicate_of or row.id)

    def is_pending(self, study: str) -> bool:
        """Tell whether something of a study's upload is still to be done."""
        with self.database.read() as session:
            row = session.get(Study, study)
            job = None if row is None else session.get(Job, row.job)
            return job is not None and job.state != "done"

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each state."""
        with self.database.read() as session:
            query = select(col(Study.state), func.count()).group_by(col(Study.state))
            found = {str(state): int(n) for state, n in session.execute(query)}
        return {s: found.get(s, 0) for s in ("queued", "reading", "detecting", "ready", "refused")}

    def oldest_waiting_s(self) -> float:
        """Return how long the study at the head of the queue has waited."""
        with self.database.read() as session:
            first = session.scalar(select(func.min(col(Study.arrived))).where(col(Study.state) == "queued"))
        return max(0.0, time.time() - float(first)) if first is not None else 0.0

    def set_alias(self, study: str, alias: str | None) -> bool:
        """Give a study a name of the user's; False where there is none."""
        with self.database.write() as session:
            row = session.get(Study, study)
            if row is None:
                return False
            row.alias = alias or None
            add_event(session, study)
            return True

    # -- verdicts --------------------------------------------------------------------------------------

    def set_verdict(self, verdict: Verdict) -> bool:
        """Keep a reader's verdict, in place of the same reader's before; False where there is no study."""
        with self.database.write() as session:
            row = session.get(Study, verdict.study)
            if row is None:
                return False
            session.merge(verdict)
            row.read_by, row.read_at, row.verdict = verdict.reader, verdict.at, verdict.verdict
            add_event(session, verdict.study)
            return True

    def clear_verdict(self, study: str, reader: str | None, spared: Sequence[str] = ()) -> bool:
        """Remove one reader's verdict, or all but those of some; the study is unread again where none is left."""
        with self.database.write() as session:
            row = session.get(Study, study)
            if row is None:
                return False
            removed = delete(Verdict).where(
                col(Verdict.study) == study, col(Verdict.reader).not_in(list(spared))
            )
            session.execute(removed if reader is None else removed.where(col(Verdict.reader) == reader))
            left = session.scalars(
                select(Verdict).where(col(Verdict.study) == study).order_by(col(Verdict.at).desc())
            ).first()
            row.read_by = left.reader if left else None
            row.read_at = left.at if left else None
            row.verdict = left.verdict if left else None
            add_event(session, study)
            return True

    def verdicts(self, study: str | None = None) -> list[tuple[Study, Verdict]]:
        """Return all verdicts, or those of one study, in the order in which they were given."""
        query = select(Study, Verdict).join(Verdict, col(Verdict.study) == col(Study.id))
        if study is not None:
            query = query.where(col(Study.id) == study)
        with self.database.read() as session:
            return [(s, v) for s, v in session.execute(query.order_by(col(Verdict.at)))]

    # -- leaving ---------------------------------------------------------------------------------------

    def delete(self, study: str) -> bool:
        """Remove a study: its row, its findings, its files, and its upload once nothing else needs that."""
        with self.database.write() as session:
            row = session.get(Study, study)
            if row is None:
                return False
            duplicates = session.scalars(select(Study).where(col(Study.duplicate_of) == study)).all()
            studies = [row, *duplicates]
            unneeded = [path for one in studies if (path := self._drop(session, one)) is not None]
        for path in (*(self.storage.study(one.id) for one in studies), *unneeded):
            remove(path)
        self.database.scrub()
        return True

    def _drop(self, session: Session, row: Study) -> Path | None:
        """Remove a row and what hangs on it; return the uploaded files that nothing needs any more, if so.

        Whoever deletes a study before it was read means all of its input; after that, this study of it.
        """
        for table in (StoredFindings, StoredIdentity, Verdict):
            session.execute(delete(table).where(col(table.study) == row.id))
        session.delete(row)
        session.flush()
        add_event(session, row.id, "deleted")
        job = session.get_one(Job, row.job)
        left = session.scalar(select(func.count()).select_from(Study).where(col(Study.job) == row.job))
        if left or not (job.state == "done" or row.state in ("queued", "reading")):
            job.dropped = [*job.dropped, row.part]
            return None
        upload, name = job.upload, job.input
        session.delete(job)
        session.flush()
        others = session.scalars(select(Job).where(col(Job.upload) == upload).limit(1)).first()
        return self.storage.upload(upload) if others is None else self.storage.upload_input(upload, name)

    def delete_older(self, seconds: float, now: float) -> int:
        """Remove every study that arrived longer before ``now``; return how many."""
        with self.database.read() as session:
            arrived_before = col(Study.arrived) < now - seconds
            old = list(session.scalars(select(col(Study.id)).where(arrived_before)))
        return sum(self.delete(study) for study in old)

    def sweep(self, unfinished_s: float, now: float) -> int:
        """Remove files that no row knows, such as of uploads that were never completed; return how many.

        Parameters
        ----------
        unfinished_s
            Seconds since the last byte came, after which an upload is given up.
        now
            Seconds since 1970.
        """
        with self.database.write() as session:
            newest = session.scalar(select(func.max(col(Event.id)))) or 0
            old = and_(col(Event.at) < now - _EVENTS_KEPT_S, col(Event.id) <= newest - _EVENTS_KEPT)
            session.execute(delete(Event).where(old))
            done = select(Job).where(
                col(Job.state) == "done", ~select(Study).where(col(Study.job) == col(Job.seq)).exists()
            )
            for job in session.scalars(done).all():
                session.delete(job)
        with self.database.read() as session:
            known = set(session.scalars(select(col(Study.id))))
            waiting = set(session.scalars(select(col(Job.upload))))
        count = 0
        for folder, names, age in (
            (self.storage.studies, known, 3600.0),
            (self.storage.uploads, waiting, unfinished_s),
        ):
            for entry in folder.iterdir():
                if entry.name not in names and now - _changed_at(entry) > age:
                    remove(entry)
                    count += 1
        return count


def _changed_at(folder: Path) -> float:
    """Return when something in a folder changed last."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        try:
            newest = max(newest, path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return newest


def _order() -> list[Any]:
    raised = case((_RAISED, 0), else_=1)
    # As it is shown, with two decimals: among equals the one with more blood outlined comes first.
    shown = func.round(cast(col(Study.probability), Numeric), 2)
    urgency = case((_RAISED, -shown), else_=0)
    outlined = case((_RAISED, -func.coalesce(col(Study.volume_ml), 0.0)), else_=0.0)
    return [raised, urgency, outlined, col(Study.arrived), col(Study.job), col(Study.part)]


def _places() -> Select[Any]:
    number = func.row_number().over(order_by=_order()).label("place")
    return select(col(Study.id).label("id"), number).where(col(Study.duplicate_of).is_(None))


def _filtered(query: Select[Any], chosen: WorklistQuery) -> Select[Any]:
    if not chosen.duplicates:
        query = query.where(col(Study.duplicate_of).is_(None))
    if chosen.state:
        query = query.where(col(Study.state).in_(chosen.state))
    if chosen.flagged is not None:
        query = query.where(col(Study.flagged) == chosen.flagged)
    if chosen.verdict is not None:
        query = query.where(col(Study.verdict) == chosen.verdict)
    if chosen.read is not None:
        read = col(Study.read_at).is_not(None)
        query = query.where(read if chosen.read else ~read)
    if words := chosen.q.strip():
        like = "%" + words.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        plain = hashed_uid(words)  # who has the original UID finds its study
        found = [
            func.lower(c).like(like, escape="\\")
            for c in (col(Study.label), col(Study.alias), col(Study.read_by))
        ]
        uids = [c.in_((words, plain)) for c in (col(Study.study_uid), col(Study.series_uid))]
        query = query.where(or_(*found, *uids, col(Study.id) == words))
    return query

"""The outbox: what is to be delivered where, kept in the database until it is, whoever is killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.storage import new_id
from ichor.jobs.tables import Delivery, Job, Study
from ichor.node.config import Retrying

__all__ = ["DONE", "FORWARDED", "Outbox", "Outgoing"]

FORWARDED = "forward"
"""Folder of files that are handed on as they came."""

DONE = ("delivered", "given_up", "withdrawn")
"""States in which a delivery stays."""


@dataclass(frozen=True)
class Outgoing:
    """A delivery that is due.

    Attributes
    ----------
    id, upload, study, destination, attempts, created, transaction
        As in :class:`~ichor.jobs.tables.Delivery`.
    awaits_commitment
        Whether the objects were sent, and the archive's word is awaited.
    is_made
        Whether it was delivered.
    """

    id: str
    upload: str
    study: str | None
    destination: str
    attempts: int
    created: float
    transaction: str | None
    awaits_commitment: bool
    is_made: bool = False


class Outbox:
    """Deliveries of one database.

    Parameters
    ----------
    database
        Migrated.
    retrying
        How long each is tried.
    """

    def __init__(self, database: Database, retrying: Retrying) -> None:
        self.database = database
        self.retrying = retrying

    def add(self, upload: str, study: str | None, destinations: Sequence[str]) -> int:
        """Note what is to be delivered; what was noted before is left as it is. Returns how many are new."""
        now = time.time()
        with self.database.write() as session:
            known = select(col(Delivery.destination)).where(
                col(Delivery.upload) == upload,
                col(Delivery.study) == study if study is not None else col(Delivery.study).is_(None),
            )
            new = [name for name in destinations if name not in set(session.scalars(known))]
            session.add_all(
                Delivery(id=new_id(), upload=upload, study=study, destination=name, created=now, next_at=now)
                for name in new
            )
            return len(new)

    def studies_of(self, upload: str) -> tuple[list[Study], bool] | None:
        """Return the results of an upload, and whether there will be no others; None where it was deleted."""
        with self.database.read() as session:
            jobs = session.scalars(select(Job).where(col(Job.upload) == upload)).all()
            if not jobs:
                return None
            of_jobs = col(Study.job).in_([job.seq for job in jobs])
            studies = list(session.scalars(select(Study).where(of_jobs).order_by(col(Study.part))))
            return studies, all(job.state == "done" for job in jobs)

    def next_due(self, destination: str, now: float) -> Outgoing | None:
        """Return what is due for a destination: studies that are flagged come first, then in order of arrival."""
        with self.database.read() as session:
            flagged = func.coalesce(Study.flagged, False)
            query = (
                select(Delivery)
                .outerjoin(Study, col(Study.id) == col(Delivery.study))
                .where(
                    col(Delivery.destination) == destination,
                    col(Delivery.state).not_in(DONE),
                    col(Delivery.next_at) <= now,
                )
                .order_by(flagged.desc(), col(Delivery.created), col(Delivery.id))
                .limit(1)
            )
            row = session.scalars(query).first()
            if row is None:
                return None
            return _outgoing(row)

    def finish(self, outgoing: Outgoing, state: str = "delivered") -> None:
        """Note that nothing of a delivery is left to do."""
        self._set(
            outgoing.id, state=state, finished=time.time(), error=None if state == "delivered" else state
        )

    def await_commitment(self, outgoing: Outgoing, transaction: str, seconds: float) -> None:
        """Note that the objects were sent; without the archive's word within some seconds they are sent again."""
        self._set(outgoing.id, state="committing", transaction_uid=transaction, next_at=time.time() + seconds)

    def retry(self, outgoing: Outgoing, error: str) -> bool:
        """Note a failure; the delivery is tried again later, and later each time. False where it is given up."""
        now = time.time()
        attempts = outgoing.attempts + 1
        if now - outgoing.created > self.retrying.days * 86_400:
            self._set(outgoing.id, state="given_up", finished=now, error=error, attempts=attempts)
            return False
        wait = min(self.retrying.first_seconds * 2 ** min(attempts - 1, 20), self.retrying.most_seconds)
        self._set(
            outgoing.id,
            state="waiting",
            attempts=attempts,
            next_at=now + wait,
            error=error,
            transaction_uid=None,
        )
        return True

    def of_study(self, destination: str, study_uid: str) -> list[tuple[Outgoing, Study]]:
        """Return the deliveries of all results of a study to a destination, in the order of its assessments.

        Parameters
        ----------
        destination
            Its name.
        study_uid
            Of :attr:`ichor.jobs.tables.Study.study_uid`.
        """
        query = (
            select(Delivery, Study)
            .join(Study, col(Study.id) == col(Delivery.study))
            .where(col(Delivery.destination) == destination, col(Study.study_uid) == study_uid)
            .order_by(col(Study.job), col(Study.part))
        )
        with self.database.read() as session:
            return [(_outgoing(delivery), study) for delivery, study in session.execute(query)]

    def awaiting(self, destination: str) -> list[Outgoing]:
        """Return the deliveries of which an archive has not yet said that it keeps them."""
        query = select(Delivery).where(
            col(Delivery.destination) == destination, col(Delivery.state) == "committing"
        )
        with self.database.read() as session:
            return [_outgoing(row) for row in session.scalars(query)]

    def give_up_unknown(self, destinations: Sequence[str]) -> int:
        """Give up what is to go to destinations that the configuration has no more; returns how many."""
        left = select(Delivery).where(
            col(Delivery.destination).not_in(list(destinations)), col(Delivery.state).not_in(DONE)
        )
        with self.database.write() as session:
            rows = session.scalars(left).all()
            for row in rows:
                row.state, row.error, row.finished = "given_up", "no_destination", time.time()
            return len(rows)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of deliveries by destination and state."""
        with self.database.read() as session:
            query = select(col(Delivery.destination), col(Delivery.state), func.count())
            grouped = query.group_by(col(Delivery.destination), col(Delivery.state))
            return {(str(d), str(s)): int(n) for d, s, n in session.execute(grouped)}

    def oldest_waiting_s(self) -> float:
        """Return how long the oldest delivery has been tried."""
        with self.database.read() as session:
            query = select(func.min(col(Delivery.created))).where(col(Delivery.state).not_in(DONE))
            oldest = session.scalar(query)
        return max(0.0, time.time() - float(oldest)) if oldest is not None else 0.0

    def is_known(self, upload: str) -> bool:
        """Return whether something of an upload was ever to be delivered."""
        with self.database.read() as session:
            query = select(Delivery).where(col(Delivery.upload) == upload)
            return session.scalars(query.limit(1)).first() is not None

    def is_settled(self, upload: str) -> bool:
        """Return whether nothing of an upload is left to deliver."""
        with self.database.read() as session:
            query = select(Delivery).where(col(Delivery.upload) == upload, col(Delivery.state).not_in(DONE))
            return session.scalars(query.limit(1)).first() is None

    def _set(self, delivery: str, **values: object) -> None:
        with self.database.write() as session:
            row = session.get(Delivery, delivery)
            if row is None:
                return
            for name, value in values.items():
                setattr(row, name, value)


def _outgoing(row: Delivery) -> Outgoing:
    return Outgoing(
        id=row.id,
        upload=row.upload,
        study=row.study,
        destination=row.destination,
        attempts=row.attempts,
        created=row.created,
        transaction=row.transaction_uid,
        awaits_commitment=row.state == "committing",
        is_made=row.state == "delivered",
    )

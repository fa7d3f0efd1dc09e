"""Whose studies they are: kept beside the worklist where the server was asked to show it, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import delete, select
from sqlmodel import col

from ichor.errors import RefusedInput
from ichor.jobs.database import Database
from ichor.jobs.tables import StoredIdentity, Study
from ichor.reading.limits import Limits
from ichor.reading.patient_identity import PatientIdentity, patient_identities

__all__ = ["Identities", "InputIdentities"]


class InputIdentities:
    """Identities of one input's studies, read from its headers when the first is asked for.

    Parameters
    ----------
    path
        The input.
    limits
        How much of it is read.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._found: dict[str, PatientIdentity] | None = None

    def of(self, study_uid: str) -> PatientIdentity | None:
        """Return that of a study, by its UID as stored; None where no header of it is there."""
        if not study_uid:
            return None
        if self._found is None:
            try:
                self._found = patient_identities(self.path, self.limits)
            except RefusedInput:  # spoken of when the input was read
                self._found = {}
        return self._found.get(study_uid)


class Identities:
    """The table of one database.

    Parameters
    ----------
    database
        Migrated.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def store(self, study: str, identity: PatientIdentity) -> None:
        """Keep whose a study is; nothing where the study was deleted meanwhile."""
        with self.database.write() as session:
            if session.get(Study, study) is not None:
                # Databases take no NUL in a text, or end it there.
                texts = {name: text.replace("\0", "") for name, text in asdict(identity).items()}
                session.merge(StoredIdentity(study=study, **texts))

    def of(self, studies: Sequence[str]) -> dict[str, PatientIdentity]:
        """Return those of some studies, by the studies' ids."""
        with self.database.read() as session:
            rows = session.scalars(select(StoredIdentity).where(col(StoredIdentity.study).in_(studies))).all()
            return {row.study: _plain(row) for row in rows}

    def priors(self, study: str) -> list[tuple[Study, PatientIdentity]]:
        """Return assessed exams of the same patient that are not later, the latest first.

        The same patient has the same ID and, where both headers have one, the same name. What has no ID or no date is
        nobody's prior: a wrong one would do harm.
        """
        with self.database.read() as session:
            own = session.get(StoredIdentity, study)
            if own is None or not own.patient_id or not own.date:
                return []
            query = (
                select(Study, StoredIdentity)
                .join(StoredIdentity, col(StoredIdentity.study) == col(Study.id))
                .where(
                    col(StoredIdentity.patient_id) == own.patient_id,
                    col(StoredIdentity.date) <= own.date,
                    col(StoredIdentity.date) != "",
                    col(Study.id) != study,
                    col(Study.state) == "ready",
                    col(Study.duplicate_of).is_(None),
                )
                .order_by(col(StoredIdentity.date).desc(), col(Study.arrived).desc())
            )
            return [(row, _plain(one)) for row, one in session.execute(query) if _same_name(one, own)]

    def forget_all(self) -> None:
        """Remove all of them, for good."""
        with self.database.write() as session:
            removed = getattr(session.execute(delete(StoredIdentity)), "rowcount", 0)
        if removed:
            self.database.scrub()


def _plain(row: StoredIdentity) -> PatientIdentity:
    return PatientIdentity(row.name, row.patient_id, row.accession, row.date, row.description)


def _same_name(one: StoredIdentity, other: StoredIdentity) -> bool:
    names = [" ".join(row.name.casefold().split()) for row in (one, other)]
    return not all(names) or names[0] == names[1]

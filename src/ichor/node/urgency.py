"""The worklist by urgency, as C-FIND returns it: written to a file that the receiver reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.tables import Event, Job, Study
from ichor.node.spool import Spool, load_json, write_json
from ichor.serving.worklist import Worklist, WorklistQuery

__all__ = ["UrgencyList"]

_MOST = 1000
_WORDS = {
    "queued": "waiting",
    "reading": "being read",
    "detecting": "being assessed",
    "refused": "not assessed",
}


class UrgencyList:
    """Writes the list whenever something of it changed.

    Parameters
    ----------
    database, worklist
        Of the server.
    spool
        Of the node.
    """

    def __init__(self, database: Database, worklist: Worklist, spool: Spool) -> None:
        self.database = database
        self.worklist = worklist
        self.spool = spool
        self._written: tuple[int, frozenset[str]] | None = None

    def refresh(self) -> bool:
        """Write it anew where it changed; returns whether it did."""
        with self.database.read() as session:
            newest = int(session.scalar(select(func.max(col(Event.id)))) or 0)
        known = frozenset(path.stem for path in self.spool.identities.glob("*.json"))
        if (newest, known) == self._written:
            return False
        write_json(self.spool.root / "worklist.json", self._entries(known))
        self._written = newest, known
        return True

    def _entries(self, known: frozenset[str]) -> list[dict[str, Any]]:
        _, rows = self.worklist.rows(WorklistQuery(duplicates=True), _MOST, 0)
        with self.database.read() as session:
            found = session.execute(
                select(col(Job.seq), col(Job.upload)).where(col(Job.upload).in_(sorted(known)))
            )
            uploads = {row[0]: row[1] for row in found}
        out: list[dict[str, Any]] = []
        listed: set[str] = set()
        for row in rows:
            upload = uploads.get(row.study.job)
            entry = load_json(self.spool.identities / f"{upload}.json") if upload else None
            if entry is None or entry["identity"]["StudyInstanceUID"] in listed:
                continue  # not of the node, or assessed before some slices came
            listed.add(entry["identity"]["StudyInstanceUID"])
            out.append({"identity": entry["identity"], "comment": _comment(row.study)})
        return out


def _comment(study: Study) -> str:
    if study.state == "ready" and study.probability is not None:
        word = "suspected hemorrhage" if study.flagged else "not detected"
        return f"ichor: {'undetermined' if study.uncertain else word}, probability {study.probability:.2f}"
    return f"ichor: {_WORDS.get(study.state, 'not assessed')}"

"""Carries deliveries out: a thread for each destination, so that one that is away holds up no other."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ichor.findings import Findings
from ichor.jobs.database import Database
from ichor.jobs.logs import log, places
from ichor.jobs.objects import FAILED_FILE
from ichor.jobs.storage import Storage
from ichor.jobs.tables import StoredFindings, Study
from ichor.node.audit import Audit
from ichor.node.commitment import Commitments, keep_commitment
from ichor.node.config import NodeConfig
from ichor.node.destinations import (
    DicomDestination,
    FhirDestination,
    Hl7Destination,
    ObjectDestination,
    StowDestination,
    UpsDestination,
    WebhookDestination,
)
from ichor.node.outbox import FORWARDED, Outbox, Outgoing
from ichor.node.senders.dicom import DicomSender, instances_of
from ichor.node.senders.fhir import send_fhir
from ichor.node.senders.hl7 import control_id, oru_message
from ichor.node.senders.mllp import send_message
from ichor.node.senders.package import Committing, NotDelivered, Package
from ichor.node.senders.stow import send_stow
from ichor.node.senders.ups import EarlierStep, send_ups, step_uid
from ichor.node.senders.webhook import send_webhook
from ichor.node.spool import Spool, load_json
from ichor.uids import hashed_uid

__all__ = ["Carrier", "CarrierParts"]

_IDLE_S = 0.2
_TROUBLE_S = 5.0


class Withdrawn(Exception):
    """What was to be delivered is no more: the study was deleted, or has a later result that replaces it."""


class Impossible(NotDelivered):
    """A failure that no later try would mend."""


@dataclass(frozen=True)
class CarrierParts:
    """What all carriers of a node share.

    Attributes
    ----------
    config, spool, storage, database, outbox
        Of the node.
    count
        Called for counters, with what and why.
    """

    config: NodeConfig
    spool: Spool
    storage: Storage
    database: Database
    outbox: Outbox
    count: Callable[[str, str], None]


class Carrier:
    """Delivers to one destination, one study at a time.

    Parameters
    ----------
    destination
        Which.
    parts
        Of the node.
    """

    def __init__(self, destination: Any, parts: CarrierParts) -> None:
        self.destination = destination
        self.parts = parts
        self.audit = Audit(parts.spool.root / "audit.jsonl")
        self.commitments = Commitments(parts.spool)
        self._event = "delivered" if isinstance(destination, ObjectDestination) else "exported"
        self.ending = threading.Event()
        name = f"to-{destination.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End after what is being sent, or leave it: it is sent again at the next start."""
        self.ending.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self.ending.wait(_IDLE_S):
            try:
                self.settle_commitments()
                while not self.ending.is_set() and self.carry_one(time.time()):
                    pass
            except SQLAlchemyError as error:
                log("database_error", level=logging.WARNING, error=type(error).__name__)
                self.ending.wait(_TROUBLE_S)
            except Exception as error:  # the thread goes on: what failed is still due
                log("delivery_failed", level=logging.ERROR, error=type(error).__name__, at=places(error))
                self.ending.wait(_TROUBLE_S)

    def carry_one(self, now: float) -> bool:
        """Deliver what is due; False where nothing is."""
        outbox = self.parts.outbox
        outgoing = outbox.next_due(self.destination.name, now)
        if outgoing is None:
            return False
        if outgoing.awaits_commitment and self.settle_commitments():
            return True
        fields = {"upload": outgoing.upload, "destination": self.destination.name}
        try:
            waiting = self._deliver(outgoing)
            if waiting is None:
                outbox.finish(outgoing)
        except Withdrawn:
            outbox.finish(outgoing, "withdrawn")
            log("delivery_withdrawn", **fields)
        except NotDelivered as failure:
            again = not isinstance(failure, Impossible) and outbox.retry(outgoing, failure.reason)
            if isinstance(failure, Impossible):
                outbox.finish(outgoing, "given_up")
            event = "delivery_retried" if again else "delivery_given_up"
            log(event, level=logging.WARNING, reason=failure.reason, attempts=outgoing.attempts + 1, **fields)
            self.audit(self._event, outcome=4 if again else 8, reason=failure.reason, **fields)
            self.parts.count("deliveries_failed", failure.reason)
        except (SQLAlchemyError, MemoryError):
            raise
        except Exception as error:  # whatever it is: the other deliveries go on, this one is tried again
            outbox.retry(outgoing, "failed")
            log(
                "delivery_failed", level=logging.ERROR, error=type(error).__name__, at=places(error), **fields
            )
            self.parts.count("deliveries_failed", "failed")
        else:
            if waiting is None:
                self.audit(self._event, **fields)
                self.parts.count("deliveries", self.destination.name)
        return True

    def settle_commitments(self) -> int:
        """Look at the archive's answers; returns how many there were."""
        answered = 0
        for outgoing in self.parts.outbox.awaiting(self.destination.name):
            transaction = outgoing.transaction or ""
            answer = self.commitments.answer(transaction)
            if answer is None:
                continue
            answered += 1
            self._settle(outgoing, answer)
            self.commitments.forget(transaction)
        return answered

    def _settle(self, outgoing: Outgoing, answer: dict[str, list[str]]) -> None:
        """Take an archive at its word only where it names every object, and none as failed."""
        fields = {"upload": outgoing.upload, "destination": self.destination.name}
        try:
            wanted = set(instances_of(self._package(outgoing).files))
        except Withdrawn:
            self.parts.outbox.finish(outgoing, "withdrawn")
            return
        if wanted <= set(answer["committed"]) and not answer["failed"]:
            self.parts.outbox.finish(outgoing)
            self.audit(self._event, committed=len(wanted), **fields)
            self.parts.count("deliveries", self.destination.name)
        else:
            self.parts.outbox.retry(outgoing, "not_committed")
            self.audit(self._event, outcome=4, reason="not_committed", **fields)
            self.parts.count("deliveries_failed", "not_committed")

    def _deliver(self, outgoing: Outgoing) -> Committing | None:
        if outgoing.awaits_commitment:
            raise NotDelivered("no_commitment")
        package = self._package(outgoing)
        destination = self.destination
        title = self.parts.config.listen.ae_title
        if isinstance(destination, ObjectDestination):
            _check_objects(package)
            earlier = []
        else:
            earlier = self._earlier(outgoing, package)
        if isinstance(destination, DicomDestination):
            return self._send(outgoing, package, destination)
        if isinstance(destination, StowDestination):
            send_stow(destination, package.files)
        elif isinstance(destination, UpsDestination):
            self._make_step(outgoing, package, destination, earlier)
        elif isinstance(destination, Hl7Destination):
            send_message(destination, oru_message(package, destination, title), control_id(package))
        elif isinstance(destination, FhirDestination):
            send_fhir(destination, package)
        elif isinstance(destination, WebhookDestination):
            send_webhook(destination, package)
        return None

    def _send(self, outgoing: Outgoing, package: Package, destination: DicomDestination) -> Committing | None:
        files = package.files
        transaction = hashed_uid(f"{outgoing.id}/{outgoing.attempts}/{time.time()}")
        sender = DicomSender(destination, self.parts.config.listen.ae_title)
        waiting = sender.send(files, transaction)
        if waiting is None:
            return None
        # Noted before the archive is asked: its answer may come before this returns.
        self.parts.outbox.await_commitment(outgoing, transaction, destination.commitment_seconds)
        keep = functools.partial(keep_commitment, self.parts.spool)
        sender.commit(waiting, files, keep, lambda: self.commitments.answer(transaction) is not None)
        return waiting

    def _earlier(self, outgoing: Outgoing, package: Package) -> list[tuple[Outgoing, Study]]:
        """Return the deliveries of earlier results of the same study, and those results.

        Raises
        ------
        Withdrawn
            Where a later result is there: whoever takes messages is to have the newest one last.
        """
        study_uid = hashed_uid(package.identity.get("StudyInstanceUID", ""))
        if not study_uid or package.study is None:
            return []
        known = self.parts.outbox.of_study(self.destination.name, study_uid)
        others = [(other, study) for other, study in known if other.upload != outgoing.upload]
        if any(study.job > package.study.job for _, study in others):
            raise Withdrawn
        return others

    def _make_step(
        self,
        outgoing: Outgoing,
        package: Package,
        destination: UpsDestination,
        earlier: list[tuple[Outgoing, Study]],
    ) -> None:
        """Have the worklist show one open step of a study: that of its newest result."""
        steps = [
            EarlierStep(step_uid(other.id), other.is_made, study.flagged and not study.uncertain)
            for other, study in earlier
        ]
        for status in send_ups(destination, package, self.parts.config.listen.ae_title, steps):
            reason = f"status_{status:04x}"
            fields = {"upload": outgoing.upload, "destination": destination.name}
            log("step_not_canceled", level=logging.WARNING, reason=reason, **fields)
            self.audit(self._event, outcome=4, reason=f"step_not_canceled_{status:04x}", **fields)
            self.parts.count("steps_not_canceled", reason)

    def _package(self, outgoing: Outgoing) -> Package:
        known = load_json(self.parts.spool.identities / f"{outgoing.upload}.json")
        folder = self.parts.storage.results / outgoing.upload / (outgoing.study or FORWARDED)
        if outgoing.study is None:
            return Package(outgoing.id, None, None, {}, (), folder, outgoing.created, _files(folder, None))
        with self.parts.database.read() as session:
            study = session.get(Study, outgoing.study)
            if study is None or known is None:
                raise Withdrawn
            stored = session.get(StoredFindings, study.duplicate_of or study.id)
        findings = None if stored is None else Findings.model_validate_json(stored.findings)
        kinds = self.destination.kinds if isinstance(self.destination, ObjectDestination) else None
        return Package(
            id=outgoing.id,
            study=study,
            findings=findings,
            identity={k: str(v) for k, v in known["identity"].items()},
            series=tuple(known["series"]),
            folder=folder,
            made=study.finished or outgoing.created,
            files=_files(folder, kinds),
        )


def _check_objects(package: Package) -> None:
    """Raise where a study has no objects for an archive, and will have none."""
    if (package.folder / FAILED_FILE).exists():
        raise Impossible("no_objects")
    if not package.files:  # none of the kinds that this destination takes is made of such a study
        raise Withdrawn


def _files(folder: Path, kinds: Sequence[str] | None) -> tuple[Path, ...]:
    found = sorted(folder.glob("*.dcm"))
    return tuple(p for p in found if kinds is None or p.stem in kinds)

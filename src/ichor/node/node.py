"""The node beside a server: one database, one queue, one worker, one page."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from ichor.jobs.logs import log, places
from ichor.jobs.queue import FINAL
from ichor.jobs.storage import remove
from ichor.node.audit import Audit
from ichor.node.config import NodeConfig
from ichor.node.delivering import Carrier, CarrierParts
from ichor.node.destinations import ObjectDestination
from ichor.node.intake import Intake
from ichor.node.outbox import Outbox
from ichor.node.receiving import Receiving
from ichor.node.sources import Changes
from ichor.node.spool import Spool, load_json
from ichor.node.stow import stow_router
from ichor.node.urgency import UrgencyList
from ichor.serving.state import Server

__all__ = ["Node"]

_LOOK_S = 0.2
_PURGE_S = 30.0
_ORPHAN_S = 3600.0
_END_S = 5.0


class Node:
    """Runs while a server runs.

    Parameters
    ----------
    config
        As :func:`~ichor.node.config.load_config` gives it.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self._ending = threading.Event()
        self._planned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)

    @property
    def routers(self) -> Sequence[APIRouter]:
        """STOW-RS."""
        return (stow_router(lambda: self.spool, self.config.bounds, self._count),)

    def start(self, server: Server) -> None:
        """Listen, and take up what was left.

        Raises
        ------
        UsageError
            Where the address cannot be listened at.
        """
        self.storage, self.queue = server.storage, server.queue
        self.spool = Spool(
            server.storage.root / "node", server.settings.limits, self.config.bounds.study_instances
        )
        self.audit = Audit(self.spool.root / "audit.jsonl")
        self.outbox = Outbox(server.database, self.config.retrying)
        self.receiving = Receiving(self.config, self.spool.root, self._count)
        self._counter = _counter(server.metrics.registry)
        server.metrics.registry.register(_Now(self.outbox, self.receiving))
        self.intake = Intake(self.config, self.spool, self.queue, self.storage, self.outbox, self._count)
        self.urgency = UrgencyList(server.database, server.worklist, self.spool)
        parts = CarrierParts(self.config, self.spool, self.storage, server.database, self.outbox, self._count)
        self.carriers = [Carrier(destination, parts) for destination in self.config.destinations]
        unknown = self.outbox.give_up_unknown([d.name for d in self.config.destinations])
        if unknown:
            log("deliveries_without_destination", level=logging.WARNING, deliveries=unknown)
            self._counter.labels("deliveries_failed", "no_destination").inc(unknown)
        self.sources = [Changes(s, self.spool, self.config.bounds, self._count) for s in self.config.sources]
        self.receiving.start()
        for source in self.sources:
            source.start()
        self.intake.completion.start()
        for carrier in self.carriers:
            carrier.start()
        self._thread.start()
        self.audit("started", port=self.receiving.port)
        listen = self.config.listen
        print(
            f"ichor: DICOM {listen.ae_title} at {listen.host}:{self.receiving.port}",
            file=sys.stderr,
            flush=True,
        )

    def stop(self) -> None:
        """End; what waits is taken up at the next start."""
        self._ending.set()
        self.receiving.stop()
        for source in self.sources:
            source.stop()
        self.intake.completion.stop()
        for carrier in self.carriers:
            carrier.ending.set()
        for carrier in self.carriers:
            carrier.stop(_END_S)
        self._thread.join(_END_S)
        self.audit("ended")

    def _count(self, what: str, why: str) -> None:
        self._counter.labels(what, why).inc()

    def _run(self) -> None:
        purged = 0.0
        while not self._ending.wait(_LOOK_S):
            try:
                self.intake.look(time.time())
                self.plan()
                self.urgency.refresh()
                if time.monotonic() - purged > _PURGE_S:
                    self.purge(time.time())
                    purged = time.monotonic()
            except (SQLAlchemyError, OSError) as error:  # away just now, or full: tried again
                log("node_interrupted", level=logging.WARNING, error=type(error).__name__, at=places(error))
                self._ending.wait(1.0)
            except Exception as error:
                log("node_failed", level=logging.ERROR, error=type(error).__name__, at=places(error))
                self._ending.wait(1.0)

    def plan(self) -> None:
        """Note for each study that is done where its results are to go."""
        names = [
            d.name for d in self.config.destinations if not isinstance(d, ObjectDestination) or d.results
        ]
        for path in self.spool.identities.glob("*.json"):
            upload = path.stem
            if upload in self._planned:
                continue
            found = self.outbox.studies_of(upload)
            if found is None:
                continue
            studies, complete = found
            for study in studies:
                # Objects are made after the row is final; where there are none when all is done, none will come.
                if complete or (study.state in FINAL and (self.storage.results / upload / study.id).exists()):
                    self.outbox.add(upload, study.id, names)
            if complete:
                self._planned.add(upload)

    def purge(self, now: float) -> None:
        """Remove what was delivered and is old, and what belongs to a study that was deleted."""
        keep_s = self.config.completion.keep_hours * 3600
        wanted: set[str] = set()
        for path in self.spool.identities.glob("*.json"):
            known = load_json(path) or {"study": "", "received": 0.0}
            upload = path.stem
            deleted = not self.queue.is_known(upload)
            old = now - known["received"] > keep_s
            if deleted or (old and upload in self._planned and self.outbox.is_settled(upload)):
                remove(self.storage.results / upload)
                if deleted:
                    self._remove_spooled(known["study"])
                path.unlink(missing_ok=True)
                self._planned.discard(upload)
            else:
                wanted.add(str(known["study"]))
        for study in self.spool.studies():
            old = now - self.spool.last_change(study) > keep_s
            if old and study not in wanted and not self.spool.is_open(study):
                self._remove_spooled(study)
        self.intake.completion.steps.purge(now - keep_s)
        self._purge_forwarded(now)

    def _remove_spooled(self, study: str) -> None:
        if study and not self.spool.is_open(study):
            self.spool.remove_study(study)
            self.audit("purged", study=study)

    def _purge_forwarded(self, now: float) -> None:
        for folder in self.storage.results.iterdir():
            if (self.spool.identities / f"{folder.name}.json").exists():
                continue
            known = self.outbox.is_known(folder.name)
            if (known and self.outbox.is_settled(folder.name)) or (
                not known and _older(folder, now - _ORPHAN_S)
            ):
                remove(folder)


def _older(folder: Path, moment: float) -> bool:
    try:
        return folder.stat().st_mtime < moment
    except FileNotFoundError:
        return False


def _counter(registry: CollectorRegistry) -> Counter:
    return Counter("ichor_node_events", "What the node did, and why", ["event", "reason"], registry=registry)


class _Now(Collector):
    """What is counted when it is asked for."""

    def __init__(self, outbox: Outbox, receiving: Receiving) -> None:
        self.outbox = outbox
        self.receiving = receiving

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> list[Any]:
        labels = ["destination", "state"]
        deliveries = GaugeMetricFamily("ichor_node_deliveries", "Deliveries by state", labels=labels)
        for (destination, state), n in self.outbox.counts().items():
            deliveries.add_metric([destination, state], n)
        oldest = self.outbox.oldest_waiting_s()
        return [
            deliveries,
            GaugeMetricFamily("ichor_node_oldest_seconds", "Age of the oldest delivery that waits", oldest),
            GaugeMetricFamily(
                "ichor_node_receiver_up", "Whether it listens", float(self.receiving.child.is_ready)
            ),
            GaugeMetricFamily(
                "ichor_node_receiver_deaths", "Receivers that died", self.receiving.child.restarts
            ),
        ]

"""When a study is complete: after a quiet time; sooner where the scanner, the archive or a source says so."""

from __future__ import annotations

import logging
import threading

from ichor.jobs.logs import log
from ichor.node.config import AskedArchive, NodeConfig
from ichor.node.senders.counting import count_instances
from ichor.node.senders.package import NotDelivered
from ichor.node.spool import Spool
from ichor.node.steps import Steps

__all__ = ["ArchiveCounts", "Completion"]

_END_S = 5.0


class ArchiveCounts:
    """Asks an archive again and again how many instances it has of the studies that wait.

    A number counts when it was given twice in a row: an archive that is still receiving gives a larger one.

    Parameters
    ----------
    archive
        That is asked.
    ae_title
        Ours.
    spool
        Whose studies wait.
    """

    def __init__(self, archive: AskedArchive, ae_title: str, spool: Spool) -> None:
        self.archive = archive
        self.ae_title = ae_title
        self.spool = spool
        self._given: dict[str, int] = {}
        self._certain: dict[str, int] = {}
        self._failure = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive-counts", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        self._thread.join(_END_S)

    def is_whole(self, study: str) -> bool:
        """Return whether as many instances of a study are here as the archive has."""
        number = self._certain.get(study)
        return number is not None and len(self.spool.instances(study)) == number

    def forget(self, study: str) -> None:
        """Let a study wait for two answers more: it was taken."""
        self._given.pop(study, None)
        self._certain.pop(study, None)

    def ask(self) -> None:
        """Ask once for every study that waits."""
        uids = {study: uid for study in self.spool.waiting() if (uid := self.spool.study_uid(study))}
        if not uids:
            self._given = self._certain = {}
            return
        try:
            found = count_instances(self.archive, self.ae_title, list(uids.values()))
        except NotDelivered as failure:
            if failure.reason != self._failure:
                log("archive_does_not_answer", level=logging.WARNING, reason=failure.reason)
            self._failure, self._given, self._certain = failure.reason, {}, {}
            return
        self._failure = ""
        given = {study: found[uid] for study, uid in uids.items() if uid in found}
        self._certain = {study: n for study, n in given.items() if self._given.get(study) == n}
        self._given = given

    def _run(self) -> None:
        while not self._ending.wait(self.archive.every_seconds):
            try:
                self.ask()
            except Exception as error:  # the quiet time goes on counting
                log("archive_count_failed", level=logging.ERROR, error=type(error).__name__)


class Completion:
    """Says which studies are complete.

    Parameters
    ----------
    config
        Of the node.
    spool
        Where they are.
    """

    def __init__(self, config: NodeConfig, spool: Spool) -> None:
        self.config = config
        self.spool = spool
        self.steps = Steps(spool)
        archive = config.completion.archive
        self.counts = ArchiveCounts(archive, config.listen.ae_title, spool) if archive is not None else None

    def start(self) -> None:
        """Begin to ask."""
        if self.counts is not None:
            self.counts.start()

    def stop(self) -> None:
        """Ask no more."""
        if self.counts is not None:
            self.counts.stop()

    def taken(self, study: str) -> None:
        """Note that a study was taken: what was said of it does not hold for what comes later."""
        self.steps.use(study)
        if self.counts is not None:
            self.counts.forget(study)

    def due(self, now: float) -> dict[str, str]:
        """Return the studies that are complete, and what said so: ``quiet``, ``source``, ``mpps`` or ``archive``."""
        out = dict.fromkeys(self.spool.due(self.config.completion.quiet_seconds, now), "quiet")
        waiting = [study for study in self.spool.waiting() if study not in out]
        by_steps = self.steps.complete(waiting) if waiting else set()
        for study in waiting:
            if self.spool.is_marked_whole(study):
                out[study] = "source"
            elif study in by_steps:
                out[study] = "mpps"
            elif self.counts is not None and self.counts.is_whole(study):
                out[study] = "archive"
        return out

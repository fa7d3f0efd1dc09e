"""From a study that is complete to a job of the queue: the rules applied, the files linked, who it is of noted."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichor.errors import RefusedInput
from ichor.jobs.logs import log
from ichor.jobs.objects import ResultsRequest
from ichor.jobs.queue import Queue
from ichor.jobs.storage import Storage, remove, settle
from ichor.node.audit import Audit
from ichor.node.completion import Completion
from ichor.node.config import NodeConfig
from ichor.node.destinations import UpsDestination
from ichor.node.identity import FACT_TAGS, IDENTITY_TAGS, facts_text, identity_values
from ichor.node.outbox import FORWARDED, Outbox
from ichor.node.rules import Decision, SeriesFacts, decide
from ichor.node.spool import Series, Spool, hashed, write_json
from ichor.node.syntaxes import IMAGE_CLASSES
from ichor.reading.dicom.dataset import open_dataset
from ichor.reading.files import InputFile
from ichor.results import is_own_result

__all__ = ["Intake"]

_INPUT = "000000"
_COMPLETE = "complete"


@dataclass(frozen=True)
class _Sorted:
    """A series, what is done with it, and its first header."""

    series: Series
    decision: Decision
    head: Any


class Intake:
    """Takes complete studies out of the spool.

    Parameters
    ----------
    config
        Of the node.
    spool
        Where they are.
    queue, storage
        Where they go.
    outbox
        Where series that are forwarded go.
    count
        Called for counters, with what and why.

    Attributes
    ----------
    completion
        Says which studies are complete.
    """

    def __init__(
        self,
        config: NodeConfig,
        spool: Spool,
        queue: Queue,
        storage: Storage,
        outbox: Outbox,
        count: Callable[[str, str], None],
    ) -> None:
        self.config = config
        self.spool = spool
        self.queue = queue
        self.storage = storage
        self.outbox = outbox
        self.count = count
        self.completion = Completion(config, spool)
        self.audit = Audit(spool.root / "audit.jsonl")

    def look(self, now: float) -> int:
        """Take what is complete; returns the number of studies."""
        due = self.completion.due(now)
        for study, reason in due.items():
            self.take(study)
            self.count("studies_complete", reason)
        return len(due)

    def take(self, study: str) -> None:
        """Do with a study what the rules say. Doing so again with the same files does nothing more."""
        chosen = [self._sorted(series) for series in self.spool.begin(study)]
        self.completion.taken(study)
        assessed = [one for one in chosen if one.decision.action == "detect"]
        for one in chosen:
            if one.decision.action == "drop":
                self._drop(study, one)
            elif one.decision.action == "forward":
                self._forward(study, one)
        if assessed:
            self._submit(study, assessed)
        self.spool.end(study)

    def _sorted(self, series: Series) -> _Sorted:
        tags = [*FACT_TAGS, *IDENTITY_TAGS]
        try:
            head = open_dataset(InputFile(series.files[0], "object"), self.spool.limits, tags=tags)
        except RefusedInput:
            return _Sorted(series, Decision("drop", "unreadable"), None)
        descriptions = [facts_text(head, tag) for tag in ("StudyDescription", "SeriesDescription")]
        facts = SeriesFacts(
            called=series.origin.called,
            station=facts_text(head, "StationName"),
            description=" ".join(filter(None, descriptions)),
            body_part=facts_text(head, "BodyPartExamined"),
            is_image=facts_text(head, "SOPClassUID") in IMAGE_CLASSES,
            is_own=is_own_result(head),
        )
        return _Sorted(series, decide(self.config.rules, facts), head)

    def _drop(self, study: str, one: _Sorted) -> None:
        for path in one.series.files:
            path.unlink(missing_ok=True)
        self.audit("dropped", study=study, reason=one.decision.reason, instances=len(one.series.files))
        self.count("series_dropped", one.decision.reason)

    def _forward(self, study: str, one: _Sorted) -> None:
        name = hashed("forward|" + "|".join(sorted(p.name for p in one.series.files)))
        if self.outbox.is_known(name):
            return
        _link(one.series.files, self.storage.results / name / FORWARDED)
        if self.outbox.add(name, None, [one.decision.to or ""]):
            log("series_forwarded", study=study, instances=len(one.series.files))
            self.count("series_forwarded", one.decision.reason)

    def _objects(self, series: Series) -> list[tuple[str, str]]:
        """Return class and UID of each instance, where a procedure step is to name them."""
        if not any(isinstance(d, UpsDestination) for d in self.config.destinations):
            return []
        tags = ["SOPClassUID", "SOPInstanceUID"]
        out = []
        for path in series.files:
            with contextlib.suppress(RefusedInput):  # reading says so in its notices
                head = open_dataset(InputFile(path, "object"), self.spool.limits, tags=tags)
                out.append((facts_text(head, tags[0]), facts_text(head, tags[1])))
        return out

    def _submit(self, study: str, assessed: list[_Sorted]) -> None:
        """Queue a study: the name follows from its files, so that the same again is the same upload."""
        files = [path for one in assessed for path in one.series.files]
        upload = hashed(study + "|" + "|".join(sorted(p.name for p in files)))
        if self.queue.is_known(upload):
            self.count("studies", "known")
            return
        folder = self.storage.upload(upload)
        _link(files, folder / _INPUT)
        ResultsRequest(self.config.kinds).write(folder)
        identity = identity_values(assessed[0].head)
        series = [
            {
                "uid": facts_text(one.head, "SeriesInstanceUID"),
                "instances": len(one.series.files),
                "objects": self._objects(one.series),
            }
            for one in assessed
        ]
        known = {
            "study": study,
            "identity": identity | {"NumberOfStudyRelatedInstances": len(files), "ModalitiesInStudy": "CT"},
            "series": series,
            "calling": assessed[0].series.origin.calling,
            "received": time.time(),
        }
        write_json(self.spool.identities / f"{upload}.json", known)
        self.queue.add(upload, [_INPUT])
        self.audit("assessing", study=study, upload=upload, instances=len(files))
        log("study_complete", level=logging.INFO, upload=upload, instances=len(files))
        self.count("studies", _COMPLETE)


def _link(files: list[Path] | tuple[Path, ...], folder: Path) -> None:
    """Make a folder of hard links, whole or not at all."""
    if folder.exists():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = folder.with_name(f".{folder.name}-made")
    remove(made)
    made.mkdir(mode=0o700)
    for number, path in enumerate(files):
        target = made / f"{number:06d}.dcm"
        try:
            os.link(path, target)
        except OSError:  # a disk without hard links
            shutil.copyfile(path, target)
            settle(target)
    settle(made)
    made.rename(folder)
    settle(folder.parent)

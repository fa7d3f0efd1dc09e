"""Studies of an Orthanc, by its list of changes: those that are stable are fetched, each change once.

The number of the last change whose study is whole in the spool is kept on the disk: who is killed meanwhile fetches
that study again, which changes nothing, and the list goes on from there.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

from ichor.jobs.logs import log, places
from ichor.jobs.storage import new_id
from ichor.node.audit import Audit
from ichor.node.config import Bounds, OrthancSource
from ichor.node.senders.http import download, get, secret
from ichor.node.senders.package import NotDelivered
from ichor.node.spool import NotTaken, Origin, Spool, hashed, load_json, write_json

__all__ = ["Changes", "try_source"]

_PAGE = 100
_NAME = re.compile(r"[0-9a-f-]{1,64}")
_END_S = 5.0
_MOST_LIST = 64 << 20
"""Bytes of the list of a study's instances."""


class Changes:
    """Follows one Orthanc.

    Parameters
    ----------
    source
        Which.
    spool
        Where files go.
    bounds
        Of the node.
    count
        Called for counters, with what and why.
    """

    def __init__(
        self, source: OrthancSource, spool: Spool, bounds: Bounds, count: Callable[[str, str], None]
    ) -> None:
        self.source = source
        self.spool = spool
        self.bounds = bounds
        self.count = count
        self.audit = Audit(spool.root / "audit.jsonl")
        self._path = spool.root / f"source-{source.name}.json"
        self._compared = False
        self._failure = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"from-{source.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a study that is being fetched is fetched again at the next start."""
        self._ending.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.poll()
                self._failure = ""
            except NotDelivered as failure:
                self._failed(failure.reason)
            except NotTaken as refusal:
                self._failed(refusal.reason)
            except Exception as error:  # the list is asked for again, whatever was in it
                log("source_failed", level=logging.ERROR, error=type(error).__name__, at=places(error))
                self._failed("failed")
            self._ending.wait(self.source.every_seconds)

    def _failed(self, reason: str) -> None:
        self._compared = False  # it may be another archive when it is back
        self.count("sources_failed", reason)
        if reason != self._failure:
            log("source_does_not_answer", level=logging.WARNING, source=self.source.name, reason=reason)
        self._failure = reason

    def poll(self) -> int:
        """Take every study that became stable since the last time; returns how many.

        Raises
        ------
        NotDelivered
            Where the archive does not answer: what was noted stays, and the next call goes on there.
        NotTaken
            ``full``, likewise.
        """
        taken = 0
        last = self._begin()
        while not self._ending.is_set():
            page = self._ask(f"/changes?since={last}&limit={_PAGE}")
            for change in page["Changes"]:
                if change["ChangeType"] == "StableStudy":
                    self._take(str(change["ID"]))
                    taken += 1
                    self._note(int(change["Seq"]))
                if self._ending.is_set():
                    return taken
                last = int(change["Seq"])
            if page["Changes"]:
                self._note(last)
            if page["Done"] or not page["Changes"]:
                break
        return taken

    def _begin(self) -> int:
        """Return the number of the change that was last seen."""
        known = load_json(self._path)
        if known is not None and self._compared:
            return int(known["last"])
        newest = int(self._ask("/changes?last")["Last"])
        if known is None:
            last = 0 if self.source.from_beginning else newest
            self._note(last)
        else:
            last = int(known["last"])
            if newest < last:  # another archive, or one that was emptied: all of it is new
                log("source_began_anew", level=logging.WARNING, source=self.source.name)
                last = 0
                self._note(last)
        self._compared = True
        return last

    def _note(self, last: int) -> None:
        write_json(self._path, {"last": last})

    def _take(self, name: str) -> None:
        """Fetch what is not in the spool of one study."""
        place = f"/studies/{_checked(name)}"
        try:
            uid = str(self._ask(place)["MainDicomTags"].get("StudyInstanceUID", ""))
            listed = self._ask(f"{place}/instances", most=_MOST_LIST)
        except NotDelivered as failure:
            if failure.reason != "http_404":
                raise
            self.count("sources", "gone")  # deleted there meanwhile
            return
        present = self.spool.instances(hashed(uid))
        for one in listed:
            if hashed(str(one.get("MainDicomTags", {}).get("SOPInstanceUID", ""))) not in present:
                self._fetch(str(one["ID"]))
        self.spool.mark_whole(hashed(uid))
        self.count("sources", "stable_study")

    def _fetch(self, name: str) -> None:
        """Fetch one instance; one that cannot be used is counted, and does not hold up the rest."""
        file = self.spool.receiving / f"{new_id()}.orthanc"
        try:
            self.spool.check_room(self.bounds.spool_bytes, self.bounds.free_bytes)
            url = f"{self.source.url.rstrip('/')}/instances/{_checked(name)}/file"
            download(url, _headers(self.source), self.source.timeout_seconds, file, self.bounds.object_bytes)
            kept = self.spool.take(file, Origin("orthanc", calling=self.source.name))
        except NotTaken as refusal:
            if refusal.reason == "full":  # there may be room later
                raise
            self.audit("not_taken", outcome=4, reason=refusal.reason, way="orthanc")
            self.count("not_taken", refusal.reason)
            return
        except NotDelivered as failure:
            if failure.reason not in ("http_404", "too_large"):
                raise
            self.audit("not_taken", outcome=4, reason=failure.reason, way="orthanc")
            self.count("not_taken", failure.reason)
            return
        finally:
            file.unlink(missing_ok=True)
        self.audit("received", study=kept.study, instance=hashed(kept.sop_instance), way="orthanc")
        self.count("received", "orthanc")

    def _ask(self, path: str, most: int = 1 << 20) -> Any:
        return _ask(self.source, path, most)


def try_source(source: OrthancSource) -> None:
    """Ask an Orthanc for its newest change; nothing is fetched.

    Raises
    ------
    NotDelivered
        Where it does not answer.
    """
    _ask(source, "/changes?last")


def _ask(source: OrthancSource, path: str, most: int = 1 << 20) -> Any:
    answer = get(source.url.rstrip("/") + path, _headers(source), source.timeout_seconds, most)
    try:
        return json.loads(answer)
    except ValueError:
        raise NotDelivered("bad_answer") from None


def _headers(source: OrthancSource) -> dict[str, str]:
    if source.user is None or source.password_file is None:
        return {}
    pair = f"{source.user}:{secret(source.password_file)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _checked(name: str) -> str:
    """Return an identifier of Orthanc's, which becomes part of an address."""
    if _NAME.fullmatch(name) is None:
        raise NotDelivered("bad_answer")
    return name

"""The worker: one process that reads uploads and detects, as long as the server that started it lives.

Started as ``python -m ichor.jobs.worker`` with its settings as one line on standard input. Standard input stays
open: when the server ends, however it ends, it closes, and the worker ends too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ichor.detecting import PictureStack
from ichor.detecting.picture_stack import stacked
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.jobs.assessment import Assessor, failure_message
from ichor.jobs.bundles import BundleChoice
from ichor.jobs.database import Database
from ichor.jobs.identities import Identities, InputIdentities
from ichor.jobs.logs import log, places, start_logs
from ichor.jobs.queue import LEASE_S, MOST_ATTEMPTS, LeasedJob, LeaseLost, Queue
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import Storage, StorageUnavailable, remove
from ichor.reading import read_all
from ichor.reading.files import shown
from ichor.reading.isolation import warm
from ichor.reading.limits import Limits

__all__ = ["Worker", "main"]

_IDLE_S = 0.1
_TURN_S = 60.0
"""After so long, or twice the time that reading took, an input gives way to others between two of its studies."""
_RETRY_S, _MOST_RETRY_S = 2.0, 30.0
_GAVE_UP = (
    "Found that reading or detecting it ended the worker several times; expected a study that can be assessed; "
    "check the files, or try them with ichor detect."
)
_MOST_TO_COMPLETE = 4 * MOST_ATTEMPTS
"""Attempts to write the objects and the report of a part that was assessed."""


class Worker:
    """Takes jobs until it is asked to end.

    Parameters
    ----------
    settings
        Of the server.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.storage = Storage(Path(settings.state))
        self.queue = Queue(Database(settings.database))
        self.limits = Limits.from_environment(**settings.limits)
        self.identities = Identities(self.queue.database)
        bundles = BundleChoice(settings.bundles, self.storage.root)
        self.assessor = Assessor(bundles, self.queue, self.storage, self.limits)
        self.ending = threading.Event()
        self._progress = time.monotonic()
        self._retry_s = _RETRY_S

    @property
    def most_seconds(self) -> float:
        """Wall time after which a part has hung: reading has its own limit, which native code can outstay."""
        return 3 * self.limits.seconds + 120

    def run(self) -> None:
        """Take one job after the other; what the database or the disk interrupts is put back, and taken later."""
        while not self.ending.is_set():
            try:
                leased = self.queue.lease(self.settings.name)
                if leased is None:
                    self.ending.wait(_IDLE_S)
                    continue
                with self._held(leased):
                    self.do(leased)
                self._retry_s = _RETRY_S
            except LeaseLost:
                continue
            except (SQLAlchemyError, StorageUnavailable) as error:
                log("interrupted", level=logging.WARNING, error=type(error).__name__)
                self._put_back()

    def do(self, leased: LeasedJob) -> None:
        """Read a job and assess what it holds; what was finished by an attempt before is passed over.

        Raises
        ------
        LeaseLost
            Where it was deleted meanwhile.
        StorageUnavailable
            Where nothing can be written.
        """
        log("job_taken", job=leased.seq, attempt=leased.attempts)
        self.queue.begin_reading(leased)
        self.assessor.bundles.follow()
        too_often = self._is_too_often(leased)
        if too_often and not self.queue.skip_part(leased, "gave_up", _GAVE_UP):
            self.queue.give_up(leased, "gave_up", _GAVE_UP)
        else:
            try:
                if not self._read(leased, skipped=leased.at_part if too_often else None):
                    return
            except (LeaseLost, SQLAlchemyError, StorageUnavailable):
                raise
            except Exception as error:  # whatever it is: the queue goes on, and the study says so
                log("job_failed", job=leased.seq, error=type(error).__name__, at=places(error))
                self.queue.give_up(leased, "failed", failure_message(error))
        self._finish(leased)

    def _is_too_often(self, leased: LeasedJob) -> bool:
        """Tell whether a part has ended the worker so often that it is given up."""
        if leased.attempts <= MOST_ATTEMPTS:
            return False
        # One that was assessed is hardly what ends it, and whoever waits for its objects would wait in vain.
        return leased.attempts > _MOST_TO_COMPLETE or not self.queue.is_done(leased)

    def remove_read_uploads(self) -> None:
        """Remove uploads that a worker before had read, and was killed before it removed them."""
        if self.settings.keep_originals:
            return
        names = [folder.name for folder in self.storage.uploads.iterdir()]
        for upload in self.queue.finished_uploads(names):
            remove(self.storage.upload(upload))

    def _read(self, leased: LeasedJob, skipped: int | None) -> bool:
        """Assess every result of a job but the one skipped; False where it is not done, and to be taken up again."""
        path = self.storage.upload(leased.upload) / leased.input
        began = self._progress = time.monotonic()
        turn_ends: float | None = None
        known = InputIdentities(path, self.limits) if self.settings.show_identity else None
        for number, result in enumerate(self._results(leased, path)):
            self._progress = time.monotonic()
            if isinstance(result, RefusedInput) and _names_disk(result):
                raise StorageUnavailable
            part = self.queue.open_part(leased, number)
            if part is None:
                continue
            if number == skipped:
                log("part_skipped", study=part.study)
                self.assessor.objects.give_up(
                    leased, part.study
                )  # a delivery that waits for them ends, and says so
            elif not part.done:
                # Counted from what is new: each turn brings an input further, however long it reads again.
                turn_ends = turn_ends or self._progress + _turn_s(self._progress - began)
                if known is not None and (identity := known.of(_study_uid(result))):
                    self.identities.store(part.study, identity)
                self.assessor.settle(leased, part.study, result)
            else:
                self.assessor.complete(leased, part.study, result)
            self.queue.close_part(leased)
            if self.ending.is_set():
                return False
            self._progress = time.monotonic()
            if turn_ends is not None and self._progress > turn_ends and self.queue.has_waiting():
                log("turn_over", job=leased.seq, parts=number + 1)
                self.queue.release(self.settings.name, uncounted=True)
                return False
        return True

    def _results(self, leased: LeasedJob, path: Path) -> Iterator[Exam | Picture | RefusedInput]:
        """Read an input as its job says."""
        asked = leased.reading or {}
        series = asked.get("series")
        results = read_all(path, series=series, limits=self.limits, isolated=True)
        if stack := asked.get("stack"):
            yield from stacked(results, shown(os.fspath(path)), PictureStack(**stack), self.limits.voxels)
        elif series is None:
            yield from results
        else:  # one study's: the others of the input have no such series
            refusal: RefusedInput | None = None
            for result in results:
                if not isinstance(result, RefusedInput) or result.code != "series_not_found":
                    yield result
                    return
                refusal = refusal or result
            if refusal is not None:
                yield refusal

    def _finish(self, leased: LeasedJob) -> None:
        """Close a job; of its upload, keep what is not read yet, and what the settings say."""
        finished = self.queue.finish(leased)
        keeps = finished.offered or (self.settings.keep_originals and finished.studies)
        if finished.upload and not self.settings.keep_originals and not finished.offered:
            remove(self.storage.upload(leased.upload))
        elif not keeps:
            remove(self.storage.upload_input(leased.upload, leased.input))
            if finished.upload and not self._holds_files(leased.upload):
                remove(self.storage.upload(leased.upload))
        if finished.deleted:
            # Its last words, such as the alias, were written after whoever deleted it had scrubbed.
            self.queue.database.scrub()
        log("job_done", job=leased.seq)

    def _holds_files(self, upload: str) -> bool:
        folder = self.storage.upload(upload)
        return folder.is_dir() and any(folder.iterdir())

    def _put_back(self) -> None:
        """Give back what is leased, uncounted and behind the others, once that can be done; wait longer each time."""
        while not self.ending.wait(self._retry_s):
            self._retry_s = min(2 * self._retry_s, _MOST_RETRY_S)
            try:
                self.queue.release(self.settings.name, uncounted=True)
            except SQLAlchemyError as error:
                log("database_error", level=logging.WARNING, error=type(error).__name__)
                continue
            if self.storage.is_writable():
                return
            log("storage_unavailable", level=logging.WARNING)

    @contextlib.contextmanager
    def _held(self, leased: LeasedJob) -> Iterator[None]:
        """Keep the lease while a job is done."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(leased, done), daemon=True)
        self._progress = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew(self, leased: LeasedJob, done: threading.Event) -> None:
        while not done.wait(min(LEASE_S / 4, self.most_seconds / 4)):
            if time.monotonic() - self._progress > self.most_seconds:
                log("part_hung", level=logging.WARNING, job=leased.seq)
                os._exit(1)
            try:
                if not self.queue.renew(leased):
                    return
            except SQLAlchemyError as error:
                log("database_error", level=logging.WARNING, error=type(error).__name__)


def _study_uid(result: Exam | Picture | RefusedInput) -> str:
    return result.study_uid if isinstance(result, RefusedInput) else result.source.study_uid


def _turn_s(reading_s: float) -> float:
    """Seconds until an input gives way to others: what must be read again is a part of what was done."""
    return max(_TURN_S, 2 * reading_s)


def _names_disk(refusal: RefusedInput) -> bool:
    """Tell whether reading failed as the disk did: archives are unpacked in the state folder."""
    troubles = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO)
    return any(os.strerror(number) in refusal.found for number in troubles)


def main() -> int:
    """Run a worker until its standard input closes or it is asked to end."""
    settings = WorkerSettings(**json.loads(sys.stdin.readline()))
    start_logs("worker")
    os.umask(0o077)
    storage = Storage(Path(settings.state))
    # One at a time: the worker of a server that was killed may still be ending.
    with storage.lock("worker", wait=True):
        storage.clear_scratch()
        # Archives are unpacked here: what a killed worker leaves behind is gone at the next start.
        tempfile.tempdir = str(storage.reading)
        worker = Worker(settings)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: worker.ending.set())
        threading.Thread(target=_end_with_server, args=(storage,), daemon=True).start()
        with contextlib.suppress(SQLAlchemyError, OSError):  # tried again at the next start
            worker.remove_read_uploads()
        warm()
        print("ready", flush=True)
        worker.run()
        with contextlib.suppress(SQLAlchemyError):  # the next server takes it up
            worker.queue.release(settings.name, uncounted=True, behind=False)
        storage.clear_scratch()
    return 0


def _end_with_server(storage: Storage) -> None:
    # Not through sys.stdin: its lock would be held while the interpreter ends.
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    with contextlib.suppress(OSError):
        storage.clear_scratch()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

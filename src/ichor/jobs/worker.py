"""The worker: one process that reads uploads and detects, as long as the server that started it lives.

Started as ``python -m ichor.jobs.worker`` with its settings as one line on standard input. Standard input stays
open: when the server ends, however it ends, it closes, and the worker ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ichor.errors import RefusedInput
from ichor.jobs.assessment import Assessor, failure_message
from ichor.jobs.database import Database
from ichor.jobs.logs import log, places, start_logs
from ichor.jobs.queue import LEASE_S, MOST_ATTEMPTS, LeasedJob, LeaseLost, Queue, StudyDeleted
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import Storage, remove
from ichor.reading import read_all
from ichor.reading.limits import Limits

__all__ = ["Worker", "main"]

_IDLE_S = 0.1
_RETRY_S = 2.0
_GAVE_UP = (
    "Found that reading or detecting it ended the worker several times; expected a study that can be assessed; "
    "check the files, or try them with ichor detect."
)


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
        self.assessor = Assessor(settings.bundle, self.queue, self.storage)
        self.ending = threading.Event()

    @property
    def most_seconds(self) -> float:
        """Wall time after which a job has hung: reading has its own limit, which native code can outstay."""
        return 3 * self.limits.seconds + 120

    def run(self) -> None:
        """Take one job after the other."""
        while not self.ending.is_set():
            try:
                leased = self.queue.lease(self.settings.name)
                if leased is None:
                    self.ending.wait(_IDLE_S)
                    continue
                with self._held(leased):
                    self.do(leased)
            except LeaseLost:
                continue
            except SQLAlchemyError as error:
                # The database is away: the job stays leased, and is taken again when the lease is over.
                log("database_error", error=type(error).__name__)
                self.ending.wait(_RETRY_S)

    @contextlib.contextmanager
    def _held(self, leased: LeasedJob) -> Iterator[None]:
        """Keep the lease while a job is done."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(leased, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew(self, leased: LeasedJob, done: threading.Event) -> None:
        began = time.monotonic()
        while not done.wait(LEASE_S / 4):
            if time.monotonic() - began > self.most_seconds:
                log("job_hung", job=leased.seq)
                os._exit(1)
            try:
                if not self.queue.renew(leased):
                    return
            except SQLAlchemyError as error:
                log("database_error", error=type(error).__name__)

    def do(self, leased: LeasedJob) -> None:
        """Read a job and assess what it holds; what was finished by an attempt before is passed over.

        Raises
        ------
        LeaseLost
            Where it was deleted meanwhile.
        """
        log("job_taken", job=leased.seq, attempt=leased.attempts)
        self.queue.begin_reading(leased)
        if leased.attempts > MOST_ATTEMPTS:
            self._refuse_rest(leased, "gave_up", _GAVE_UP)
        else:
            try:
                if not self._read(leased):
                    return
            except (LeaseLost, SQLAlchemyError):
                raise
            except (
                Exception
            ) as error:  # whatever it is: the queue goes on, and the study says that it was not assessed
                log("job_failed", job=leased.seq, error=type(error).__name__, at=places(error))
                self._refuse_rest(leased, "failed", failure_message(error))
        any_left = self.queue.finish(leased)
        if not (self.settings.keep_originals and any_left):
            remove(self.storage.upload(leased.upload))
        log("job_done", job=leased.seq)

    def _read(self, leased: LeasedJob) -> bool:
        """Assess every result of a job; False where the worker is to end before that is done."""
        folder = self.storage.upload(leased.upload)
        results = (r for name in leased.inputs for r in read_all(folder / name, limits=self.limits))
        for number, result in enumerate(results):
            part = self.queue.open_part(leased, number)
            if part is None:
                continue
            if not part.done:
                self.assessor.settle(leased, part.study, result)
            elif not isinstance(result, RefusedInput):
                self.assessor.complete(part.study, result)
            if self.ending.is_set():
                return False
        return True

    def _refuse_rest(self, leased: LeasedJob, code: str, message: str) -> None:
        """Refuse every row of a job that is not done."""
        for study in self.queue.open_parts(leased):
            with contextlib.suppress(StudyDeleted):
                self.queue.change(leased, study, state="refused", refusal_code=code, refusal_message=message)


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
        tempfile.tempdir = str(storage.new_scratch())
        worker = Worker(settings)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: worker.ending.set())
        threading.Thread(target=_end_with_server, daemon=True).start()
        print("ready", flush=True)
        worker.run()
        worker.queue.release(settings.name, uncounted=True)
    return 0


def _end_with_server() -> None:
    # Not through sys.stdin: its lock would be held while the interpreter ends.
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

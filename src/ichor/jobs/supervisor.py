"""Keeps one worker alive, from the process that was started."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace

from sqlalchemy.exc import SQLAlchemyError

from ichor.jobs.child import Child, ChildPlan
from ichor.jobs.logs import log
from ichor.jobs.queue import Queue
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import new_id

__all__ = ["Supervisor"]

_END_S = 10.0


class Supervisor:
    """Starts the worker, and another whenever it ends.

    Parameters
    ----------
    settings
        Of the workers.
    queue
        Whose jobs are given back when their worker has died.

    Attributes
    ----------
    child
        The worker's process: ready once it has loaded its model and takes jobs.
    on_done
        Called with the seconds that each study took.
    """

    def __init__(self, settings: WorkerSettings, queue: Queue) -> None:
        self.on_done: Callable[[float], None] = lambda _: None
        self.settings = settings
        self.queue = queue
        self._name = ""
        self.child = Child(ChildPlan("ichor.jobs.worker", self._begin, self._hear, self._died))

    def start(self) -> None:
        """Start to watch. Nobody has a job yet: what is leased was left by a server that was killed."""
        given_back = self.queue.release()
        if given_back:
            log("jobs_taken_up_again", jobs=given_back)
        self.child.start()

    def stop(self) -> None:
        """Ask the worker to end after what it is doing; end it where that takes long."""
        self.child.stop(_terminate, _END_S)
        self._give_back(None)

    def _begin(self) -> str:
        self._name = new_id()
        return json.dumps(asdict(replace(self.settings, name=self._name)))

    def _hear(self, line: str) -> None:
        word, _, value = line.strip().partition(" ")
        if word == "ready":
            self.child.ready.set()
            log("worker_ready")
        elif word == "done":
            self.on_done(float(value))

    def _died(self, code: int) -> bool:
        self._give_back(self._name)
        log("worker_died", level=logging.WARNING, code=code)
        return True

    def _give_back(self, name: str | None) -> None:
        try:
            self.queue.release(name)
        except SQLAlchemyError as error:
            log("database_error", level=logging.WARNING, error=type(error).__name__)


def _terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)

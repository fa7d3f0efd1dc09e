"""Keeps one worker alive, from the process that was started."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from sqlalchemy.exc import SQLAlchemyError

from ichor.jobs.logs import log
from ichor.jobs.queue import Queue
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import new_id

__all__ = ["Supervisor"]

_LEAST_WAIT_S, _MOST_WAIT_S = 0.2, 10.0
_LIVED_S = 20.0
"""A worker that lived so long did not die of its start."""
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
    restarts
        Workers that died so far.
    on_done
        Called with the seconds that each study took.
    """

    def __init__(self, settings: WorkerSettings, queue: Queue) -> None:
        self.on_done: Callable[[float], None] = lambda _: None
        self.settings = settings
        self.queue = queue
        self.restarts = 0
        self._ready = threading.Event()
        self._ending = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether a worker has loaded its model and takes jobs."""
        process = self._process
        return self._ready.is_set() and process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start to watch. Nobody has a job yet: what is leased was left by a server that was killed."""
        given_back = self.queue.release()
        if given_back:
            log("jobs_taken_up_again", jobs=given_back)
        self._thread.start()

    def stop(self) -> None:
        """Ask the worker to end after what it is doing; end it where that takes long."""
        self._ending.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(_END_S)

    def _watch(self) -> None:
        wait = _LEAST_WAIT_S
        while not self._ending.is_set():
            began = time.monotonic()
            name = new_id()
            code = self._run(name)
            self._ready.clear()
            if self._ending.is_set():
                break
            self.restarts += 1
            self._give_back(name)
            log("worker_died", level=logging.WARNING, code=code)
            wait = _LEAST_WAIT_S if time.monotonic() - began > _LIVED_S else min(2 * wait, _MOST_WAIT_S)
            self._ending.wait(wait)
        self._give_back(None)

    def _run(self, name: str) -> int:
        """Run one worker to its end."""
        settings = replace(self.settings, name=name)
        # Settings go through a pipe, not through arguments that every user of the machine can list.
        process = subprocess.Popen(
            [sys.executable, "-m", "ichor.jobs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process = process
        try:
            with process:
                if process.stdin is None or process.stdout is None:
                    return -1
                process.stdin.write(json.dumps(asdict(settings)) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    word, _, value = line.strip().partition(" ")
                    if word == "ready":
                        self._ready.set()
                        log("worker_ready")
                    elif word == "done":
                        self.on_done(float(value))
                return process.wait()
        except BrokenPipeError:
            return process.wait()

    def _give_back(self, name: str | None) -> None:
        try:
            self.queue.release(name)
        except SQLAlchemyError as error:
            log("database_error", level=logging.WARNING, error=type(error).__name__)

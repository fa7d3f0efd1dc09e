"""Processes of this machine, each with a model and a thread of its own; the default, which needs no cluster."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from ichor.bulk.assessing import Task
from ichor.bulk.pools import Outcome
from ichor.bulk.work import WorkerSettings
from ichor.errors import UsageError
from ichor.reading.isolation.wire import CorruptAnswer, receive_line, send_line
from ichor.reading.limits import Limits
from ichor.reading.scratch import ScratchFolder

__all__ = ["LocalPool", "usable_cores"]

_MOST_FALSE_STARTS = 3
"""Workers that die one after the other before any is ready: then it is not the input's fault."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from ichor.bulk.worker import main; main(sys.stdin.buffer)"
)


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class LocalPool:
    """Workers of this machine.

    Parameters
    ----------
    settings
        What each is given.
    jobs
        How many.
    limits
        Those of reading: a worker that stays over one task for much longer hangs, and is ended.
    """

    def __init__(self, settings: WorkerSettings, jobs: int, limits: Limits) -> None:
        self._ended: queue.SimpleQueue[Outcome | UsageError] = queue.SimpleQueue()
        self._waiting: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._given = 0
        self.closing = threading.Event()
        self._false_starts = 0
        self._scratch = ScratchFolder()
        most = 3 * limits.seconds + 120
        self._slots = [_Slot(self, settings, Path(self._scratch.path, str(k)), most) for k in range(jobs)]
        for slot in self._slots:
            slot.start()

    @property
    def free(self) -> int:
        """Workers without a task."""
        return len(self._slots) - self._given

    def submit(self, task: Task) -> None:
        """Give a task to the next worker that is ready."""
        self._given += 1
        self._waiting.put(task)

    def wait(self, seconds: float) -> list[Outcome]:
        """Wait for a task to end.

        Raises
        ------
        UsageError
            Where workers cannot start.
        """
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=seconds))
            while True:
                found.append(self._ended.get_nowait())
        for one in found:
            if isinstance(one, UsageError):
                raise one
        outcomes = [one for one in found if isinstance(one, Outcome)]
        self._given -= len(outcomes)
        return outcomes

    def close(self, seconds: float) -> list[Outcome]:
        """End all workers, first by asking; what they leave in temporary folders goes, too."""
        self.closing.set()
        until = time.monotonic() + seconds
        for slot in self._slots:
            self._waiting.put(None)
            slot.ask_to_end()
        for slot in self._slots:
            slot.end(until)
        self._scratch.clear()
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._ended.get_nowait())
        return [one for one in found if isinstance(one, Outcome) and one.end == "done"]

    # -- what slots call, each from its own thread ------------------------------------------------------

    def next_task(self) -> Task | None:
        """Wait for a task; None in the end."""
        return None if self.closing.is_set() else self._waiting.get()

    def ended(self, outcome: Outcome) -> None:
        """Take how a task ended."""
        self._ended.put(outcome)

    def started(self) -> None:
        """Count a worker that is ready."""
        self._false_starts = 0

    def not_started(self, reason: str, *, final: bool) -> bool:
        """Count a worker that did not start; False where no other shall be tried."""
        self._false_starts += 1
        if final or self._false_starts >= _MOST_FALSE_STARTS:
            self._ended.put(UsageError(reason))
            return False
        return True


class _Slot(threading.Thread):
    """A thread that keeps one worker alive and hands it one task after the other."""

    def __init__(self, pool: LocalPool, settings: WorkerSettings, scratch: Path, most_seconds: float) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self._settings = settings
        self._scratch = scratch
        self._most_seconds = most_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Serve until there are no more tasks."""
        while not self._pool.closing.is_set():
            ready = self._start()
            if ready is None:
                return
            while ready and (task := self._pool.next_task()) is not None:
                ready = self._do(task)
            if ready:
                return

    def ask_to_end(self) -> None:
        """Ask the worker to end as soon as it can."""
        process = self._process
        if process is not None:
            process.terminate()

    def end(self, until: float) -> None:
        """Wait for the worker to end until a time, then end it."""
        process = self._process
        if process is not None:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.join(max(1.0, until - time.monotonic()))

    def _start(self) -> bool | None:
        """Start a worker; True once it is ready, None where no other shall be tried."""
        self._scratch.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            # One process a core with one thread each: more threads gain next to nothing, and cost memory.
            "ICHOR_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "TMPDIR": str(self._scratch),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        answer: dict[str, Any] = {}
        with contextlib.suppress(OSError, EOFError, CorruptAnswer):
            home = str(Path(__file__).parents[2])
            self._input.write(json.dumps([*(p for p in sys.path if p), home]).encode("ascii") + b"\n")
            send_line(self._input, {"settings": self._settings.as_json(), "scratch": str(self._scratch)})
            answer = receive_line(self._output)
        if answer.get("kind") == "ready":
            self._pool.started()
            return True
        self._drop()
        if self._pool.closing.is_set():
            return None
        reason = str(
            answer.get("message")
            or "bulk: found workers that end before they are ready; expected them "
            "to start; run ichor detect on one study, which says why"
        )
        return False if self._pool.not_started(reason, final="message" in answer) else None

    def _do(self, task: Task) -> bool:
        """Have a task done; False where the worker is gone."""
        timer = threading.Timer(self._most_seconds, self._kill)
        timer.daemon = True
        timer.start()
        try:
            send_line(self._input, task.as_json())
            answer = receive_line(self._output)
            self._pool.ended(Outcome(task, "done", answer["rows"]))
        except (OSError, EOFError, CorruptAnswer, KeyError):
            self._drop()
            self._pool.ended(Outcome(task, "died"))
            return False
        finally:
            timer.cancel()
        return True

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _drop(self) -> None:
        """End what is left of a worker, and clear away what it left behind."""
        import shutil

        process = self._process
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def _input(self) -> BinaryIO:
        return self._process.stdin  # type: ignore[union-attr,return-value]

    @property
    def _output(self) -> BinaryIO:
        return self._process.stdout  # type: ignore[union-attr,return-value]

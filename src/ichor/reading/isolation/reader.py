"""One reading process, as its parent sees it: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from ichor.errors import RefusedInput, UsageError
from ichor.reading.isolation.board import Entry, look
from ichor.reading.isolation.memory import resident_bytes
from ichor.reading.isolation.wire import CorruptAnswer, Result, receive, receive_line, send_line
from ichor.reading.limits import Limits
from ichor.reading.scratch import ScratchFolder

__all__ = ["Death", "Reader", "Request"]

_START_S = 120.0
"""A process that has not started by then, on a machine however busy, will not."""
_LOOK_EVERY_S = 0.02
_GRACE_S = 1.0
"""How long after its time a reader may go on: most refuse by themselves, with more to say."""
_ADDRESS_SPACE = 2
"""Times the memory that may be resident: what is reserved and never touched costs nothing."""
_PIPE = 1 << 20
_MOST_FAULT = 200
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from ichor.reading.isolation.child import main; main(sys.stdin.buffer)"
)


@dataclass(frozen=True)
class Request:
    """One reading that is asked for.

    Attributes
    ----------
    path, series, limits
        As :func:`ichor.reading.read_all` has them.
    memory
        Bytes that the process may hold.
    seconds
        Wall time left for this input.
    poisoned
        Files that have ended a reader before, with the code to refuse each with.
    """

    path: str
    series: str | None
    limits: Limits
    memory: int
    seconds: float
    poisoned: dict[str, str] = field(default_factory=dict)


class Death(Exception):
    """A reader has ended before its answer did.

    Parameters
    ----------
    code
        ``decoder_failed``, ``limit_memory`` or ``limit_time``.
    entry
        What it was reading.
    fault
        Kind and place of an error of the reader itself; empty where it died otherwise.
    """

    def __init__(self, code: str, entry: Entry, fault: str = "") -> None:
        self.code = code
        self.entry = entry
        self.fault = fault
        super().__init__(code)


def _widen(pipe: BinaryIO) -> None:
    """Let a pipe hold a megabyte, where Linux does: a volume passes in tens of turns, not in hundreds."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


class _Stopwatch:
    """Counts the time in which an answer is awaited, not that in which whoever asked does something with it.

    Parameters
    ----------
    allowed
        Seconds that it may take.
    """

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self._counted = 0.0
        self._began: float | None = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        began = self._began
        return self._counted + (0.0 if began is None else time.monotonic() - began)

    def pause(self) -> None:
        """Stop counting."""
        self._counted, self._began = self.seconds, None

    def go_on(self) -> None:
        """Count again."""
        self._began = time.monotonic()

    def begin_again(self, allowed: float) -> None:
        """Count from the beginning, with so many seconds."""
        self.allowed, self._counted, self._began = allowed, 0.0, time.monotonic()


class Reader:
    """A process that has imported the reader and waits for requests.

    Attributes
    ----------
    largest
        Most bytes of memory that it was seen to hold.
    idle
        Whether it waits; one that is not is of no more use, and to be closed.
    """

    def __init__(self) -> None:
        if not sys.executable:
            raise UsageError(
                "isolated reading: found no Python interpreter to start; expected sys.executable to name one; "
                "read with isolated=False"
            )
        self._folder = ScratchFolder()
        self._scratch = self._folder.path
        try:
            # -P: the folder in which somebody's study lies is no place to import from.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # One thread: what is read here is read file by file.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        except BaseException:
            self._folder.clear()
            raise
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a process without pipes")
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]
        _widen(self._answers)
        self._cause = ""
        self._started = False
        self.largest = 0
        self.idle = True
        with contextlib.suppress(OSError):
            home = str(Path(__file__).parents[3])
            paths = json.dumps([*(p for p in sys.path if p), home]).encode("ascii")
            self._requests.write(paths + b"\n")
            send_line(self._requests, {"scratch": str(self._scratch)})

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        return resident_bytes(self._process.pid) or 0

    def read(self, request: Request) -> Iterator[Result]:
        """Ask for one input.

        Yields
        ------
        Exam, Picture or RefusedInput
            As they come.

        Raises
        ------
        Death
            Where the process ended, or was ended, or answered what no reader answers.
        """
        self.idle = False
        message = {
            "path": request.path,
            "folder": os.getcwd(),  # noqa: PTH109 - as it is, which may have been deleted
            "series": request.series,
            "limits": asdict(request.limits),
            "seconds": request.seconds,
            "poisoned": request.poisoned,
            "address_space": _ADDRESS_SPACE * request.memory,
        }
        done = threading.Event()
        try:
            self._wait_until_started()
            send_line(self._requests, message)
            spent = _Stopwatch(request.seconds)
            watch = threading.Thread(target=self._watch, args=(request, spent, done), daemon=True)
            watch.start()
            try:
                while (answer := receive_line(self._answers)).get("kind") != "end":
                    if answer.get("kind") == "fault":
                        fault = str(answer.get("fault"))[:_MOST_FAULT]
                        raise Death("decoder_failed", look(self._scratch / "board"), fault)
                    result = receive(self._answers, answer, request.limits)
                    spent.pause()
                    yield result
                    if isinstance(result, RefusedInput):
                        spent.go_on()
                    else:
                        spent.begin_again(request.limits.seconds)
                    del result
            finally:
                done.set()
                watch.join()
        except (EOFError, CorruptAnswer, OSError, ValueError):
            raise self._death() from None
        self.idle = True

    def close(self) -> None:
        """End the process, whatever it does, and clear away what it left."""
        self.idle = False
        self._process.kill()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()
        self._folder.clear()

    def _wait_until_started(self) -> None:
        if self._started:
            return
        timer = threading.Timer(_START_S, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._started = receive_line(self._answers).get("kind") == "ready"
        finally:
            timer.cancel()
        if not self._started:
            raise CorruptAnswer("no readiness")

    def _watch(self, request: Request, spent: _Stopwatch, done: threading.Event) -> None:
        """End the process where it takes too long, stands still in one file, or grows too large."""
        moved = 0.0
        before = Entry()
        stand_still = min(request.limits.file_seconds, request.seconds) + _GRACE_S
        while not done.wait(_LOOK_EVERY_S):
            now = spent.seconds
            size = resident_bytes(self._process.pid)
            self.largest = max(self.largest, size or 0)
            entry = look(self._scratch / "board")
            if entry.steps != before.steps or now < moved:
                before, moved = entry, now
            if size is not None and size > request.memory:
                return self._end("limit_memory")
            if now > spent.allowed + _GRACE_S or now - moved > stand_still:
                return self._end("limit_time")
        return None

    def _end(self, cause: str) -> None:
        self._cause = cause
        self._process.kill()

    def _death(self) -> Death:
        """Say what it died of, once it is surely dead."""
        entry = look(self._scratch / "board")
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:  # it lives, and has answered nonsense
            self._process.kill()
            code = self._process.wait()
        timed_out = hasattr(signal, "SIGALRM") and code == -signal.SIGALRM
        return Death(self._cause or ("limit_time" if timed_out else "decoder_failed"), entry)

"""Reading one input through processes of which any may die: the file that ended one is refused, the rest goes on."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.reading.files import shown
from ichor.reading.isolation.memory import ceiling, input_bytes
from ichor.reading.isolation.reader import Death, Reader, Request
from ichor.reading.limits import Limits
from ichor.reading.refusals import refusal

__all__ = ["read_path", "warm"]

Result = Exam | Picture | RefusedInput

_MOST_IDLE = 2
"""Readers kept waiting: each holds some 100 MB."""
_MOST_DEATHS = 12
"""Of readers over one input; with more it is refused as a whole."""
_STALE_BYTES = 400_000_000
"""A reader that still holds so much after its answer is not used again."""


class _Pool:
    """Readers that wait, for all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Reader] = []

    def take(self) -> Reader:
        """Return a waiting reader, or start one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Reader()

    def give_back(self, reader: Reader) -> None:
        """Keep a reader for the next input, if it is still good for one."""
        if reader.idle and reader.resident < _STALE_BYTES:
            with self._lock:
                if len(self._idle) < _MOST_IDLE:
                    self._idle.append(reader)
                    return
        reader.close()

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            readers, self._idle = self._idle, []
        for reader in readers:
            reader.close()

    def forget(self) -> None:
        """Leave the readers to the process that started them: this one is its fork."""
        self._lock = threading.Lock()
        self._idle = []


_pool = _Pool()
atexit.register(lambda: _pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _pool.forget())


def warm() -> None:
    """Start a reader, so that it has imported what it needs by the time there is something to read."""
    _pool.give_back(_pool.take())


def read_path(path: str | os.PathLike[str], series: str | None, limits: Limits) -> Iterator[Result]:
    """Read all that one path holds, in another process.

    Parameters
    ----------
    path, series, limits
        As :func:`ichor.reading.read_all` has them.

    Yields
    ------
    Exam, Picture or RefusedInput
        As :func:`ichor.reading.read_all` gives them. A file on which a reader dies is refused as
        ``decoder_failed``, ``limit_memory`` or ``limit_time``; the others of the same input are read by a new
        reader, which leaves that one out.
    """
    name = shown(os.fspath(path))
    memory = ceiling(limits, input_bytes(Path(path), limits.memory_bytes))
    end = time.monotonic() + limits.seconds
    poisoned: dict[str, str] = {}
    given = 0
    for attempt in range(1, _MOST_DEATHS + 1):
        left = max(0.0, end - time.monotonic())
        request = Request(os.fspath(path), series, limits, memory, left, dict(poisoned))
        reader = _pool.take()
        try:
            for number, result in enumerate(reader.read(request)):
                read = not isinstance(result, RefusedInput)
                if number >= given:
                    given += 1
                    taken = time.monotonic()
                    yield result
                    end += time.monotonic() - taken  # time of whoever asked, not of reading
                if read:
                    end = time.monotonic() + limits.seconds
                del result  # not held while the next one is read
            return
        except Death as death:
            # Dead once more in a file that is left out already: not the file is to blame.
            alone = not death.entry.key or death.entry.name == name or death.entry.key in poisoned
            if alone or attempt == _MOST_DEATHS or time.monotonic() >= end:
                yield refusal(death.code, name, shown(death.fault))
                return
            poisoned[death.entry.key] = death.code
        finally:
            if reader.idle:
                _pool.give_back(reader)
            else:
                reader.close()

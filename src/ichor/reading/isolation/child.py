"""The process that reads for another one: requests come by standard input, results go by standard output.

It holds nothing that is worth taking over: no model, no key, no connection. Its parent ends it when it takes
too long or too much memory, and starts another one when it has died.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["main"]

_GRACE_S = 5.0
"""After its time a reader ends by itself, in case its parent has died."""


def main(requests: BinaryIO) -> None:
    """Answer requests until there are no more.

    Parameters
    ----------
    requests
        Standard input, behind the first line.
    """
    answers = _take_standard_output()
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, too, and decides
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # A dump of memory on the disk would hold the patient's images.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import ichor.reading.inputs  # noqa: F401 - what reads is loaded while nothing is asked for yet
    from ichor.reading.files import set_watch
    from ichor.reading.isolation.board import Board
    from ichor.reading.isolation.wire import receive_line, send_line

    scratch = Path(receive_line(requests)["scratch"])
    # Archives are unpacked where the parent clears away after us.
    tempfile.tempdir = str(scratch)
    board = Board(scratch / "board")

    send_line(answers, {"kind": "ready"})
    while True:
        try:
            request = receive_line(requests)
        except EOFError:
            return
        watch = _Watch(board, request["poisoned"])
        set_watch(watch)
        with _own_end(request["seconds"] + _GRACE_S):
            try:
                _answer(request, answers, watch)
            except Exception as error:
                send_line(answers, {"kind": "fault", "fault": _fault(error)})
                continue
        send_line(answers, {"kind": "end"})


def _fault(error: Exception) -> str:
    """Kind and place of an error; its text may quote values of the file."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
    return type(error).__name__ + where


class _Watch:
    """Shows on the board which file is read, and refuses those that have ended a reader before."""

    def __init__(self, board: Any, poisoned: dict[str, str]) -> None:
        self.board = board
        self.poisoned = poisoned

    def __call__(self, file: Any, pixels: bool = False) -> None:
        from ichor.reading.isolation.board import key_of
        from ichor.reading.refusals import refusal

        self.board.show(file, pixels)
        if self.poisoned and file is not None and (code := self.poisoned.get(key_of(file, pixels))):
            raise refusal(code, file.name)


def _answer(request: dict[str, Any], answers: BinaryIO, watch: _Watch) -> None:
    from ichor.errors import RefusedInput
    from ichor.reading.inputs import read_here
    from ichor.reading.isolation.memory import bound_own_memory
    from ichor.reading.isolation.wire import send
    from ichor.reading.limits import Limits

    bound_own_memory(request["address_space"])
    os.chdir(request["folder"])
    for result in read_here(Path(request["path"]), request["series"], Limits(**request["limits"])):
        watch(None)
        with _alarm_paused() as alarm:  # it is the parent that takes its time now
            send(answers, result)
            if not isinstance(result, RefusedInput):
                alarm.left = request["limits"]["seconds"] + _GRACE_S
        del result  # not held while the next one is read


@dataclass
class _Alarm:
    """Seconds until this process is ended."""

    left: float


@contextlib.contextmanager
def _alarm_paused() -> Iterator[_Alarm]:
    if not hasattr(signal, "setitimer"):
        yield _Alarm(0.0)
        return
    alarm = _Alarm(signal.setitimer(signal.ITIMER_REAL, 0)[0])
    yield alarm
    signal.setitimer(signal.ITIMER_REAL, alarm.left)


@contextlib.contextmanager
def _own_end(seconds: float) -> Any:
    """Let the kernel end this process after so long, whatever native code does."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _take_standard_output() -> BinaryIO:
    """Keep the channel to the parent for answers alone: libraries that print do not disturb it."""
    channel = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 1)
    sys.stdout = sys.stderr
    return channel

"""A process of the local pool: tasks come by standard input, rows go by standard output.

Standard input stays open: when the driver ends, however it ends, it closes, and the worker ends, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from queue import SimpleQueue
from typing import Any, BinaryIO

__all__ = ["main"]


def main(tasks: BinaryIO) -> None:
    """Answer tasks until there are no more.

    Parameters
    ----------
    tasks
        Standard input, behind the line that boots.
    """
    answers = _take_standard_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver gets it, too, and decides
    signal.signal(signal.SIGTERM, _end)
    from ichor.bulk.assessing import Task
    from ichor.bulk.work import open_worker
    from ichor.errors import IchorError
    from ichor.reading.isolation import warm
    from ichor.reading.isolation.wire import receive_line, send_line

    inbox: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    first = receive_line(tasks)
    tempfile.tempdir = first["scratch"]

    def listen() -> None:
        with contextlib.suppress(EOFError):
            while True:
                inbox.put(receive_line(tasks))
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        warm()
        doer = open_worker(first["settings"])
    except IchorError as error:
        send_line(answers, {"kind": "unusable", "message": str(error)})
        return
    threading.Thread(target=listen, daemon=True).start()
    send_line(answers, {"kind": "ready"})
    while (message := inbox.get()) is not None:
        send_line(answers, {"kind": "rows", "rows": doer.rows(Task.from_json(message))})


def _end(number: int, frame: object) -> None:
    """End by the ordinary way, so that temporary folders and reading processes go, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _take_standard_output() -> BinaryIO:
    """Keep the channel to the driver for answers alone: libraries that print do not disturb it."""
    channel = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 1)
    sys.stdout = sys.stderr
    return channel

"""Logs: one JSON object a line on standard error. Random ids and counts; no names, no files, nothing of a patient."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

__all__ = ["log", "places", "start_logs"]

_logger = logging.getLogger("ichor.jobs")


class _Lines(logging.Formatter):
    """Events of ours with their fields; of others, the place and the kind, not the text: it may quote an input."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "process": self.process,
        }
        fields = getattr(record, "fields", None)
        if fields is not None:
            line |= {"event": record.getMessage(), **fields}
        else:
            line |= {"event": "library", "logger": record.name}
            if record.levelno >= logging.ERROR and record.exc_info and record.exc_info[1]:
                error = record.exc_info[1]
                line["error"] = type(error).__name__
                line["at"] = places(error)
        return json.dumps(line)


def start_logs(process: str) -> None:
    """Send everything that is logged in this process to standard error.

    Parameters
    ----------
    process
        Name in each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(logging.INFO)


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event.

    Parameters
    ----------
    event
        In ``snake_case``.
    level
        Of :mod:`logging`.
    **fields
        Ids of ours, counts, names of error classes; never what came from outside.
    """
    _logger.log(level, event, extra={"fields": fields})


def places(error: BaseException) -> list[str]:
    """Return the last lines of code of a traceback, without values."""
    out = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        out.append(
            f"{code.co_filename.rpartition('site-packages/')[2].rpartition('src/')[2]}:{trace.tb_lineno}"
        )
        trace = trace.tb_next
    return out[-5:]

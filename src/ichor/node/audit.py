"""The audit log: who sent what, who was refused, what left. JSON lines; the events are those of DICOM PS3.15 A.5.

No name, identifier or date of a patient: studies are named by the hash under which the node keeps them. AE titles and
addresses are those of machines.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from ichor.jobs.logs import log

__all__ = ["EVENTS", "Audit"]

EVENTS = {
    "started": ("110100", "Application Activity"),
    "ended": ("110100", "Application Activity"),
    "received": ("110104", "DICOM Instances Transferred"),
    "delivered": ("110104", "DICOM Instances Transferred"),
    "assessing": ("110103", "DICOM Instances Accessed"),
    "refused": ("110113", "Security Alert"),
    "bound_exceeded": ("110113", "Security Alert"),
    "not_taken": ("110104", "DICOM Instances Transferred"),
    "step": ("110111", "Procedure Record"),
    "queried": ("110112", "Query"),
    "exported": ("110106", "Export"),
    "dropped": ("110105", "DICOM Study Deleted"),
    "purged": ("110105", "DICOM Study Deleted"),
}
"""Code (DCM) and meaning of each event, by our word for it."""
_MOST_BYTES = 50 << 20
_SUCCESS = 0


class Audit:
    """Appends to one file; several processes may.

    Parameters
    ----------
    path
        Made for its owner only. Past 50 MiB it is renamed to ``.1``, and what had that name goes. A line that cannot be
        written, as the disk is full, goes to the journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: str, *, outcome: int = _SUCCESS, **fields: Any) -> None:
        """Write one event.

        Parameters
        ----------
        event
            A key of :data:`EVENTS`.
        outcome
            0 success, 4 refused, 8 failed (RFC 3881).
        **fields
            AE titles, addresses, hashes, counts, words of ours.
        """
        code, meaning = EVENTS[event]
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": event,
            "code": code,
            "meaning": meaning,
            "outcome": outcome,
            **{name: _printable(value) for name, value in fields.items()},
        }
        try:
            self._append((json.dumps(line) + "\n").encode())
        except OSError as error:
            log("audit_not_written", level=logging.ERROR, error=type(error).__name__, audit=line)

    def _append(self, line: bytes) -> None:
        number = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(number).st_size > _MOST_BYTES:
                self.path.replace(self.path.with_suffix(".jsonl.1"))
            os.write(number, line)  # one write: lines of several processes do not mix
        finally:
            os.close(number)


def _printable(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else "?" for c in value)[:64]

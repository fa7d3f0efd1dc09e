"""A file that is being received, on a disk that may become full meanwhile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from ichor.jobs.storage import new_id

__all__ = ["PartialFile", "is_whole"]


class PartialFile:
    """Takes what comes; where the disk is full it is emptied, and whoever finds it so refuses the object.

    It stands in for the temporary files of pynetdicom, whose thread would end on the first write that fails, with the
    association open and the part of a file left on the full disk.

    Parameters
    ----------
    folder
        Where it is made.

    Attributes
    ----------
    path, name
        Its place.
    file
        Itself, as temporary files of the standard library have it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{new_id()}.part"
        self.name = str(self.path)
        self.file = self
        self._number: int | None = None
        with contextlib.suppress(OSError):
            self._number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, content: bytes) -> int:
        """Take some bytes."""
        rest: Any = memoryview(content)
        while self._number is not None and len(rest):
            try:
                rest = rest[os.write(self._number, rest) :]
            except OSError:
                self._give_up(self._number)
        return len(content)

    def flush(self) -> None:
        """Do nothing: each write is one of the system's."""

    def close(self) -> None:
        """Close it; what was written stays."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def _give_up(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(number, 0)
        self.close()


def is_whole(path: Path) -> bool:
    """Return whether a file was received whole, and was not given up."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False

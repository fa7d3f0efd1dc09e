"""What the reading process works on at the moment: a small file that outlives it, and that its parent looks at."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path

from ichor.reading.files import InputFile

__all__ = ["Board", "Entry", "key_of", "look"]

_SIZE = 16_384
_COUNTER = 8


def key_of(file: InputFile, pixels: bool) -> str:
    """Name one file of an input, or its pixels, the same in every process that reads this input."""
    return f"{file.path.name}\n{file.name}" + ("\npixels" if pixels else "")


@dataclass(frozen=True)
class Entry:
    """What stands on a board.

    Attributes
    ----------
    steps
        Counts files and slices; where it stands still, the reader does.
    key, name
        The file that is being read, as :func:`key_of` and as messages name it; empty between files.
    """

    steps: int = 0
    key: str = ""
    name: str = ""


class Board:
    """The writing end, in the process that reads.

    Parameters
    ----------
    path
        Made here.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._steps = 0
        self._key = ""

    def show(self, file: InputFile | None, pixels: bool = False) -> None:
        """Count a step, in this file or its pixels."""
        key = "" if file is None else key_of(file, pixels)
        if key != self._key:
            self._key = key
            text = b"" if file is None else json.dumps([key, file.name]).encode("ascii") + b"\n"
            room = _SIZE - _COUNTER
            self._map[_COUNTER:] = (text if len(text) <= room else b"").ljust(room, b"\0")
        self._steps += 1
        self._map[:_COUNTER] = self._steps.to_bytes(_COUNTER, "little")


def look(path: Path) -> Entry:
    """Read a board; one that was never written, or is half written, shows nothing."""
    try:
        raw = path.read_bytes()[:_SIZE]
        steps = int.from_bytes(raw[:_COUNTER], "little")
        line = raw[_COUNTER:].partition(b"\n")[0]
        key, name = (str(text) for text in json.loads(line)) if line.strip(b"\0") else ("", "")
    except (OSError, ValueError, TypeError):
        return Entry()
    return Entry(steps, key, name)

"""A file to be read, wherever it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["InputFile", "announce", "set_watch", "shown"]


@dataclass(frozen=True)
class InputFile:
    """A file on disk, and how messages name it.

    Attributes
    ----------
    path
        Where its bytes lie (for an entry of an archive, a temporary file).
    name
        How the user knows it: the path as given, or ``archive.zip:entry``.
    """

    path: Path
    name: str


def shown(name: str) -> str:
    """Name a file on one line: what cannot be printed (line ends, terminal commands) becomes ``?``."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


_watch: Callable[[InputFile | None, bool], None] | None = None


def set_watch(watch: Callable[[InputFile | None, bool], None]) -> None:
    """Have ``watch`` called with each file before it is parsed or decoded, and whether its pixels are.

    Only for a process that reads for another one: it holds for the whole process.
    """
    global _watch
    _watch = watch


def announce(file: InputFile | None, *, pixels: bool = False) -> None:
    """Say which file is parsed or decoded next, to whoever watches this process; None for work on no one file.

    ``pixels`` tells the second reading of a file from that of its header: one that ends a decoder still has a header,
    which says what study it is that cannot be read.

    Raises
    ------
    RefusedInput
        Where the file has ended a reader before.
    """
    if _watch is not None:
        _watch(file, pixels)

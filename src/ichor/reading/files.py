"""A file to be read, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["InputFile", "shown"]


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

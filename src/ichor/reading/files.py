"""A file to be read, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["InputFile"]


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

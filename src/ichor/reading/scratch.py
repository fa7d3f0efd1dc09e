"""Temporary folders that go with whoever made them, even where a signal falls into their making or clearing."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType


class ScratchFolder:
    """A private temporary folder.

    ``tempfile`` makes a folder first and owns it afterwards: an interrupt between the two leaves it behind,
    and so does one that falls into its clearing. Here it is owned from before it is made until it is gone.

    Parameters
    ----------
    parent
        Where it is made, under a name that begins with a dot; by default where temporary files go.

    Attributes
    ----------
    path
        The folder; readable by its owner alone.
    """

    def __init__(self, parent: Path | None = None) -> None:
        name = f"ichor-{secrets.token_hex(8)}"
        self.path = Path(tempfile.gettempdir(), name) if parent is None else parent / f".{name}"
        self._clear = weakref.finalize(self, _remove, self.path, os.getpid())
        self.path.mkdir(mode=0o700)

    def clear(self) -> None:
        """Remove it with everything in it; nothing where that was done."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._clear.detach()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a process that was forked from it
        shutil.rmtree(path, ignore_errors=True)

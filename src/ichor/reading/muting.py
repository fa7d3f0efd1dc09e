"""Keeping what C libraries print off standard error: their remarks do not go through Python."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["native_stderr_muted"]


@contextlib.contextmanager
def native_stderr_muted() -> Iterator[None]:
    """Turn the file descriptor of standard error away meanwhile."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no standard error at all, or a closed one
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

"""Keeping libraries from what is not asked of them: remarks on standard error, sockets at import."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["hidden_module", "native_stderr_muted"]


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


@contextlib.contextmanager
def hidden_module(name: str) -> Iterator[None]:
    """Make a package look not installed meanwhile, where nobody has imported it yet."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what Python takes for "not installed"
    try:
        yield
    finally:
        if sys.modules.get(name, ...) is None:
            del sys.modules[name]

"""How much memory a process has had at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

__all__ = ["peak_memory_mb"]

_STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has had, MB (1e6 bytes); None where the system does not say, as Windows.

    What ``getrusage`` counts on Linux is no less than what the process that started this one had by then.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1e6
    try:
        import resource
    except ImportError:
        return None
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )

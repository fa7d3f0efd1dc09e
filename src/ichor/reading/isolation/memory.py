"""How much memory a reading process may take, and how much it takes.

The ceiling is kept from outside, by looking at the resident memory of the process: on Linux in ``/proc``, on
macOS through ``ps``. On Linux the address space is bounded as well, from inside, for a single request that is
too fast to be seen. On Windows there is no ceiling, only the time.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from ichor.reading.limits import Limits

__all__ = ["bound_own_memory", "ceiling", "input_bytes", "resident_bytes"]

_SMALL_SHARE = 4
"""An input of no bytes may take this part of ``memory_bytes``..."""
_PER_BYTE = 30
"""...and each byte so many more: pixels compressed by ten, held three times."""
_SYSTEM = platform.system()
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def ceiling(limits: Limits, size: int) -> int:
    """Bytes that the process may take for an input of ``size`` bytes."""
    return min(limits.memory_bytes, limits.memory_bytes // _SMALL_SHARE + _PER_BYTE * size)


def input_bytes(path: Path, enough: int) -> int:
    """Bytes of a file, or of the files of a folder; counting ends once there are enough."""
    total, folders = 0, [path]
    try:
        if not path.is_dir():
            return path.stat().st_size
        while folders and total < enough:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass  # what cannot be opened is refused by the reader
    return total


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None where this system does not tell, or the process is gone."""
    try:
        if _SYSTEM == "Linux":
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        if _SYSTEM == "Darwin":
            shown = subprocess.run(["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
            return int(shown.stdout) * 1024
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        pass
    return None


def bound_own_memory(most: int) -> None:
    """Bound the address space of this process to what it has now and ``most`` bytes more, where Linux does."""
    if _SYSTEM != "Linux":
        return
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = now + most if hard == resource.RLIM_INFINITY else min(now + most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

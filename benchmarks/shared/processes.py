"""Time and memory of a command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

__all__ = ["timed"]

_CHILD = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(done.stderr.decode(errors="replace"))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A process counts at least the memory of the one that started it: a small one stands between."""


def timed(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Run a command to its end.

    Returns
    -------
    float
        Seconds.
    float
        Most memory, MB (1e6 bytes).

    Raises
    ------
    SystemExit
        Where the command ends with another exit status than 0.
    """
    began = time.perf_counter()
    child = [sys.executable, "-c", _CHILD, *command]
    done = subprocess.run(child, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{command[:4]}: found an exit status; expected 0:\n{done.stderr}")
    return time.perf_counter() - began, int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6

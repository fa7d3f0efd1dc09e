"""What reading one file costs: seconds, and the memory of the process that reads it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.reading.isolation import pool
from ichor.reading.limits import Limits


@dataclass(frozen=True)
class Cost:
    """What one file cost.

    Attributes
    ----------
    codes
        Of its refusals, or ``read``.
    seconds
        Of wall time.
    peak
        Most bytes that its reader held.
    """

    codes: tuple[str, ...]
    seconds: float
    peak: int


def cost_of(path: Path, limits: Limits) -> tuple[list[Exam | Picture | RefusedInput], Cost]:
    """Read a file in a warm reader, and measure that."""
    reader = pool._pool.take()
    reader._wait_until_started()
    reader.largest = 0
    process = Path(f"/proc/{reader._process.pid}")
    if process.exists():
        (process / "clear_refs").write_text("5")  # the peak begins anew
    pool._pool.give_back(reader)
    began = time.perf_counter()
    results = list(ichor.read_all(path, limits=limits, isolated=True))
    seconds = time.perf_counter() - began
    peak = reader.largest
    if reader.idle and process.exists():
        peak = int((process / "status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    codes = tuple(r.code if isinstance(r, RefusedInput) else "read" for r in results)
    return results, Cost(codes, seconds, peak)

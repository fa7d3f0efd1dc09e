"""Reads hostile files in a process of its own, and tells how each went.

``python read_hostile.py REPORT FIRST COUNT [DATA]`` reads the cases FIRST to FIRST + COUNT - 1 through
``ichor.read_all`` and appends a line to REPORT before and after each one. It ends itself when a case takes
longer than :data:`MOST_SECONDS`; a crash shows as a last line without an answer.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MOST_SECONDS = 5.0
MOST_BYTES = 1_000_000_000


def answer(path: Path, secrets: tuple[str, ...]) -> dict[str, object]:
    """Read one file, and tell how it went."""
    import ichor
    from ichor.errors import RefusedInput

    try:
        results = list(ichor.read_all(path))
    except Exception as error:
        return {"read": 0, "codes": [], "faults": [traceback.format_exc().splitlines()[-3:], repr(error)]}
    refused = [r for r in results if isinstance(r, RefusedInput)]
    texts = [str(r) for r in refused]
    faults = []
    for text in texts:
        if path.name not in text or len(text.splitlines()) != 1 or not text.isprintable():
            faults.append(f"message {text[:300]!r}")
    if not results:
        faults.append("neither read nor refused")
    for result in results:
        texts += [n.message for n in result.notices]
        if not isinstance(result, RefusedInput):
            texts += [str(result.source.details), result.source.input]
    faults += [f"leaks {text[:300]!r}" for text in texts for s in secrets if s in text]
    return {"read": len(results) - len(refused), "codes": [r.code for r in refused], "faults": faults}


def peak() -> int:
    """Most bytes this process held. On Linux ru_maxrss begins at the parent's size, which is not ours."""
    if (status := Path("/proc/self/status")).exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def watched(out: TextIO) -> Iterator[None]:
    """End the process where one case takes too long, with a trace of where it was.

    The processor's time is counted, so that a busy machine fails nothing, and the clock's as a last resort.
    """
    soft = int(time.process_time() + MOST_SECONDS) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    faulthandler.register(signal.SIGXCPU, file=out, chain=True)
    faulthandler.dump_traceback_later(20 * MOST_SECONDS, exit=True, file=out)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def main(report: str, first: str, count: str, data: str = "") -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    hostile = importlib.import_module("reading.hostile")
    secrets = (*importlib.import_module("reading.phantoms").SECRETS, "20200102")
    with tempfile.TemporaryDirectory() as folder, Path(report).open("a") as out:
        for number in range(int(first), int(first) + int(count)):
            name, raw = hostile.case(number, Path(data) if data else None)
            path = Path(folder) / f"{number}-{name}"
            path.write_bytes(raw)
            print(json.dumps({"number": number, "name": name, "crc": zlib.crc32(raw)}), file=out, flush=True)
            del raw
            began = time.process_time()
            with watched(out):
                told = answer(path, secrets)
            told |= {"number": number, "seconds": time.process_time() - began, "peak": peak()}
            print(json.dumps(told), file=out, flush=True)
            path.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])

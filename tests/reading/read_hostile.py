"""Reads hostile files through disposable readers, and tells how each went.

``python read_hostile.py REPORT FIRST COUNT [DATA]`` reads the cases FIRST to FIRST + COUNT - 1 with
``ichor.read_all(..., isolated=True)`` and appends a line to REPORT before and after each one. Should a case end this
process, which none may, that shows as a last line without an answer.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import sys
import tempfile
import traceback
import zlib
from pathlib import Path

MOST_SECONDS = 20.0
MOST_BYTES = 1_000_000_000


def answer(path: Path, secrets: tuple[str, ...]) -> dict[str, object]:
    """Read one file, and tell how it went, what it cost, and what is wrong with the answer."""
    import ichor
    from ichor.errors import RefusedInput

    cost_of = importlib.import_module("reading.costs").cost_of
    try:
        results, cost = cost_of(path, ichor.Limits(seconds=MOST_SECONDS))
    except Exception as error:
        faults = [traceback.format_exc().splitlines()[-3:], repr(error)]
        return {"read": 0, "codes": [], "faults": faults, "seconds": 0.0, "peak": 0}
    refused = [r for r in results if isinstance(r, RefusedInput)]
    texts = [str(r) for r in refused]
    faults = []
    for text in texts:
        if path.name not in text or len(text.splitlines()) != 1 or not text.isprintable():
            faults.append(f"message {text[:300]!r}")
        if "an error of the reader itself" in text:
            faults.append(f"a fault of ichor: {text[:300]!r}")
    if not results:
        faults.append("neither read nor refused")
    for result in results:
        texts += [n.message for n in result.notices]
        if not isinstance(result, RefusedInput):
            texts += [str(result.source.details), result.source.input]
    faults += [f"tells {text[:300]!r}" for text in texts for s in secrets if s in text]
    codes = [r.code for r in refused]
    read = len(results) - len(refused)
    return {"read": read, "codes": codes, "faults": faults, "seconds": cost.seconds, "peak": cost.peak}


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
            faulthandler.dump_traceback_later(4 * MOST_SECONDS, exit=True, file=out)
            line = answer(path, secrets) | {"number": number}
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps(line), file=out, flush=True)
            path.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])

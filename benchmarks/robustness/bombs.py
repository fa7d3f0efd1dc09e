"""What small files that ask for much cost the process that reads them: memory, time, and what became of each.

Usage: python -m benchmarks.robustness.bombs [--name PART]

The files are those of tests/reading/bombs.py. The status is 1 where one took a gigabyte, or got another answer than it
must.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading, row
from ichor.reading.limits import Limits

MOST_BYTES = 1_000_000_000


def main() -> int:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--name", default="", help="only those whose names hold this")
    options = arguments.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    bombs = importlib.import_module("reading.bombs")
    cost_of = importlib.import_module("reading.costs").cost_of
    heading("file", "MB", "peak MB", "seconds", "answer")
    peak, slowest, wrong = 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for bomb in bombs.BOMBS:
            if options.name not in bomb.name:
                continue
            path = Path(folder) / bomb.name
            path.write_bytes(bomb.make())
            _, cost = cost_of(path, Limits())
            wrong += not set(cost.codes) <= set(bomb.codes) or cost.peak > MOST_BYTES
            peak, slowest = max(peak, cost.peak / 1e6), max(slowest, cost.seconds)
            size = path.stat().st_size / 1e6
            answer = ", ".join(cost.codes)
            row(bomb.name, f"{size:.2f}", f"{cost.peak / 1e6:.0f}", f"{cost.seconds:.2f}", answer)
            path.unlink()
    row(f"most of all; {wrong} wrong", None, f"{peak:.0f}", f"{slowest:.2f}", None)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

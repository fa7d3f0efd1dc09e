"""What small files that ask for much cost their reader: megabytes at the peak, seconds, and what became of each.

Usage: python benchmarks/robustness/bombs.py [--name PART]

The files are those of tests/reading/bombs.py. A line of each is printed, and in the end the most of all; the status is
1 where one held a gigabyte, or got another answer than it must.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from ichor.reading.limits import Limits

MOST_BYTES = 1_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="", help="only those whose names hold this")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    bombs = importlib.import_module("reading.bombs")
    cost_of = importlib.import_module("reading.costs").cost_of
    print(f"{'file':<42} {'MB':>6} {'peak MB':>8} {'seconds':>8}  answer")
    worst, wrong = [0.0, 0.0], 0
    with tempfile.TemporaryDirectory() as folder:
        for bomb in bombs.BOMBS:
            if options.name not in bomb.name:
                continue
            path = Path(folder) / bomb.name
            path.write_bytes(bomb.make())
            _, cost = cost_of(path, Limits())
            answer = ", ".join(cost.codes)
            wrong += not set(cost.codes) <= set(bomb.codes) or cost.peak > MOST_BYTES
            worst = [max(worst[0], cost.peak / 1e6), max(worst[1], cost.seconds)]
            size = path.stat().st_size / 1e6
            print(
                f"{bomb.name:<42} {size:6.1f} {cost.peak / 1e6:8.0f} {cost.seconds:8.2f}  {answer}",
                flush=True,
            )
            path.unlink()
    print(f"most of all: {worst[0]:.0f} MB, {worst[1]:.1f} s; wrong: {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

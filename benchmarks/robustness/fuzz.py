"""Tens of thousands of mutated and hostile files through disposable readers: what became of them, and what they cost.

Usage: python benchmarks/robustness/fuzz.py [--cases N] [--data DIR]

The cases are those of tests/reading/hostile.py, the same for the same number. Prints how many were read or refused,
by code; how many ended their reader; the slowest and the largest. The status is 1 where one ended the process that
reads through readers, held a gigabyte, took longer than its seconds and two more, or has a faulty answer.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections import Counter
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--data", type=Path, default=None, help="public data; by default beside the checkout")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    fuzzing = importlib.import_module("reading.fuzzing")
    bounds = importlib.import_module("reading.read_hostile")
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report", Path(folder) / "log"
        names, answers = fuzzing.run_cases(report, log, options.data or fuzzing.public_data(), options.cases)
        printed = log.stat().st_size
    codes = Counter(code for row in answers.values() for code in row["codes"] or ["read"])
    for code, n in codes.most_common():
        print(f"{n:7,}  {code}")
    lost = [names[n] for n in names if n not in answers]
    slow = [names[n] for n, row in answers.items() if row["seconds"] > bounds.MOST_SECONDS + 2]
    large = [names[n] for n, row in answers.items() if row["peak"] > bounds.MOST_BYTES]
    faulty = [names[n] for n, row in answers.items() if row["faults"]]
    ended = sum(codes[code] for code in ("decoder_failed", "limit_memory", "limit_time"))
    print(
        f"{len(answers):,} of {options.cases:,} answered; {ended} ended their reader, {len(lost)} more than that"
    )
    print(
        f"slowest {max((r['seconds'] for r in answers.values()), default=0):.1f} s, "
        f"largest {max((r['peak'] for r in answers.values()), default=0) / 1e6:.0f} MB; "
        f"{len(slow)} too slow, {len(large)} too large, {len(faulty)} faulty answers, {printed} bytes printed"
    )
    for word, found in (("lost", lost), ("slow", slow), ("large", large), ("faulty", faulty)):
        for name in found[:20]:
            print(f"{word}: {name}")
    return int(bool(lost or slow or large or faulty or printed or len(answers) < options.cases))


if __name__ == "__main__":
    sys.exit(main())

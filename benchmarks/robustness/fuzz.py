"""Tens of thousands of mutated and hostile files through disposable readers: what became of them, at what cost.

Usage: python -m benchmarks.robustness.fuzz [--cases N] [--report FILE] [--data DIR]

The cases are those of tests/reading/hostile.py, the same for the same number. The answers are written to the report as
they come; with a report that exists, the run goes on behind its last case. The status is 1 where one ended the process
that asks the readers, held a gigabyte, took longer than its seconds and two more, or has a faulty answer.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading, row


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--cases", type=int, default=20_000)
    arguments.add_argument("--report", type=Path, help="file to keep the answers in, and to go on from")
    options = arguments.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    fuzzing = importlib.import_module("reading.fuzzing")
    bounds = importlib.import_module("reading.read_hostile")
    data = options.data if options.data.is_dir() else None
    with tempfile.TemporaryDirectory() as folder:
        report, log = options.report or Path(folder) / "report", Path(folder) / "log"
        names, answers = fuzzing.run_cases(report, log, data, options.cases)
        printed = log.stat().st_size if log.exists() else 0
    codes = Counter(code for line in answers.values() for code in line["codes"] or ["read"])
    heading("answer", "files")
    for code, n in codes.most_common():
        row(code, f"{n:,}")
    found = {
        "without an answer": [names[n] for n in names if n not in answers],
        "too slow": [names[n] for n, a in answers.items() if a["seconds"] > bounds.MOST_SECONDS + 2],
        "a gigabyte or more": [names[n] for n, a in answers.items() if a["peak"] > bounds.MOST_BYTES],
        "faulty answer": [names[n] for n, a in answers.items() if a["faults"]],
    }
    ended = sum(codes[code] for code in ("decoder_failed", "limit_memory", "limit_time"))
    print()
    heading("of all", "")
    row("files", f"{len(answers):,} of {options.cases:,}")
    row("ended their reader", ended)
    row("slowest, s", f"{max((a['seconds'] for a in answers.values()), default=0):.1f}")
    row("largest, MB", f"{max((a['peak'] for a in answers.values()), default=0) / 1e6:.0f}")
    for what, files in found.items():
        row(what, f"{len(files)} {', '.join(files[:10])}".strip())
    row("bytes printed", printed)
    return int(any(found.values()) or printed > 0 or len(answers) < options.cases)


if __name__ == "__main__":
    sys.exit(main())

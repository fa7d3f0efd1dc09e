"""How much faster two workers of bulk are than one, and a Ray cluster beside the pool.

Usage: python -m benchmarks.speed.bulk_workers [--data DIR] [--studies 24] [--slices 30] [--bundle default]

The same studies by one process, by two, and by a cluster of two nodes of one core on this machine, each into an output
of its own. The rate is that between the first and the last row, so that what starts before does not count. Needs two
cores that do nothing else, and the extra ``scale``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.series import write_series
from benchmarks.shared.tables import heading, row
from benchmarks.speed.bulk_cost import measured
from ichor.datasets.ct_ich import CtIch

sys.path.insert(0, str(ROOT / "tests"))
from bulk.cluster import cluster
from bulk.made import command, environment, rows

_LEAST_GAIN, _MOST_SLOWER = 1.7, 0.15


def run(root: Path, out: Path, *words: object) -> tuple[float, float]:
    """Assess a folder; return studies a second, and seconds in all."""
    began = time.monotonic()
    done = subprocess.run(
        command("bulk", root, "-o", out, *words), env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    times = sorted(one["time"].timestamp() for one in rows(out))
    return (len(times) - 1) / (times[-1] - times[0]), time.monotonic() - began


def main() -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("--studies", type=int, default=24)
    arguments.add_argument("--slices", type=int, default=30)
    arguments.add_argument("--bundle", default="default")
    options = arguments.parse_args()
    patients = sorted(CtIch(options.data / "ct-ich").patients())
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.studies} studies\n")
    heading("what", "studies a minute", "seconds in all", "beside", "aim")
    with tempfile.TemporaryDirectory(prefix="ichor-bulk-workers-") as name:
        folder = Path(name)
        for k in range(options.studies):
            place = folder / "root" / f"{k:03d}"
            place.mkdir(parents=True)
            write_series(place, options.data, patient=patients[k % len(patients)], slices=options.slices)
        root, words = folder / "root", ("--bundle", options.bundle)
        one, whole = run(root, folder / "one", "--jobs", 1, *words)
        row("pool, 1 worker", f"{60 * one:.1f}", f"{whole:.0f}", "", "")
        two, whole = run(root, folder / "two", "--jobs", 2, *words)
        gain = two / one
        row(
            "pool, 2 workers", f"{60 * two:.1f}", f"{whole:.0f}", f"{gain:.2f} times one", f">= {_LEAST_GAIN}"
        )
        with cluster(folder / "cluster", nodes=2) as there:
            more = ("--address", there.address, "--token", there.token)
            ray, whole = run(root, folder / "ray", *more, *words)
        slower = two / ray - 1
        row(
            "Ray, 2 nodes",
            f"{60 * ray:.1f}",
            f"{whole:.0f}",
            f"{slower:+.0%} time",
            f"<= {_MOST_SLOWER:+.0%}",
        )
        study = measured(folder / "two")
        print(
            f"\na study: {study.seconds:.2f} s of a core, {study.bytes / 1e6:.1f} MB (benchmarks.speed.bulk_cost)"
        )
    return 0 if gain >= _LEAST_GAIN and slower <= _MOST_SLOWER else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a million studies a day cost: cores, bytes a second and requests a second, from measured figures.

``python -m benchmarks.speed.bulk_cost OUT`` takes seconds, bytes and slices a study from the rows of a run of
``ichor bulk``; ``--seconds``, ``--bytes`` and ``--slices`` replace them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Cost", "Study", "cost", "measured"]

_DAY_S = 86_400
_SPARE = 0.8
"""Share of the cores that is planned: the rest is for studies that take longer, and for nodes that restart."""
_GIB_A_WORKER = 1.0


@dataclass(frozen=True)
class Study:
    """What one study takes.

    Attributes
    ----------
    seconds
        Of a core.
    bytes
        Of its files.
    objects
        Files, each a request to a store of objects.
    """

    seconds: float
    bytes: float
    objects: float


@dataclass(frozen=True)
class Cost:
    """What a number of studies a day takes.

    Attributes
    ----------
    cores
        One process each.
    memory_gib
        Of all of them.
    bytes_a_second, requests_a_second
        That the storage must give, day and night.
    """

    cores: int
    memory_gib: float
    bytes_a_second: float
    requests_a_second: float


def cost(study: Study, a_day: int) -> Cost:
    """Work out what studies of one kind take."""
    rate = a_day / _DAY_S
    cores = math.ceil(study.seconds * rate / _SPARE)
    # A list of a folder, its first object's header, and each object.
    return Cost(cores, cores * _GIB_A_WORKER, study.bytes * rate, (study.objects + 2) * rate)


def measured(out: Path) -> Study:
    """Take the medians of the rows that were assessed.

    Raises
    ------
    SystemExit
        Where there are none.
    """
    from ichor.bulk.output import Output

    columns = ("state", "row", "seconds", "bytes", "n_slices")
    rows = [r for r in Output(out).rows(columns) if r["state"] == "assessed" and r["row"] == 0]
    if not rows:
        raise SystemExit(f"{out}: found no row of an assessed study; expected the output of ichor bulk")
    values = (float(np.median([r[name] for r in rows])) for name in ("seconds", "bytes", "n_slices"))
    return Study(*values)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, nargs="?", help="output of a run, for its medians")
    parser.add_argument("--seconds", type=float, help="of a core, for one study")
    parser.add_argument("--bytes", type=float, help="of one study")
    parser.add_argument("--slices", type=float, help="of one study, one object each")
    parser.add_argument("--studies", type=int, default=1_000_000, help="a day")
    options = parser.parse_args()
    given = (options.seconds, options.bytes, options.slices)
    if options.out is None and None in given:
        parser.error("expected OUT, or all of --seconds, --bytes and --slices")
    base = measured(options.out) if options.out else Study(0, 0, 0)
    values = (base.seconds, base.bytes, base.objects)
    study = Study(*(own if own is not None else of_run for own, of_run in zip(given, values, strict=True)))
    found = cost(study, options.studies)
    print("| | a study | a day |\n|---|---|---|")
    print(f"| studies | 1 | {options.studies:,} |")
    print(f"| cores | {study.seconds:.2f} s of one | {found.cores:,} |")
    print(f"| memory | {_GIB_A_WORKER:g} GiB a core | {found.memory_gib:,.0f} GiB |")
    print(f"| bytes | {study.bytes / 1e6:.1f} MB | {found.bytes_a_second / 1e9:.2f} GB/s |")
    print(f"| requests to a store | {study.objects + 2:.0f} | {found.requests_a_second:,.0f}/s |")


if __name__ == "__main__":
    main()

"""What a new hospital may expect of a bundle: sources that it never saw, nothing fitted to them.

Usage: python -m benchmarks.accuracy.other_sources RUN --bundle NAME|PATH [--data DIR] [--dataset NAME]...

By the very path of detection, with the bundle's own calibration and thresholds, on each labelled set at hand that it
did not learn from. The table is kept in the run's folder (``other-sources/sources.json``), set by set, so that a
stopped run goes on; from there ``ichor export`` takes it into the card. Remove it where the bundle has changed. What a
network gives that is trained on all sets but one: ``benchmarks.accuracy.sources``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.detecting.bundle import load_bundle
from ichor.evaluating.kept_tables import write_rows
from ichor.evaluating.other_sources import (
    OTHER_SOURCES_FILE,
    measure_source,
    read_sources,
)

DATASETS = ("rsna-slices", "head-ct-hemorrhage", "ct-ich", "phe-sich", "aisd")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and keep."""
    options = parser(__doc__)
    options.add_argument("run", type=Path, help="folder of the run that the bundle was made of")
    options.add_argument("--bundle", required=True, metavar="NAME|PATH", help="what is measured")
    options.add_argument(
        "--dataset",
        action="append",
        metavar="NAME",
        help="by default those at hand that it did not learn from",
    )
    asked = options.parse_args(arguments)
    learned = {source.name for source in load_bundle(asked.bundle).manifest.trained_on}
    rows = read_sources(asked.run)
    done = {one.source for one in rows}
    heading("source", "figure", "value (95 % interval)", "of", "left out")
    for name in asked.dataset or [n for n in DATASETS if n not in learned]:
        if name not in done:
            rows += measure_source(
                asked.bundle,
                open_dataset(name, asked.data),
                lambda doing, _: print(doing, end="\r", file=sys.stderr, flush=True),
            )
            write_rows(asked.run / OTHER_SOURCES_FILE, rows)
        for one in (r for r in rows if r.source == name):
            value = f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
            row(one.source, one.figure, value, one.unit, one.left_out)


if __name__ == "__main__":
    main()

"""The report of an output: one page that needs nothing beside it, and one JSON."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

import ichor
from ichor.bulk.output import Output
from ichor.bulk.summary import Summary
from ichor.detecting.out_of_distribution import QUANTITIES
from ichor.notices import NOTICES

__all__ = ["FAILURES", "write_report"]

FAILURES = {
    "error": "An error of the code; the row names its kind and place.",
    "worker_died": "The process that assessed it ended, more than once.",
    "worker_lost": "The machine that assessed it was lost, several times.",
}
"""Codes of rows that failed."""


def write_report(summary: Summary, output: Output) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` to the output folder.

    Returns
    -------
    tuple of pathlib.Path
        The page and the JSON.
    """
    figures = summary.as_json()
    data, page = output.folder / "report.json", output.folder / "report.html"
    data.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("ichor.bulk"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    meanings = {**FAILURES, **{code: one.meaning for code, one in NOTICES.items()}}
    text = environment.get_template("bulk.html.j2").render(
        f=figures | {"drift": summary.drift},
        run=output.run(),
        quantities=QUANTITIES,
        meanings=meanings,
        version=ichor.__version__,
    )
    page.write_text(text, encoding="utf-8")
    return page, data

"""Arguments that most measurements take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["KEPT_RUNS", "parser"]

ROOT = Path(__file__).parents[2]
KEPT_RUNS = ROOT / "benchmarks" / "runs"
"""Recipes, splits and predictions of finished runs: figures, no weights and no images."""


def parser(doc: str | None, *, run: bool = False, data: bool = True) -> argparse.ArgumentParser:
    """Return a parser that shows a module's docstring as its help.

    Parameters
    ----------
    doc
        The module's ``__doc__``.
    run
        Whether it takes ``RUN``, the folder of a finished run.
    data
        Whether it takes ``--data``, the folder of the public data sets.
    """
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if run:
        found.add_argument("run", type=Path, help="folder of a finished run")
    if data:
        beside = ROOT.parent / "shared" / "data"
        default = Path(os.environ.get("ICHOR_DATA") or beside)
        found.add_argument(
            "--data",
            type=Path,
            default=default,
            help="public data sets; default: ICHOR_DATA, else ../shared/data",
        )
    return found

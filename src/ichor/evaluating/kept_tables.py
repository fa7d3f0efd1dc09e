"""Tables that a measurement leaves in a run's folder, for the card of its bundle: rows as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ichor.errors import UsageError

__all__ = ["read_rows", "write_rows"]

Row = TypeVar("Row", bound=BaseModel)


def write_rows(path: Path, rows: Sequence[BaseModel]) -> None:
    """Write a table as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.model_dump() for row in rows], indent=1) + "\n", encoding="utf-8")


def read_rows(path: Path, kind: type[Row], *, what: str, measured_by: str) -> list[Row]:
    """Read a table; empty where there is no file.

    Parameters
    ----------
    path
        Of the file.
    kind
        Of a row.
    what, measured_by
        What the table is of, and the command that writes it, as the error says them.

    Raises
    ------
    UsageError
        Where the file holds something else.
    """
    if not path.is_file():
        return []
    try:
        return [kind.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, ValidationError) as error:
        raise UsageError(
            f"{path}: found no table of {what} ({type(error).__name__}); expected what {measured_by} wrote; "
            "remove the file, or measure again"
        ) from None

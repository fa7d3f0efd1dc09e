"""Tables that come with data sets: CSV, each row with its line, so that what is wrong can be found and mended."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ichor.errors import UsageError

__all__ = ["Row", "read_table"]

_FLAGS = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    path, line
        The table, and the line in it at which the row ends.
    values
        By column; without spaces around them, empty where there is none.
    """

    path: Path
    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def get(self, column: str) -> str:
        """Return a value, empty where the table has no such column."""
        return self.values.get(column, "")

    def flag(self, column: str) -> float:
        """Return 0 or 1.

        Raises
        ------
        UsageError
            Where the value is neither.
        """
        value = _FLAGS.get(self[column])
        if value is None:
            raise self.error(f"{column} = {self[column]!r}", "0 or 1")
        return value

    def number(self, column: str, least: float = -math.inf) -> float:
        """Return a number.

        Raises
        ------
        UsageError
            Where the value is none, or below ``least``.
        """
        try:
            value = float(self[column])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least):
            at_least = f" of {least:g} or more" if math.isfinite(least) else ""
            raise self.error(f"{column} = {self[column]!r}", f"a number{at_least}")
        return value

    def whole(self, column: str, least: int = 0) -> int:
        """Return a whole number.

        Raises
        ------
        UsageError
            Where the value is none, or below ``least``.
        """
        value = self.number(column, least)
        if value != int(value):
            raise self.error(f"{column} = {self[column]!r}", "a whole number")
        return int(value)

    def error(self, found: str, expected: str, remedy: str = "mend the row") -> UsageError:
        """Return an error that names the table and the line."""
        return UsageError(f"{self.path}, line {self.line}: found {found}; expected {expected}; {remedy}")


def read_table(path: Path, needed: Sequence[str] = (), *, lower: bool = False) -> list[Row]:
    """Read a CSV file with a head line. Rows without any value are passed over.

    Parameters
    ----------
    path
        The file, in UTF-8.
    needed
        Columns that it must have.
    lower
        Whether the columns' names are taken in small letters.

    Raises
    ------
    UsageError
        Where it cannot be read, lacks a column or has one twice, or a row has more values than there are columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [" ".join(name.split()) for name in next(reader, [])]
            columns = [name.lower() for name in columns] if lower else columns
            _check(path, columns, needed)
            rows = []
            for values in reader:
                plain = [value.strip() for value in values]
                if any(plain[len(columns) :]):
                    raise UsageError(
                        f"{path}, line {reader.line_num}: found {len(plain)} values; expected {len(columns)}, one a "
                        "column; put what has a comma in it into quotes"
                    )
                plain += [""] * (len(columns) - len(plain))
                if any(plain):
                    rows.append(Row(path, reader.line_num, dict(zip(columns, plain, strict=False))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path}: found no table that can be read ({type(error).__name__}); expected CSV in UTF-8; save it again"
        ) from None
    return rows


def _check(path: Path, columns: list[str], needed: Sequence[str]) -> None:
    named = [name for name in columns if name]
    absent = [name for name in needed if name not in named]
    if absent:
        raise UsageError(
            f"{path}: found the columns {', '.join(named) or 'none'}; expected {', '.join(absent)} too; mend the table"
        )
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: found the column {twice} twice; expected it once; remove one")

"""What is done with an output after a run: checked against its source, and its parts made few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ichor.bulk.output import Output
from ichor.bulk.units import Source, Unit

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Check", "check", "compact"]

_PART_ROWS = 4096
"""Of a part that was compacted: some tens of megabytes where series are thin."""


@dataclass
class Check:
    """How an output compares with its source.

    Attributes
    ----------
    units, rows
        Units of the source, and rows that hold.
    missing, changed, failed
        Names of units without a row, of units whose files are not those that the row is of, and of those that failed.
    gone
        Inputs with rows that the source does not hold.
    replaced
        Rows that do not hold: doubles, and those of earlier revisions.
    """

    units: int = 0
    rows: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    replaced: int = 0

    @property
    def whole(self) -> bool:
        """Whether every unit has its rows, and none failed."""
        return not (self.missing or self.changed or self.failed)


def check(output: Output, source: Source) -> Check:
    """Compare an output with its source.

    Parameters
    ----------
    output
        Of a run that need not have ended.
    source
        What it was run on.

    Raises
    ------
    UsageError
        Where a part cannot be read.
    """
    units: dict[str, Unit] = {}
    for unit in source.discover():
        units[unit.id] = unit  # the last one of an id is the whole one
    found = Check(units=len(units))
    done = output.done()
    for unit in units.values():
        known = done.get(unit.id)
        if known is None:
            found.missing.append(unit.name)
        elif known.source != unit.fingerprint:
            found.changed.append(unit.name)
        elif known.failed:
            found.failed.append(unit.name)
    gone = {}
    for row in output.rows(("input",)):
        found.rows += 1
        if row["unit"] not in units:
            gone[row["unit"]] = row["input"]
    found.gone = list(gone.values())
    found.replaced = sum(1 for _ in output.all_keys()) - found.rows
    return found


def compact(output: Output) -> tuple[int, int]:
    """Write the rows that hold to few parts, and remove the others; the output must be locked.

    Whenever it is interrupted, every row is in some part; what is then there twice is read once.

    Returns
    -------
    tuple of int
        Parts before and after.
    """
    import pyarrow as pa

    before = output.parts
    collected: list[pyarrow.Table] = []
    written = set()

    def write() -> None:
        table = pa.concat_tables(collected)
        collected.clear()
        if table.num_rows:
            written.add(output.write_table(table))

    for _, table in output.tables():
        collected.append(table)
        if sum(t.num_rows for t in collected) >= _PART_ROWS:
            write()
    if collected:
        write()
    for path in before:
        if path not in written:
            path.unlink()
    return len(before), len(output.parts)

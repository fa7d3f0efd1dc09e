"""The output folder: ``run.json``, a lock, and Parquet parts, which are the only record of what is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ichor.bulk.schema import ASSESSED, METADATA_KEY, RowForm, check_installed
from ichor.errors import UsageError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Done", "Key", "Output", "part_name"]

Key = tuple[str, int]
"""A unit and the number of a row of it."""
_RUN, _LOCK = "run.json", "lock"
_PATTERN = "part-*.parquet"
_NEW = ".new"
_KEYS = ("unit", "row", "revision", "source", "state", "code", "input", "stored")
"""Columns by which it is known what is done."""


class Done:
    """What the parts hold of one unit.

    Attributes
    ----------
    revision
        Highest of its rows.
    source
        Fingerprint that these rows were made of.
    failed
        Whether one of these rows is ``failed``, or its DICOM objects were not stored.
    """

    __slots__ = ("failed", "revision", "source")

    def __init__(self, revision: int, source: str, failed: bool) -> None:
        self.revision, self.source, self.failed = revision, source, failed


class Output:
    """An output folder: ``run.json``, ``lock``, and the parts in ``rows``.

    Parameters
    ----------
    folder
        Made by :meth:`begin`; must exist for anything else.
    form
        Of its rows.
    """

    def __init__(self, folder: Path, form: RowForm = ASSESSED) -> None:
        check_installed()
        self.folder, self.form = folder, form
        # Of their own, so that whatever reads a folder of Parquet files finds nothing else.
        self._rows = folder / "rows"

    @property
    def parts(self) -> list[Path]:
        """The parts there are, in the order of their names."""
        return sorted(self._rows.glob(_PATTERN))

    def run(self) -> dict[str, Any]:
        """Return ``run.json``.

        Raises
        ------
        UsageError
            Where the folder is no output of bulk, or of a version that this ichor does not read.
        """
        path = self.folder / _RUN
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self.folder}: found no {_RUN} that can be read ({type(error).__name__}); expected the output folder "
                "of an earlier run; check the path"
            ) from None
        found = data.get("schema") if isinstance(data, dict) else None
        if found != self.form.version:
            raise UsageError(
                f"{path}: found schema {str(found)[:40]!r}; expected {self.form.version!r}; use the version of ichor "
                "that wrote it"
            )
        return dict(data)

    def begin(self, run: Mapping[str, Any]) -> None:
        """Write ``run.json``, or check that a run that was begun before is the same.

        Raises
        ------
        UsageError
            Where the folder holds another run, or something else.
        """
        new = {"schema": self.form.version, **run}
        if not (self.folder / _RUN).exists():
            strange = [p.name for p in self.folder.iterdir() if p.name not in (_LOCK, "rows")]
            if strange or self.parts:
                raise UsageError(
                    f"{self.folder}: found a folder that holds other files; expected an empty one, or "
                    "that of an earlier run; give another with -o"
                )
            self._rows.mkdir(exist_ok=True)
            _write(self.folder / _RUN, json.dumps(new, indent=1).encode() + b"\n")
            return
        known = self.run()
        differing = [key for key in new if key != "version" and known.get(key) != new[key]]
        if differing:
            changes = "; ".join(
                f"{key} {_short(known.get(key))}, not {_short(new[key])}" for key in differing
            )
            raise UsageError(
                f"{self.folder}: found a run with {changes}; expected the same model and options as before; give "
                "another folder with -o, or the earlier options"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others from writing here.

        Raises
        ------
        UsageError
            Where another process writes here.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / _LOCK).open("ab")
        except OSError as error:
            raise UsageError(
                f"{self.folder}: found that nothing can be written there ({error.strerror or type(error).__name__}); "
                "expected a folder to write to; give another with -o"
            ) from error
        with file:
            if not _locked(file):
                raise UsageError(
                    f"{self.folder}: found another process that writes there; expected one at a time; wait for it, or "
                    "give another folder with -o"
                )
            # What a killed run had not finished writing.
            for path in (*self.folder.glob(f".*{_NEW}"), *self._rows.glob(f".*{_NEW}")):
                path.unlink(missing_ok=True)
            yield

    def write(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write rows to a part, which is there whole or not at all, also after a loss of power."""
        import pyarrow as pa

        return self.write_table(pa.Table.from_pylist(list(rows), schema=self.form.arrow_schema()))

    def write_table(self, table: pyarrow.Table) -> Path:
        """Write a table of rows to a part, as :meth:`write` does."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table.validate(full=True)
        for field in table.schema:  # pyarrow writes nulls where the schema allows none
            if not field.nullable and table[field.name].null_count:
                raise ValueError(f"rows without {field.name}")
        keys = zip(*(table[name].to_pylist() for name in ("unit", "row", "revision")), strict=True)
        path = self._rows / part_name(keys)
        if not path.exists():
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            _write(path, sink.getvalue())
        return path

    def read(self, path: Path, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Read a part.

        Raises
        ------
        UsageError
            Where it is none of this version.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                found = (schema.metadata or {}).get(METADATA_KEY, b"").decode("ascii", "replace")
                if found != self.form.version:
                    raise UsageError(
                        f"{path}: found schema {found[:40]!r}; expected {self.form.version!r}; use the version of "
                        "ichor that wrote it"
                    )
                return file.read(columns=list(columns) if columns else None)
        except (pa.ArrowException, OSError) as error:
            raise UsageError(
                f"{path}: found a file that cannot be read ({type(error).__name__}); expected a part of ichor bulk; "
                "remove it, and run again: what it held is assessed anew"
            ) from None

    def all_keys(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield of every row, also of those that a later revision replaces, its part and what it is of."""
        columns = {column.name for column in self.form.columns}
        for path in self.parts:
            table = self.read(path, [name for name in _KEYS if name in columns])
            for row in table.to_pylist():
                yield path, row

    def done(self) -> dict[str, Done]:
        """Return what is done, by unit."""
        found: dict[str, Done] = {}
        for _, row in self.all_keys():
            known = found.get(row["unit"])
            failed = row["state"] == "failed" or row.get("stored") is False
            if known is None or row["revision"] > known.revision:
                found[row["unit"]] = Done(row["revision"], row["source"], failed)
            elif row["revision"] == known.revision:
                known.failed |= failed
        return found

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[tuple[Path, pyarrow.Table]]:
        """Yield the rows that hold, part by part: no doubles, and of each unit the highest revision alone."""
        import pyarrow as pa

        highest = {unit: done.revision for unit, done in self.done().items()}
        given: set[Key] = set()
        names = list(dict.fromkeys(("unit", "row", "revision", *columns))) if columns else None
        for path in self.parts:
            table = self.read(path, names)
            keys = zip(*(table[name].to_pylist() for name in ("unit", "row", "revision")), strict=True)
            holds = []
            for unit, row, revision in keys:
                good = revision == highest[unit] and (unit, row) not in given
                holds.append(good)
                if good:
                    given.add((unit, row))
            yield path, table.filter(pa.array(holds, pa.bool_()))

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of :meth:`tables`."""
        for _, table in self.tables(columns):
            yield from table.to_pylist()

    def remove_replaced(self) -> int:
        """Remove rows that a later revision replaces, and doubles, from the parts that hold some.

        Returns
        -------
        int
            How many there were.
        """
        removed = 0
        for path, table in self.tables():
            before = self.read(path, ("unit",)).num_rows
            if table.num_rows == before:
                continue
            removed += before - table.num_rows
            new = self.write_table(table) if table.num_rows else None
            if new != path:
                path.unlink()
        return removed


def part_name(keys: Iterator[tuple[str, int, int]]) -> str:
    """Name a part by its rows: the same rows always have the same name."""
    text = "\n".join(f"{unit} {row} {revision}" for unit, row, revision in sorted(keys))
    return f"part-{hashlib.sha256(text.encode()).hexdigest()[:32]}.parquet"


def _write(path: Path, content: Any) -> None:
    """Write a file whole: a temporary one, which the disk holds before it gets its name."""
    temporary = path.with_name(f".{path.name}{_NEW}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name != "nt":
        number = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _locked(file: IO[bytes]) -> bool:
    """Take a lock that the system takes back when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        windows: Any = msvcrt
        try:
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."

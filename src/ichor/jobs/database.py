"""The database: SQLite in the state folder, or what a URL names; brought to the newest form at start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlmodel import Session

from ichor.errors import UsageError

__all__ = ["Database"]

_BUSY_MS = 15_000
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Sessions over one database.

    Parameters
    ----------
    url
        As SQLAlchemy takes it.

    Raises
    ------
    UsageError
        Where the URL cannot be used. Its text is not repeated: it may hold a password.
    """

    def __init__(self, url: str) -> None:
        try:
            self.engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError):
            raise UsageError(
                "--database: found a URL that cannot be used; expected sqlite:///FILE or "
                "postgresql://USER:PASSWORD@HOST/NAME; check it, and that its driver is installed"
            ) from None
        self._writing = self.engine.execution_options(ichor_write=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of our own."""
        return self.engine.dialect.name == "sqlite"

    def migrate(self) -> None:
        """Bring the tables to the form that this version uses.

        Raises
        ------
        UsageError
            Where the database cannot be reached, or was made by a newer version.
        """
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:
                    # A table that others refer to is made anew under its name; only outside a transaction.
                    _raw(connection, "PRAGMA foreign_keys=OFF")
                with connection.begin():
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
                if self.is_sqlite:
                    _raw(connection, "PRAGMA foreign_keys=ON")
        except SQLAlchemyError as error:
            raise UsageError(
                f"the database: found that it cannot be opened ({type(error).__name__}); expected one that "
                "can be written to; check --database or --state"
            ) from None

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for reading."""
        with Session(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are all made at its end, or none."""
        # A write transaction takes SQLite's lock at its start: one that begins by reading could not get it later.
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def scrub(self) -> None:
        """After deletions: keep nothing of what was deleted in SQLite's log.

        Deleted rows themselves are overwritten with zeros (``secure_delete``).
        """
        if self.is_sqlite:
            with self.engine.connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    pool: dict[str, Any] = {"pool_size": 20, "max_overflow": 30}
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, **pool)
    connect = {"check_same_thread": False, "timeout": _BUSY_MS / 1000}
    engine = create_engine(url, connect_args=connect, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _raw(connection: Connection, statement: str) -> None:
    """Run a statement on the driver's connection, in no transaction."""
    cursor = connection.connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("ichor_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

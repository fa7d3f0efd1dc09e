"""The database is made, and made anew, by its migrations; SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from ichor.errors import UsageError
from ichor.jobs import database as database_module
from ichor.jobs.database import Database
from ichor.jobs.queue import Queue
from jobs.postgres import started_postgres
from serving.served import Served, done, exam, listed, submit, until


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of an empty PostgreSQL database: of ICHOR_POSTGRES, or of a server started for the test."""
    given = os.environ.get("ICHOR_POSTGRES")
    if given:
        yield given
        return
    with started_postgres() as server:
        yield server.url


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))


def test_from_empty_to_the_tables_of_the_code(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    database.migrate()
    assert differences(database) == []
    with database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA secure_delete")) == 1
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0007"
    database.close()


def filled_with_the_first_form(url: str) -> Database:
    """A database as the version before made it, with an upload of three inputs of which one is done."""
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO job (seq, upload, arrived, state, attempts, inputs, dropped, alias) VALUES "
            "(7, 'aa', 5, 'queued', 1, '[\"000000\", \"000001\", \"000002/000002.nii\"]', '[]', 'x'), "
            "(8, 'bb', 6, 'done', 1, '[\"000000\"]', '[]', NULL)",
            "INSERT INTO study (id, job, part, arrived, state, label, flagged, warnings_n) VALUES "
            "('s0', 7, 0, 5, 'ready', 'A', false, 0), ('s1', 7, 1, 5, 'reading', 'B', false, 0), "
            "('s2', 8, 0, 6, 'ready', 'C', false, 0)",
            "INSERT INTO findings (study, findings) VALUES ('s0', '{}')",
            "INSERT INTO session (hash, \"user\", expires) VALUES ('h', 'anna', 1e12)",
        ):
            connection.execute(text(statement))
        if not database.is_sqlite:
            connection.execute(text("SELECT setval('job_seq_seq', 8)"))
    return database


def check_upgrade(database: Database) -> None:
    database.migrate()
    assert differences(database) == []
    with database.engine.connect() as connection:
        jobs = connection.execute(
            text("SELECT upload, number, input, state, turn, alias FROM job ORDER BY upload, number")
        ).all()
        assert [tuple(job) for job in jobs] == [
            ("aa", 0, "000000", "queued", 7, "x"),
            ("aa", 1, "000001", "queued", 7, "x"),
            ("aa", 2, "000002/000002.nii", "queued", 7, "x"),
            ("bb", 0, "000000", "done", 8, None),
        ]
        studies = connection.execute(text("SELECT id, state FROM study WHERE id LIKE 's_' ORDER BY id")).all()
        assert [tuple(study) for study in studies] == [("s0", "ready"), ("s1", "reading"), ("s2", "ready")]
        assert connection.scalar(text("SELECT count(*) FROM study WHERE state = 'queued'")) == 2
        assert connection.scalar(text("SELECT count(*) FROM findings")) == 1
        assert connection.scalar(text("SELECT count(*) FROM session")) == 0
    queue = Queue(database)
    assert [queue.lease(f"{k}").input for k in range(3)] == ["000000", "000001", "000002/000002.nii"]  # type: ignore[union-attr]


def test_what_waits_in_a_database_of_the_version_before_gets_a_job_an_input(tmp_path: Path) -> None:
    database = filled_with_the_first_form(f"sqlite:///{tmp_path / 'a.db'}")
    check_upgrade(database)
    with database.engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql+nothing://x", "postgresql://u:secret-word@:bad/x"])
def test_a_url_that_cannot_be_used_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="--database") as told:
        Database(url)
    assert "secret-word" not in str(told.value)


def test_a_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"no database at all, but a text that is long enough to be looked at" * 20)
    with pytest.raises(UsageError, match="cannot be opened"):
        Database(f"sqlite:///{path}").migrate()


def test_postgresql_is_brought_from_the_version_before_to_the_same_tables(postgres: str) -> None:
    url = postgres.replace("postgresql://", "postgresql+psycopg://", 1)
    database = filled_with_the_first_form(url)
    check_upgrade(database)
    with database.write() as session:
        for table in ("findings", "study", "job"):
            session.execute(text(f"DELETE FROM {table}"))
    assert {"job", "study", "findings", "verdict", "event", "session"} <= set(
        inspect(database.engine).get_table_names()
    )
    database.close()


def test_the_queue_survives_on_postgresql_too(postgres: str, serve: Callable[..., Served]) -> None:
    first = serve("--database", postgres)
    assert not (first.state / "ichor.db").exists()
    with first.client() as client:
        ids = [submit(client, (f"{k}.nii", exam(k)))["studies"][0]["id"] for k in range(4)]
        until(lambda: any(s["state"] == "ready" for s in listed(client)), "the first")
    first.kill_worker()
    first.kill()
    second = serve(state=first.state, ICHOR_DATABASE=postgres)
    with second.client() as client:
        assert {done(client, s)["state"] for s in ids} == {"ready"}
        until(lambda: len(listed(client)) == 4, "four rows")
        said = {"reader": "anna", "verdict": "disagree", "labels": {"any": False}, "note": "x"}
        assert client.put(f"/studies/{ids[0]}/verdict", json=said).json()["verdict"] == "disagree"
        assert client.delete(f"/studies/{ids[1]}").status_code == 204
        assert {s["id"] for s in listed(client)} == {*ids} - {ids[1]}
    finished = [e["study"] for s in (first, second) for e in s.events() if e["event"] == "study_done"]
    assert sorted(finished) == sorted(ids)

"""The database is made, and made anew, by its migrations; SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from ichor.errors import UsageError
from ichor.jobs.database import Database
from serving.served import Served, done, exam, listed, submit, until


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty PostgreSQL database: of ICHOR_POSTGRES, or of a server started for the test."""
    given = os.environ.get("ICHOR_POSTGRES")
    if given:
        yield given
        return
    found = [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        *([Path(p)] if (p := shutil.which("initdb")) else []),
    ]
    if not found:
        pytest.skip("needs a PostgreSQL server: its programs here, or a URL in ICHOR_POSTGRES")
    programs = found[0].resolve().parent
    folder = tmp_path_factory.mktemp("postgres")
    # It refuses to run as root.
    prefix: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("runuser") or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("needs a user 'postgres', as PostgreSQL does not run as root")
        prefix = ["runuser", "-u", "postgres", "--"]
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(programs / program), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        if done.returncode:
            pytest.skip(
                f"needs a PostgreSQL server that starts; {program} here says: {done.stderr.strip()[-200:]}"
            )

    run("initdb", "-D", str(data), "-U", "ichor", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql://ichor@/postgres?host={folder}"
    run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


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
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0001"
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


def test_postgresql_has_the_same_tables(postgres: str) -> None:
    url = postgres.replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)
    database.migrate()
    assert differences(database) == []
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

"""A PostgreSQL server of the machine's own programs, for tests alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


class Postgres:
    """One server with an empty database, reached by a socket in its folder."""

    def __init__(self, programs: Path, folder: Path, prefix: list[str]) -> None:
        self.programs, self.folder, self.prefix = programs, folder, prefix
        self.url = f"postgresql://ichor@/postgres?host={folder}"
        self._run("initdb", "-D", self._data, "-U", "ichor", "-A", "trust", "--no-sync")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self.prefix, str(self.programs / program), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        if done.returncode:
            pytest.skip(
                f"needs a PostgreSQL server that starts; {program} here says: {done.stderr.strip()[-200:]}"
            )


@contextlib.contextmanager
def started_postgres() -> Iterator[Postgres]:
    """A server that runs; the test is skipped where the machine has none."""
    found = [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        *([Path(p)] if (p := shutil.which("initdb")) else []),
    ]
    if not found:
        pytest.skip("needs a PostgreSQL server: its programs here, or a URL in ICHOR_POSTGRES")
    # A folder of its own: pytest's is closed to the user that the server runs as, since it refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="ichor-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        prefix: list[str] = []
        if os.geteuid() == 0:
            if (
                not shutil.which("runuser")
                or subprocess.run(["id", "postgres"], capture_output=True).returncode
            ):
                pytest.skip("needs a user 'postgres', as PostgreSQL does not run as root")
            prefix = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        server = Postgres(found[0].resolve().parent, folder, prefix)
        server.start()
        try:
            yield server
        finally:
            server.stop()

"""Poison beside good studies, a disk that is full or read-only, a database that is away: a clear state, and no loss."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from jobs.postgres import started_postgres
from serving.served import Served, done, exam, listed, submit, until

ALIAS = "alias-that-is-nowhere-else"


def deaths(served: Served) -> int:
    return sum(e["event"] == "worker_died" for e in served.events())


def ready(served: Served) -> dict[str, object]:
    return dict(httpx.get(f"{served.url}/health/ready").json())


def test_one_poison_file_beside_three_good_ones_costs_itself_alone(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        files = [(f"{k}.nii", exam(40 + k)) for k in range(4)]
        rows = submit(client, *files)["studies"]
        assert len(rows) == 4  # listed from the start, whatever becomes of them
        good = [rows[k]["id"] for k in (0, 2, 3)]
        poison = rows[1]["id"]
        for death in range(1, 4):
            until(
                lambda: client.get(f"/studies/{poison}").json()["state"] in ("reading", "detecting"),
                "its turn",
            )
            served.kill_worker()
            until(lambda n=death: deaths(served) == n, "the death to be seen")  # type: ignore[misc]
            if death == 1:
                # It went to the back: the others are not held up by it.
                until(
                    lambda: all(client.get(f"/studies/{s}").json()["state"] == "ready" for s in good),
                    "the good ones, while the poison has had one turn",
                )
                assert deaths(served) == 1
                assert any((served.state / "uploads").iterdir())  # the poison's own file is still there
        until(lambda: client.get(f"/studies/{poison}").json()["state"] == "refused", "it to be given up")
        assert client.get(f"/studies/{poison}").json()["refusal"]["code"] == "gave_up"
        assert {row["id"]: row["state"] for row in listed(client)} == {
            **dict.fromkeys(good, "ready"),
            poison: "refused",
        }
        until(lambda: not any((served.state / "uploads").iterdir()), "the upload to be removed")


def test_a_study_deleted_while_its_report_is_written_leaves_no_word(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        study = submit(client, ("a.nii", exam(50)), alias=ALIAS)["studies"][0]["id"]
        until(lambda: client.get(f"/studies/{study}").json()["state"] == "ready", "the study")
        assert client.delete(f"/studies/{study}").status_code == 204
        assert not any(e["event"] == "job_done" for e in served.events())  # its report was being written
        until(lambda: any(e["event"] == "job_done" for e in served.events()), "the worker to end it")
    content = b"".join(p.read_bytes() for p in served.state.rglob("*") if p.is_file())
    assert ALIAS.encode() not in content
    assert study not in {p.name for p in (served.state / "studies").iterdir()}


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts a small file system over a folder, and takes it away; needs the right to do so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small or a read-only file system")
    places: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
        places.append(place)

    def unmount(place: Path) -> None:
        subprocess.run(["umount", str(place)], check=True)
        places.remove(place)

    mount.unmount = unmount  # type: ignore[attr-defined]
    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_is_full_or_read_only_is_waited_for(
    serve: Callable[..., Served], tmp_path: Path, mounted: Callable[..., None]
) -> None:
    state = tmp_path / "small" / "state"
    mounted(tmp_path / "small", "size=300m")
    served = serve(state=state)
    with served.client() as client:
        first = submit(client, ("a.nii", exam(60)))["studies"][0]["id"]
        assert done(client, first)["state"] == "ready"
        # Full: what is sent now waits, and is not refused.
        second = submit(client, ("b.nii", exam(61)))["studies"][0]["id"]
        filler = tmp_path / "small" / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(b"x" * (1 << 20))
                    file.flush()
            except OSError:
                pass
        until(lambda: ready(served)["storage"] is False, "the disk to be seen")
        assert ready(served)["status"] == "not_ready"
        answer = client.post("/uploads", json={"files": [{"path": "a", "size": 1}]})
        assert (answer.status_code, answer.json()["code"]) == (507, "no_room")
        filler.unlink()
        assert done(client, second)["state"] == "ready"
        # Read-only, where the worker makes its files.
        third = submit(client, ("c.nii", exam(62)))["studies"][0]["id"]
        mounted(state / "scratch", "size=1m,ro")
        until(lambda: ready(served)["storage"] is False, "the disk to be seen")
        mounted.unmount(state / "scratch")  # type: ignore[attr-defined]
        assert done(client, third)["state"] == "ready"
        assert {row["state"] for row in listed(client)} == {"ready"}
    assert deaths(served) == 0
    assert {e["attempt"] for e in served.events() if e["event"] == "job_taken"} == {1}


def test_a_database_that_is_locked_is_waited_for(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        study = submit(client, ("a.nii", exam(70)))["studies"][0]["id"]
        until(lambda: client.get(f"/studies/{study}").json()["state"] != "queued", "it to be taken")
        other = sqlite3.connect(served.state / "ichor.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        until(lambda: any(e["event"] == "interrupted" for e in served.events()), "the worker to see it", 60)
        answer = client.patch(f"/studies/{study}", json={"alias": "x"})
        assert answer.status_code == 503
        assert answer.json()["message"].startswith("The database is away")
        other.execute("ROLLBACK")
        other.close()
        assert done(client, study)["state"] == "ready"
        assert {row["id"] for row in listed(client)} == {study}
    assert deaths(served) == 0
    assert {e["attempt"] for e in served.events() if e["event"] == "job_taken"} == {1}


def test_a_postgresql_that_is_away_for_a_while_loses_nothing(serve: Callable[..., Served]) -> None:
    with started_postgres() as postgres:
        served = serve("--database", postgres.url)
        with served.client() as client:
            ids = [submit(client, (f"{k}.nii", exam(80 + k)))["studies"][0]["id"] for k in range(3)]
            until(lambda: any(s["state"] == "ready" for s in listed(client)), "the first")
            postgres.stop()
            until(lambda: ready(served)["database"] is False, "it to be seen")
            answer = client.get("/studies")
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            time.sleep(8)  # the worker meets it, too
            postgres.start()
            assert {done(client, s)["state"] for s in ids} == {"ready"}
            assert ready(served)["status"] == "ok"
            until(lambda: len(listed(client)) == 3, "three rows")
        assert deaths(served) == 0
        served.stop()

"""A study that is queued survives ``kill -9``, and is neither lost nor done twice."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from serving.served import Served, exam, listed, submit, until

N = 10


def finished(client: httpx.Client) -> int:
    return sum(s["state"] in ("ready", "refused") for s in listed(client))


def sent_ten(client: httpx.Client) -> list[str]:
    return [submit(client, (f"{k}.nii", exam(k)))["studies"][0]["id"] for k in range(N)]


def times_done(*servers: Served) -> Counter[str]:
    """How often each study was finished, by the log of all servers."""
    return Counter(e["study"] for s in servers for e in s.events() if e["event"] == "study_done")


@pytest.mark.parametrize("who", ["worker", "web", "both"])
def test_ten_queued_studies_survive_a_kill_in_the_middle(serve: Callable[..., Served], who: str) -> None:
    first = serve()
    with first.client() as client:
        ids = sent_ten(client)
        until(lambda: 2 <= finished(client) < N - 2, "some of the ten")
    servers = [first]
    if who in ("worker", "both"):
        first.kill_worker()
    if who in ("web", "both"):
        first.kill()
        servers.append(serve(state=first.state))
    with servers[-1].client() as client:
        until(lambda: finished(client) == N, "all ten")
        rows = listed(client)
        assert {r["id"] for r in rows} == set(ids)
        assert {r["state"] for r in rows} == {"ready"}
        assert all(client.get(f"/studies/{s}/findings").json()["assessable"] for s in ids)
        assert all(len(client.get(f"/studies/{s}/volume.nii.gz").content) > 10_000 for s in ids)
        until(lambda: not any((first.state / "uploads").iterdir()), "the uploads to be removed")
    done_once = times_done(*servers)
    assert set(done_once) <= set(ids)
    assert set(done_once.values()) == {1}


def test_a_worker_that_dies_again_and_again_gives_its_study_up(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        study = submit(client, ("a.nii", exam(1)))["studies"][0]["id"]
        for death in range(1, 4):
            until(
                lambda: client.get(f"/studies/{study}").json()["state"] in ("reading", "detecting"),
                "it to be taken",
            )
            served.kill_worker()
            until(
                lambda n=death: sum(e["event"] == "worker_died" for e in served.events()) == n,  # type: ignore[misc]
                "the death to be seen",
            )
        until(lambda: client.get(f"/studies/{study}").json()["state"] == "refused", "it to be given up")
        row = client.get(f"/studies/{study}").json()
        assert row["refusal"]["code"] == "gave_up"
        assert "ended the worker" in row["refusal"]["message"]
        # The next one is not held up.
        other = submit(client, ("b.nii", exam(2)))["studies"][0]["id"]
        until(lambda: client.get(f"/studies/{other}").json()["state"] == "ready", "the next study")
        assert client.get(f"/studies/{study}/findings").status_code == 404


def test_the_worker_of_a_killed_server_ends_by_itself(serve: Callable[..., Served]) -> None:
    served = serve()
    worker = served.worker
    served.kill()

    def is_gone() -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return "(zombie)" in Path(f"/proc/{worker}/status").read_text()
        return True

    until(is_gone, "the worker to end", 10)


def test_an_ordinary_end_finishes_what_is_being_done_and_counts_no_attempt(
    serve: Callable[..., Served],
) -> None:
    first = serve()
    with first.client() as client:
        ids = [submit(client, (f"{k}.nii", exam(k)))["studies"][0]["id"] for k in range(3)]
        until(lambda: finished(client) >= 1, "the first")
    assert first.stop() == 0
    assert not any("Traceback" in line or "Fatal" in line for line in first.log)
    assert not any((first.state / "scratch").iterdir())
    second = serve(state=first.state)
    with second.client() as client:
        until(lambda: finished(client) == 3, "the rest")
        assert {r["id"] for r in listed(client)} == set(ids)
    attempts = [e["attempt"] for e in second.events() if e["event"] == "job_taken"]
    assert set(attempts) == {1}
    assert set(times_done(first, second).values()) == {1}


def test_two_servers_do_not_share_a_folder(serve: Callable[..., Served]) -> None:
    first = serve()
    with pytest.raises(AssertionError, match="another ichor serve uses this folder"):
        serve(state=first.state, wait=False)
    assert httpx.get(f"{first.url}/health/live").status_code == 200


def test_a_report_that_a_kill_cut_short_is_written_later(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        study = submit(client, ("a.nii", exam(1)))["studies"][0]["id"]
        until(lambda: client.get(f"/studies/{study}").json()["state"] == "ready", "the study")
        served.kill_worker()
        findings = client.get(f"/studies/{study}/findings").json()
        assert client.get(f"/studies/{study}/overlays.zip").json()["code"] == "not_done"
        until(lambda: client.get(f"/studies/{study}/overlays.zip").status_code == 200, "the overlays")
        assert findings["input"] in client.get(f"/studies/{study}/report.html").text
        assert client.get(f"/studies/{study}/findings").json() == findings
    assert times_done(served) == {study: 1}

"""Changes are told as they happen, and after a while away."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from serving.served import Served, done, events, exam, listed, submit, until


class Listener:
    """A page that listens."""

    def __init__(self, served: Served, last: int | None = None) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.last = last or 0
        self._open = threading.Event()
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        self._thread = threading.Thread(target=self._listen, args=(served.url, headers), daemon=True)
        self._thread.start()
        assert self._open.wait(10)

    def _listen(self, url: str, headers: dict[str, str]) -> None:
        with (
            contextlib.suppress(httpx.TransportError),  # a server that is killed says no farewell
            httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=None) as answer,
        ):
            kind = ""
            for line in answer.iter_lines():
                self._open.set()
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last = int(value)
                elif field == "event":
                    kind = value
                elif field == "data":
                    self.heard.append((kind, json.loads(value)))

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def states(self, study: str) -> list[str]:
        return [d["state"] for k, d in list(self.heard) if k == "study" and d["id"] == study]


def test_two_pages_hear_the_same_study_come_and_go(serve: Callable[..., Served]) -> None:
    served = serve()
    one, two = Listener(served), Listener(served)
    with served.client() as client:
        study = submit(client, ("a.nii", exam(1)))["studies"][0]["id"]
        row = done(client, study)
        for page in (one, two):
            until(lambda p=page: "ready" in p.states(study), "the study to be told as ready", 5)  # type: ignore[misc]
            order = ["queued", "reading", "detecting", "ready"]
            places = [order.index(s) for s in page.states(study)]
            assert places == sorted(places)
            told = [d for k, d in page.heard if k == "study" and d["state"] == "ready"][-1]
            assert {k: told[k] for k in ("probability", "label", "place", "volume_ml")} == {
                k: row[k] for k in ("probability", "label", "place", "volume_ml")
            }
        client.put(f"/studies/{study}/verdict", json={"reader": "anna", "verdict": "agree"})
        until(lambda: any(d.get("read_by") == "anna" for _, d in two.heard), "the verdict", 5)
        client.delete(f"/studies/{study}")
        for page in (one, two):
            until(lambda p=page: ("deleted", {"id": study}) in p.heard, "the deletion", 5)  # type: ignore[misc]


def test_whoever_comes_back_is_told_what_was_missed_or_to_ask_anew(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        page = Listener(served)
        first = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])["id"]
        until(lambda: "ready" in page.states(first), "the first", 5)
        last = page.last
        second = done(client, submit(client, ("b.nii", exam(2)))["studies"][0]["id"])["id"]
        missed = list(events(client, last))
        assert {e["data"].get("id") for e in missed} >= {second}
        assert [e["data"]["state"] for e in missed if e["data"].get("id") == second] == ["ready"]
        assert [e["event"] for e in events(client, 10_000)] == ["reset"]
    served.stop()
    again = serve(state=served.state)
    with again.client() as client:
        # Numbers go on over a restart.
        assert [e["data"]["id"] for e in events(client, missed[-1]["id"] - 1)][-1] == second
        assert len(listed(client)) == 2


def test_a_page_that_began_to_listen_misses_nothing(server: Served) -> None:
    with server.client() as client:
        for k in range(5, 13):
            page = Listener(server)  # the first word of the server is all that it waits for
            study = submit(client, ("a.nii", exam(k)))["studies"][0]["id"]
            done(client, study)
            until(lambda p=page, s=study: "ready" in p.states(s), "the study to be told as ready", 10)  # type: ignore[misc]


def test_the_server_ends_while_pages_listen(serve: Callable[..., Served]) -> None:
    served = serve()
    pages = [Listener(served) for _ in range(5)]
    began = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - began < 10
    assert all(p.ended(5) for p in pages)
    assert not any('"level": "error"' in line for line in served.log)

"""The disk: what is announced is set aside, every chunk is checked, a reserve stays."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from fastapi import FastAPI
from starlette.testclient import TestClient

from ichor.jobs.storage import Storage
from ichor.serving.app import create_app
from ichor.serving.room import SPARE_BYTES, NoRoom, Room
from ichor.serving.settings import Settings
from ichor.serving.upload_plan import PlannedUpload

MB = 1_000_000


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    app = create_app(Settings(state=tmp_path / "state"))
    yield app
    app.state.server.database.close()


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://localhost")


def free(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    """A disk of which so much is free, whatever is written: the test's own is larger, and others write to it."""
    monkeypatch.setattr(Storage, "free_bytes", lambda _: int(megabytes * MB))


def begin(browser: TestClient, size: int) -> tuple[int, str]:
    answer = browser.post("/api/v1/uploads", json={"files": [{"path": "a.zip", "size": size}]})
    return answer.status_code, answer.json().get("id", answer.json().get("code"))


def test_uploads_that_do_not_fit_together_are_refused_before_a_byte_is_sent(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 314)
    answers = [begin(browser, 90 * MB) for _ in range(6)]
    assert [status for status, _ in answers] == [201] + [507] * 5
    assert {code for status, code in answers if status == 507} == {"no_room"}
    # One that is cancelled makes room for another.
    assert browser.delete(f"/api/v1/uploads/{answers[0][1]}").status_code == 204
    assert begin(browser, 90 * MB)[0] == 201


def test_a_disk_that_fills_up_meanwhile_stops_the_next_chunk(
    app: FastAPI, browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1000)
    _, upload = begin(browser, 3 * MB)
    url = f"/api/v1/uploads/{upload}/files/0"
    assert browser.put(url, content=b"x" * MB).json() == {"received": MB}
    free(monkeypatch, SPARE_BYTES / MB + 0.5)
    answer = browser.put(url, params={"offset": MB}, content=b"x" * MB)
    assert (answer.status_code, answer.json()["code"]) == (507, "no_room")
    assert browser.get(f"/api/v1/uploads/{upload}").json()["files"][0]["received"] == MB
    form = browser.post("/api/v1/studies", files={"files": ("a.zip", b"x" * 2 * MB)})
    assert (form.status_code, form.json()["code"]) == (507, "no_room")
    assert [p.name for p in app.state.server.storage.uploads.iterdir()] == [upload]
    free(monkeypatch, 1000)
    assert browser.put(url, params={"offset": MB}, content=b"x" * 2 * MB).json() == {"received": 3 * MB}


def test_what_is_sent_is_no_longer_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(Storage(tmp_path))
    free(monkeypatch, 300)
    room.reserve("a", 60 * MB)
    with pytest.raises(NoRoom):
        room.reserve("b", 60 * MB)
    room.take("a", 60 * MB)  # now it is on the disk, and no longer free
    free(monkeypatch, 300)
    room.reserve("b", 60 * MB)


def test_over_a_restart_and_after_a_long_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path)
    monkeypatch.setattr("ichor.serving.upload_plan.new_id", lambda: "a" * 32)
    from ichor.reading.limits import Limits

    planned = PlannedUpload.plan([("a.zip", 90 * MB)], Limits())
    planned.create(storage)
    planned.file(storage, 0).write_bytes(b"x" * MB)
    free(monkeypatch, 370)
    (storage.uploads / ".DS_Store").write_bytes(b"")
    room = Room(storage)
    room.load()
    with pytest.raises(NoRoom):
        room.reserve("b", 90 * MB)
    room.reserve("b", 80 * MB)
    room.release("b")
    monkeypatch.setattr("ichor.serving.room._SET_ASIDE_S", 0.0)
    room.reserve("b", 160 * MB)


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.EROFS, 503, "storage_unavailable"),
        (errno.EACCES, 503, "storage_unavailable"),
        (errno.ENOSPC, 507, "no_room"),
    ],
)
def test_a_disk_that_takes_nothing_is_said_in_the_one_form(
    app: FastAPI, browser: TestClient, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "x")

    monkeypatch.setattr(PlannedUpload, "create", fail)
    free(monkeypatch, 400)
    for _ in range(3):  # what was set aside for a failure is free again
        answer = browser.post("/api/v1/uploads", json={"files": [{"path": "a.zip", "size": 150 * MB}]})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert list(app.state.server.storage.uploads.iterdir()) == []

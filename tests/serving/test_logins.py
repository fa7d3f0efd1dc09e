"""Sessions end with what gave them; nobody signs or deletes for another; guesses are counted before they are checked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx
from fastapi import FastAPI
from starlette.testclient import TestClient

from ichor.errors import UsageError
from ichor.jobs.storage import new_id
from ichor.jobs.tables import Job, Study
from ichor.serving.access import Access
from ichor.serving.app import create_app
from ichor.serving.brake import Brake, TooManyGuesses
from ichor.serving.passwords import hash_password
from ichor.serving.settings import Settings

TOKEN, OTHER_TOKEN = "a-long-enough-token-for-a-test", "another-token-that-is-long-enough"
WORD = "pass word 1"
Apps = Callable[..., FastAPI]


@pytest.fixture(scope="module")
def hashed() -> dict[str, str]:
    return {"anna": hash_password(WORD), "ben": hash_password("other word"), "new": hash_password("new word")}


@pytest.fixture
def apps(tmp_path: Path) -> Iterator[Apps]:
    """Applications over one state folder; without their worker."""
    made: list[FastAPI] = []

    def make(**settings: Any) -> FastAPI:
        app = create_app(Settings(state=tmp_path / "state", **settings))
        app.state.server.access.load()
        made.append(app)
        return app

    yield make
    for app in made:
        app.state.server.database.close()


def client(app: FastAPI, address: str = "10.1.1.1", **more: Any) -> TestClient:
    return TestClient(app, base_url="http://localhost", client=(address, 5000), **more)


def study_of(app: FastAPI) -> str:
    with app.state.server.database.write() as session:
        job = Job(upload=new_id(), arrived=0.0, state="done")
        session.add(job)
        session.flush()
        study = Study(id=new_id(), job=job.seq, arrived=0.0, label="AAAA-BBBB", state="ready")
        session.add(study)
        return study.id


def login(browser: TestClient, **shown: str) -> httpx.Response:
    return browser.post("/api/v1/login", json=shown)


def test_a_session_ends_with_the_password_that_gave_it(apps: Apps, hashed: dict[str, str]) -> None:
    before = client(apps(users={"anna": hashed["anna"]}))
    assert login(before, user="anna", password=WORD).status_code == 200
    cookies = dict(before.cookies)
    same = client(apps(users={"anna": hashed["anna"]}), cookies=cookies)
    assert same.get("/api/v1/studies").status_code == 200
    changed = client(apps(users={"anna": hashed["new"]}), cookies=cookies)
    assert changed.get("/api/v1/studies").status_code == 401
    # What was forgotten does not come back with the old password.
    again = client(apps(users={"anna": hashed["anna"]}), cookies=cookies)
    assert again.get("/api/v1/studies").status_code == 401


@pytest.mark.parametrize("later", ["another token", "no token", "users"])
def test_a_session_ends_with_the_token_that_gave_it(apps: Apps, hashed: dict[str, str], later: str) -> None:
    users = {"anna": hashed["anna"]}
    before = client(apps(token=TOKEN, users=users))
    assert login(before, token=TOKEN).status_code == 200
    present: dict[str, Any] = {
        "another token": {"token": OTHER_TOKEN},
        "no token": {"users": users},
        "users": {"token": OTHER_TOKEN, "users": users},
    }[later]
    after = client(apps(**present), cookies=dict(before.cookies))
    assert after.get("/api/v1/studies").status_code == 401
    said = {"reader": "anna", "verdict": "agree"}
    assert after.put(f"/api/v1/studies/{new_id()}/verdict", json=said).status_code == 401


def test_the_token_does_not_sign_as_a_user_and_a_reader_does_not_delete_anothers_verdict(
    apps: Apps, hashed: dict[str, str]
) -> None:
    app = apps(token=TOKEN, users={"anna": hashed["anna"], "ben": hashed["ben"]})
    url = f"/api/v1/studies/{study_of(app)}/verdict"
    token = client(app, headers={"Authorization": f"Bearer {TOKEN}"})
    for name in ("anna", "Anna ", "\uff21nna", "ben"):
        answer = token.put(url, json={"reader": name, "verdict": "agree"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert token.put(url, json={"reader": "carl", "verdict": "agree"}).json()["read_by"] == "carl"
    anna, ben = client(app), client(app)
    assert login(anna, user="anna", password=WORD).status_code == 200
    assert login(ben, user="ben", password="other word").status_code == 200
    # Whatever name is sent, a user signs with the own one.
    assert anna.put(url, json={"reader": "ben", "verdict": "disagree"}).json()["read_by"] == "anna"
    assert ben.delete(url, params={"reader": "anna"}).status_code == 403
    assert ben.delete(url).status_code == 200  # one's own, of which there is none
    assert token.delete(url, params={"reader": "anna"}).status_code == 403
    assert token.delete(url).status_code == 200  # those of people without a login
    readers = [v["reader"] for v in anna.get(url.replace("verdict", "verdicts")).json()]
    assert readers == ["anna"]
    assert anna.delete(url).json()["read_by"] is None


def test_of_sixty_guesses_at_once_eight_are_heard(apps: Apps, hashed: dict[str, str]) -> None:
    app = apps(users={"anna": hashed["anna"], "ben": hashed["ben"]})
    access: Access = app.state.server.access
    start = threading.Barrier(60)

    def guess(number: int) -> str:
        start.wait()
        try:
            return str(access.login("10.9.9.9", None, "anna", f"guess {number}"))
        except TooManyGuesses:
            return "braked"

    with ThreadPoolExecutor(60) as pool:
        answers = Counter(pool.map(guess, range(60)))
    assert answers == {"None": 8, "braked": 52}
    # Neither anna elsewhere nor another user is locked out; a wrong guess does not wear out a right one.
    assert login(client(app, "10.9.9.9"), user="anna", password=WORD).status_code == 429
    assert login(client(app, "10.1.1.1"), user="anna", password=WORD).status_code == 200
    assert login(client(app, "10.9.9.9"), user="ben", password="other word").status_code == 200


def test_right_guesses_are_not_counted_and_unknown_names_share_a_count() -> None:
    brake = Brake({"anna"})
    for _ in range(50):
        brake.take_back(brake.count("a", "anna"))
    for k in range(8):
        brake.count("a", f"nobody {k}")
    with pytest.raises(TooManyGuesses) as braked:
        brake.count("a", "somebody else")
    assert 0 < braked.value.wait_s <= 61
    brake.count("a", "anna")
    brake.count("a", None)
    brake.count("b", "nobody 1")


def test_only_a_trusted_proxy_says_where_a_guess_comes_from_and_that_it_came_by_https(
    apps: Apps, hashed: dict[str, str]
) -> None:
    app = apps(users={"anna": hashed["anna"]}, trusted_proxies=("10.0.0.5", "192.168.0.0/16"))
    proxy = client(app, "10.0.0.5")

    def through(header: str, password: str = "wrong", **more: str) -> httpx.Response:
        headers = {"X-Forwarded-For": header, **more}
        return proxy.post("/api/v1/login", json={"user": "anna", "password": password}, headers=headers)

    for k in range(8):  # what the caller itself wrote in front does not count
        assert through(f"1.1.1.{k}, 203.0.113.7, 192.168.3.3").status_code == 401
    assert through("203.0.113.7").status_code == 429
    answer = through("203.0.113.8", WORD)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["set-cookie"]
    assert "Secure" not in through("203.0.113.9", WORD, **{"X-Forwarded-Proto": "http"}).headers["set-cookie"]
    direct = client(app, "10.0.0.6")
    headers = [{"X-Forwarded-For": f"9.9.9.{k}", "X-Forwarded-Proto": "https"} for k in range(9)]
    wrong = {"user": "anna", "password": "wrong"}
    codes = [direct.post("/api/v1/login", json=wrong, headers=h).status_code for h in headers]
    assert codes == [401] * 8 + [429]
    right = client(app, "10.0.0.7").post(
        "/api/v1/login", json={"user": "anna", "password": WORD}, headers=headers[0]
    )
    assert "Secure" not in right.headers["set-cookie"]


def test_addresses_of_one_network_of_64_bits_are_one_caller(apps: Apps) -> None:
    app = apps(token=TOKEN)
    codes = [login(client(app, f"2001:db8:1:1::{k}"), token="wrong").status_code for k in range(9)]
    assert codes == [401] * 8 + [429]
    assert login(client(app, "2001:db8:1:2::1"), token="wrong").status_code == 401


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/8", ""])
def test_a_proxy_is_an_address_or_a_network(tmp_path: Path, proxy: str) -> None:
    with pytest.raises(UsageError, match="--trusted-proxy"):
        Settings(state=tmp_path, token=TOKEN, trusted_proxies=(proxy,))


def test_behind_a_proxy_somebody_must_log_in(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a token nor users"):
        Settings(state=tmp_path, trusted_proxies=("127.0.0.1",))


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_a_text_with_nul_is_refused(apps: Apps, text: str) -> None:
    app = apps()
    anybody = client(app)
    study = study_of(app)
    for answer in (
        anybody.put(
            f"/api/v1/studies/{study}/verdict", json={"reader": "a", "verdict": "agree", "note": text}
        ),
        anybody.put(f"/api/v1/studies/{study}/verdict", json={"reader": text + "a", "verdict": "agree"}),
        anybody.patch(f"/api/v1/studies/{study}", json={"alias": text + "a"}),
        anybody.get("/api/v1/studies", params={"q": text}),
        anybody.delete(f"/api/v1/studies/{study}/verdict", params={"reader": text}),
        anybody.post("/api/v1/uploads", json={"files": [{"path": "a", "size": 1}], "alias": text + "a"}),
    ):
        assert answer.status_code == 422, answer.request.url
        assert set(answer.json()) == {"code", "message"}
    whole = "first line\nsecond\tline"
    kept = anybody.put(
        f"/api/v1/studies/{study}/verdict", json={"reader": "a", "verdict": "agree", "note": whole}
    )
    assert kept.status_code == 200
    assert anybody.get(f"/api/v1/studies/{study}/verdicts").json()[0]["note"] == whole

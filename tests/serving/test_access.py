"""Who may come in, and what is refused at the door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from ichor.cli import run
from ichor.errors import UsageError
from ichor.serving.passwords import hash_password, password_fits, read_token, read_users
from ichor.serving.settings import Settings
from serving.served import Served

TOKEN = "a-long-enough-token-for-a-test"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_it_refuses_to_start_open_to_the_world(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--host", host, "--port", "0", "--state", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert "neither a token nor users" in said
    assert "--token-file" in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_this_machine_alone_needs_no_token(tmp_path: Path, host: str) -> None:
    assert not Settings(state=tmp_path, host=host).guarded


def test_identities_are_shown_on_this_machine_alone_or_to_whoever_logged_in(tmp_path: Path) -> None:
    assert Settings(state=tmp_path, show_identity=True).worker.show_identity
    for more in ({"hosts": ("reading.example",)}, {"host": "0.0.0.0"}):
        with pytest.raises(UsageError, match="--token-file or --users"):
            Settings(state=tmp_path, show_identity=True, **more)
        assert Settings(state=tmp_path, show_identity=True, token="a" * 20, **more).show_identity


@pytest.mark.parametrize("text", ["", "short\n", "\n" + TOKEN])
def test_a_short_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected at least 16"):
        read_token(path)


@pytest.mark.parametrize("line", ["anna", "anna:secret", "anna:scrypt$x$y", "../x:scrypt$AAAA$AAAA", ""])
def test_a_file_of_users_of_another_form_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match="--make-user"):
        read_users(path)


def test_a_password_fits_its_hash_alone() -> None:
    hashed = hash_password("correct horse")
    assert password_fits("correct horse", hashed)
    assert not password_fits("correct horsf", hashed)
    assert hash_password("correct horse") != hashed
    assert "correct" not in hashed


def test_without_the_token_nothing_is_told(serve: Callable[..., Served], token_file: Path) -> None:
    served = serve("--token-file", str(token_file))
    with served.client() as client:
        description = client.get("/openapi.json").json()
        asked = 0
        for path, operations in description["paths"].items():
            for method in operations:
                if path.startswith("/health") or path.rpartition("/")[2] in ("session", "login", "logout"):
                    continue
                url = served.url + path.replace("{study}", "0" * 32).replace("{upload}", "0" * 32).replace(
                    "{index}", "0"
                )
                answer = client.request(method.upper(), url)
                assert (answer.status_code, answer.json()["code"]) == (401, "login_needed"), (method, path)
                asked += 1
        assert asked >= 25
        assert client.get("/session").json() == {
            "guarded": True,
            "methods": ["token"],
            "logged_in": False,
            "user": None,
            "shows_identity": False,
        }
    with served.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/studies").json() == {"total": 0, "items": []}
    with served.client(headers={"Authorization": f"Bearer {TOKEN}x"}) as client:
        assert client.get("/studies").status_code == 401


def test_a_login_lasts_over_a_restart_and_ends_with_logout(
    serve: Callable[..., Served], token_file: Path
) -> None:
    first = serve("--token-file", str(token_file))
    with first.client() as client:
        assert client.post("/login", json={"token": "wrong"}).status_code == 401
        answer = client.post("/login", json={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert TOKEN not in cookie
        assert client.get("/studies").status_code == 200
        kept = dict(client.cookies)
    first.stop()
    assert TOKEN not in "\n".join(first.log)
    second = serve("--token-file", str(token_file), state=first.state)
    with second.client(cookies=kept) as client:
        assert client.get("/studies").status_code == 200
        assert client.post("/logout").status_code == 204
    with second.client(cookies=kept) as client:
        assert client.get("/studies").status_code == 401
    content = b"".join(p.read_bytes() for p in first.state.rglob("*") if p.is_file())
    assert next(iter(kept.values())).encode() not in content


def test_a_user_reads_under_the_own_name(serve: Callable[..., Served], tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# readers\nanna:{hash_password('pass word 1')}\nben:{hash_password('other')}\n")
    served = serve("--users", str(path))
    with served.client() as client:
        for wrong in ({"user": "anna", "password": "other"}, {"user": "carl", "password": "other"}, {}):
            assert client.post("/login", json=wrong).status_code == 401
        said = client.post("/login", json={"user": "anna", "password": "pass word 1"}).json()
        assert (said["user"], said["methods"]) == ("anna", ["password"])
        assert client.get("/session").json()["user"] == "anna"


def test_guessing_is_slowed(serve: Callable[..., Served], token_file: Path) -> None:
    served = serve("--token-file", str(token_file))
    with served.client() as client:
        answers = [client.post("/login", json={"token": f"guess {k}"}) for k in range(10)]
        assert [a.status_code for a in answers] == [401] * 8 + [429] * 2
        assert 0 < int(answers[-1].headers["retry-after"]) <= 61
        assert client.post("/login", json={"token": TOKEN}).status_code == 429
        assert client.get("/studies", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_for_this_machine_is_refused(server: Served, host: str) -> None:
    for path in ("/", "/api/v1/studies"):
        answer = httpx.get(server.url + path, headers={"Host": host})
        assert answer.status_code in (400, 403)
        assert host == "" or answer.json()["code"] == "wrong_host"


def test_a_name_that_was_allowed_is_not_refused(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, hosts=("reading.example",))
    assert settings.allows_host("reading.example")
    assert settings.allows_host("localhost")
    assert settings.allows_host("::1")
    assert not settings.allows_host("10.1.2.3")
    assert not settings.allows_host("other.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "https://localhost"])
def test_pages_of_other_sites_change_nothing(server: Served, origin: str) -> None:
    with server.client(headers={"Origin": origin}) as client:
        answer = client.post("/uploads", json={"files": [{"path": "a", "size": 1}]})
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")
        assert client.delete(f"/studies/{'0' * 32}").status_code == 403
    with server.client(headers={"Origin": server.url}) as client:
        assert client.delete(f"/studies/{'0' * 32}").status_code == 404
    with server.client(headers={"Sec-Fetch-Site": "cross-site"}) as client:
        assert client.delete(f"/studies/{'0' * 32}").status_code == 403


def test_every_answer_has_the_headers_of_a_careful_page(server: Served) -> None:
    for path in ("/", "/api/v1/studies", "/health/live", "/nothing.js", "/api/v1/nothing"):
        headers = httpx.get(server.url + path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        for directive in ("script-src", "style-src"):
            assert "unsafe-inline" not in policy[directive]
            assert "'unsafe-eval'" not in policy[directive]
            assert "http" not in policy[directive]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
        if path.startswith(("/api", "/health")):
            assert headers["cache-control"] == "no-store"


def test_what_is_not_there_is_said_in_the_one_form(server: Served) -> None:
    for method, path, status in (
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/health/nothing", 404),
        ("POST", "/api/v1/events", 405),
        ("GET", "/../../etc/passwd.txt", 404),
        ("GET", "/%2e%2e/%2e%2e/pyproject.toml", 404),
    ):
        answer = httpx.request(method, server.url + path)
        assert answer.status_code == status, path
        assert set(answer.json()) == {"code", "message"}

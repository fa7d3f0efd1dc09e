"""The command: what it needs, what it prints, and words for what cannot be."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from ichor.cli import run
from ichor.serving.passwords import password_fits
from serving.served import Served


def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = importlib.util.find_spec
    module = sys.modules["ichor.cli.serve"]  # its name in the package is the command's
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    assert run(["serve", "--state", str(tmp_path)]) == 2
    assert "found no uvicorn; expected the packages of the extra 'serve'" in capsys.readouterr().err


def test_a_line_for_the_file_of_users_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "pass word")
    assert run(["serve", "--make-user", "anna"]) == 0
    name, _, hashed = capsys.readouterr().out.strip().partition(":")
    assert name == "anna"
    assert password_fits("pass word", hashed)
    assert run(["serve", "--make-user", "an:na"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep-days", "-1"], "--keep-days"),
        (["--port", "70000"], "--port"),
        (["--certificate", "x.pem"], "expected both"),
        (["--token-file", "nowhere"], "--token-file nowhere"),
        (["--users", "nowhere"], "--users nowhere"),
        (["--bundle", "nowhere"], "found no bundle of this name"),
        (["--database", "nonsense"], "--database"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--port", "0", "--state", str(tmp_path / "s"), *options]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("ichor: ")
    assert said in told


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(["serve", "--port", str(port), "--state", str(tmp_path / "s")]) == 2
    assert "cannot be listened at" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run(["serve", "--port", "0", "--state", str(tmp_path / "file" / "s")]) == 2
    assert "--state" in capsys.readouterr().err


def test_the_state_is_for_its_owner_only(server: Served) -> None:
    assert server.state.stat().st_mode & 0o077 == 0
    assert (server.state / "ichor.db").stat().st_mode & 0o077 == 0


def test_it_speaks_https_and_its_cookie_stays_there(serve: Callable[..., Served], tmp_path: Path) -> None:
    key, certificate, token = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "token"
    token.write_text("a-long-enough-token-for-a-test")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl, to make a certificate")
    options = ["--certificate", str(certificate), "--key", str(key), "--token-file", str(token)]
    served = serve(*options, wait=False)
    assert served.url.startswith("https://")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(certificate)), timeout=30) as client:
        answer = client.post(f"{served.url}/api/v1/login", json={"token": token.read_text()})
        assert "Secure" in answer.headers["set-cookie"]
        assert client.get(f"{served.url}/api/v1/studies").status_code == 200


def test_the_core_does_not_load_it() -> None:
    code = "import sys, ichor, ichor.cli; print([m for m in ('fastapi', 'sqlmodel', 'uvicorn') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

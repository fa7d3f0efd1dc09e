"""Half-sent requests: closed after their time, and never so many that whole ones wait."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from ichor.serving.connections import BODY_S, HEADER_S, MOST_AN_ADDRESS, MOST_IN_ALL
from serving.served import Served, exam

HALF = {
    "no byte": b"",
    "half the headers": b"GET /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ",
    "half a body": b"POST /api/v1/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{",
}


def connect(served: Served, content: bytes) -> socket.socket:
    parts = urlsplit(served.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    connection.sendall(content)
    return connection


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize("kind", HALF)
def test_hundreds_of_half_sent_requests_hold_up_nobody(server: Served, kind: str) -> None:
    number = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 200:
        pytest.skip(f"needs {number} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number + 200), hard))
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server, HALF[kind])) for _ in range(number)]
        began = time.monotonic()
        for _ in range(5):
            assert httpx.get(f"{server.url}/health/live", timeout=10).status_code == 200
        assert time.monotonic() - began < 8
        assert sum(map(is_open, held)) <= MOST_AN_ADDRESS < MOST_IN_ALL
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_request_that_drips_is_closed_after_its_time(server: Served) -> None:
    with connect(server, HALF["half the headers"]) as connection:
        began = time.monotonic()
        while time.monotonic() - began < HEADER_S + 10:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
            if not is_open(connection):
                break
            time.sleep(0.5)
        assert HEADER_S - 1 < time.monotonic() - began < HEADER_S + 8


def test_a_body_that_stops_is_closed_and_what_came_is_kept(server: Served) -> None:
    content = exam(33)
    with server.client() as client:
        plan = {"files": [{"path": "a.nii", "size": len(content)}]}
        upload = client.post("/uploads", json=plan).json()["id"]
        head = f"PUT /api/v1/uploads/{upload}/files/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        with connect(server, head.encode() + content[:5000]) as connection:
            began = time.monotonic()
            while is_open(connection) and time.monotonic() - began < BODY_S + 15:
                time.sleep(0.5)
            assert BODY_S - 1 < time.monotonic() - began < BODY_S + 10
        assert client.get(f"/uploads/{upload}").json()["files"][0]["received"] == 5000
        client.delete(f"/uploads/{upload}")


def test_a_slow_but_steady_body_is_taken(server: Served) -> None:
    content = exam(34)
    with server.client() as client:
        plan = {"files": [{"path": "a.nii", "size": len(content)}]}
        upload = client.post("/uploads", json=plan).json()["id"]

        def slowly():  # type: ignore[no-untyped-def]
            step = len(content) // 12
            for k in range(0, len(content), step):
                yield content[k : k + step]
                time.sleep(1.2)  # longer in all than headers may take

        answer = client.put(f"/uploads/{upload}/files/0", content=slowly())
        assert answer.json() == {"received": len(content)}
        client.delete(f"/uploads/{upload}")

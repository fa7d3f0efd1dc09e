"""POST and GET within a time and without a proxy; redirects are not followed."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ichor.node.senders.package import NotDelivered

__all__ = ["bearer", "download", "get", "post", "post_stream", "secret", "try_address"]

_MOST_ANSWER = 1 << 20
_CHUNK = 1 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> bytes:
    """Send a body; returns the answer.

    Raises
    ------
    NotDelivered
        ``http_NNN`` for a status that is not 2xx, else ``unreachable`` or ``timeout``.
    """
    return _request(urllib.request.Request(url, data=body, headers=headers, method="POST"), seconds)


def post_stream(url: str, body: Iterator[bytes], size: int, headers: dict[str, str], seconds: float) -> bytes:
    """Send a body of so many bytes piece by piece, as :func:`post` sends a whole one."""
    headers = {**headers, "Content-Length": str(size)}
    return _request(urllib.request.Request(url, data=body, headers=headers, method="POST"), seconds)


def get(url: str, headers: dict[str, str], seconds: float, most: int = _MOST_ANSWER) -> bytes:
    """Fetch a page of so many bytes at the most, as :func:`post` sends one."""
    return _request(urllib.request.Request(url, headers=headers), seconds, most)


def download(url: str, headers: dict[str, str], seconds: float, target: Path, most: int) -> None:
    """Fetch a page into a file, as :func:`get`.

    Raises
    ------
    NotDelivered
        Further ``too_large``, where it has more than ``most`` bytes, and ``storage``, where the disk is full.
    """
    size = 0
    with _answer(urllib.request.Request(url, headers=headers), seconds) as answer, target.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise NotDelivered("too_large")
            try:
                file.write(chunk)
            except OSError:
                raise NotDelivered("storage") from None


def try_address(url: str, seconds: float) -> None:
    """Connect to a server, by TLS for https; nothing is asked.

    Raises
    ------
    NotDelivered
        ``unreachable`` or ``timeout``; ``no_tls`` where somebody listens who has no certificate that the system trusts.
    """
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.connect()
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except ssl.SSLError:
        raise NotDelivered("no_tls") from None
    except OSError:
        raise NotDelivered("unreachable") from None
    finally:
        connection.close()


def _request(request: urllib.request.Request, seconds: float, most: int = _MOST_ANSWER) -> bytes:
    with _answer(request, seconds) as answer:
        body: bytes = answer.read(most)
        return body


@contextlib.contextmanager
def _answer(request: urllib.request.Request, seconds: float) -> Iterator[Any]:
    try:
        with _opener.open(request, timeout=seconds) as answer:
            yield answer
    except NotDelivered:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise NotDelivered(f"http_{error.code}") from None
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        late = isinstance(getattr(error, "reason", None), TimeoutError)
        raise NotDelivered("timeout" if late else "unreachable") from None


def bearer(token_file: Path | None) -> dict[str, str]:
    """Return the header of who has a token; none without a file.

    Raises
    ------
    NotDelivered
        As :func:`secret`.
    """
    return {} if token_file is None else {"Authorization": f"Bearer {secret(token_file)}"}


def secret(path: Path) -> str:
    """Return the first line of a file.

    Raises
    ------
    NotDelivered
        Where it cannot be read: it may be mended while the delivery waits.
    """
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError:
        raise NotDelivered("no_secret") from None

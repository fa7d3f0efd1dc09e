"""POST within a time and without a proxy; redirects are not followed."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ichor.node.senders.package import NotDelivered

__all__ = ["get", "post", "secret"]

_MOST_ANSWER = 1 << 20


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


def get(url: str, headers: dict[str, str], seconds: float) -> bytes:
    """Fetch a page, as :func:`post` sends one."""
    return _request(urllib.request.Request(url, headers=headers), seconds)


def _request(request: urllib.request.Request, seconds: float) -> bytes:
    try:
        with _opener.open(request, timeout=seconds) as answer:
            body: bytes = answer.read(_MOST_ANSWER)
            return body
    except urllib.error.HTTPError as error:
        error.close()
        raise NotDelivered(f"http_{error.code}") from None
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        late = isinstance(getattr(error, "reason", None), TimeoutError)
        raise NotDelivered("timeout" if late else "unreachable") from None


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

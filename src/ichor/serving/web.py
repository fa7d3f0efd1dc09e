"""What every request passes: hosts, origins, sizes, headers, a line in the log; and the files of the page."""

from __future__ import annotations

import re
import time
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ichor.jobs.logs import log
from ichor.serving.errors import ApiError, problem_response
from ichor.serving.metrics import Metrics
from ichor.serving.settings import Settings

__all__ = ["STATIC", "Guard", "Pages"]

STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; object-src 'none'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_MOST_JSON = 16_000_000
_FORM_SHARE = 1 << 20
"""Bytes of a form beside those of its files."""
_HASHED = re.compile(r"[.-][A-Za-z0-9_]{8,}\.\w+$")
_KINDS = {".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".js": "text/javascript"}


class Guard:
    """Refuses what comes from elsewhere or is too large, adds the headers, and notes what was done.

    Parameters
    ----------
    app
        What is guarded.
    settings, metrics
        Of the server.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, scope["path"])
            await send(message)

        try:
            refused = self._refused(scope)
            if refused is not None:
                await problem_response(refused)(scope, receive, answer)
            else:
                await self.app(scope, _bounded(receive, self._most(scope)), answer)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _refused(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.settings.allows_host(_name(host)):
            return ApiError(
                403,
                "Found another name of this server; expected its own; see --allow-host.",
                code="wrong_host",
            )
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if scope["method"] not in _SAFE and (
            foreign or headers.get("sec-fetch-site", "same-origin") == "cross-site"
        ):
            return ApiError(
                403,
                "Found a request from the page of another site; expected one of this server.",
                code="wrong_origin",
            )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most(scope):
            return ApiError(
                413, f"Found a body of {int(length):,} bytes; expected at most {self._most(scope):,}."
            )
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        path, limits = scope["path"], self.settings.limits
        if scope["method"] == "PUT" and "/uploads/" in path:
            return limits.file_bytes
        if scope["method"] == "POST" and path == "/api/v1/studies":
            return limits.total_bytes + _FORM_SHARE
        return _MOST_JSON

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The route, not the path or the query: whoever searches may type a name.
        route = getattr(scope.get("route"), "path", "") or "other"
        if scope["path"].startswith("/api/v1/") and route != "other":
            route = "/api/v1" + route.removeprefix("/api/v1")
        method = scope["method"] if scope["method"] in {*_SAFE, "POST", "PUT", "PATCH", "DELETE"} else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        if route != "/api/v1/events":
            self.metrics.request_seconds.labels(route).observe(seconds)
        if not route.startswith("/health"):
            log("request", method=method, route=route, status=status, ms=round(1000 * seconds, 1))


class Pages:
    """Serves the page's files.

    Parameters
    ----------
    folder
        Of the build.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        self.folder = folder

    def response(self, path: str) -> Response | None:
        """Return the file of a path, the page itself for an empty one, or None.

        The page's own places stand behind the hash, so no other path leads to it. Only files that a
        listing of the folder gives are handed out: the path is looked up, not opened.
        """
        name = path.strip("/") or "index.html"
        files = self._files()
        if not files:
            return PlainTextResponse(
                "The page is not in this installation; the API is at /api/v1/openapi.json.\n", 503
            )
        if name not in files:
            return None
        file = files[name]
        kept = "public, max-age=31536000, immutable" if _HASHED.search(name) else "no-cache"
        return FileResponse(file, media_type=_KINDS.get(file.suffix), headers={"Cache-Control": kept})

    def _files(self) -> dict[str, Path]:
        return {f.relative_to(self.folder).as_posix(): f for f in self.folder.rglob("*") if f.is_file()}


def _name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.partition(":")[0] if host.count(":") == 1 else host


def _add_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _POLICY)
    if path.startswith("/api/") or path in ("/metrics",) or path.startswith("/health"):
        headers["Cache-Control"] = "no-store"


def _bounded(receive: Receive, most: int) -> Receive:
    """Stop a body that grows beyond what it may have, whatever length it announced."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > most:
                raise ApiError(413, f"Found a body of more than {most:,} bytes.")
        return message

    return bounded

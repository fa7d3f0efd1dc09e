"""Running the server until it is asked to end."""

from __future__ import annotations

import os
import signal
import socket
import sys

import uvicorn

from ichor.errors import UsageError
from ichor.jobs.logs import start_logs
from ichor.jobs.storage import Storage
from ichor.serving.app import create_app
from ichor.serving.companion import Companion
from ichor.serving.connections import Connections, bounded_protocol
from ichor.serving.events import Hub
from ichor.serving.settings import Settings

__all__ = ["serve"]

_PATIENCE_S = 3


def serve(settings: Settings, companion: Companion | None = None) -> None:
    """Serve until interrupted; prints the address on standard output once it listens.

    Parameters
    ----------
    settings
        How to serve.
    companion
        What runs beside it.

    Raises
    ------
    UsageError
        Where another server uses the state folder, or the address cannot be listened at.
    """
    os.umask(0o077)  # what is kept is for nobody else
    storage = Storage(settings.state)
    try:
        with storage.lock("server", wait=False):
            _run(settings, companion)
    except BlockingIOError:
        raise UsageError(
            f"--state {settings.state}: found that another ichor serve uses this folder; expected one server a "
            "folder; end that one, or give another folder"
        ) from None


def _run(settings: Settings, companion: Companion | None) -> None:
    listening = _listen(settings)
    start_logs("web")
    try:
        app = create_app(settings, companion)
        config = uvicorn.Config(
            app,
            http=bounded_protocol(Connections(settings.is_trusted_proxy)),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_PATIENCE_S,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        )
        scheme = "https" if settings.certificate else "http"
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"ichor: {scheme}://{shown}:{port}/", flush=True)
        print("Research use, not a medical device. Ctrl-C ends it.", file=sys.stderr, flush=True)
        # uvicorn ends the server at a signal, then raises it again: to be asked to end is no failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        try:
            _Server(config, app.state.server.hub).run(sockets=[listening])
        except SystemExit:  # it did not come to listen
            if app.state.failure is None:
                raise
        if app.state.failure is not None:
            raise app.state.failure
    finally:
        listening.close()


class _Server(uvicorn.Server):
    """Lets pages that listen go first: their answers have no end of their own."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self.hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End listening, then the server."""
        await self.hub.end()
        await super().shutdown(sockets)


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(256)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise UsageError(
            f"--host {settings.host} --port {settings.port}: found that it cannot be listened at "
            f"({error.strerror or type(error).__name__}); expected a free address of this machine; give another --port"
        ) from None
    return listening

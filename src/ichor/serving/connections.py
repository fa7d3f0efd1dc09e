"""Connections: how many an address may hold, and how long one may be half-sent.

uvicorn waits for the rest of a request for ever. Here headers must be whole within :data:`HEADER_S`, a body must go on
within :data:`BODY_S`, and where an address has too many connections the longest silent one of them goes, so that who
comes with a whole request is served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BODY_S", "HEADER_S", "MOST_AN_ADDRESS", "MOST_IN_ALL", "Connections", "bounded_protocol"]

HEADER_S = 10.0
"""From the first byte of a request, or from the connection, until its headers are whole."""
BODY_S = 30.0
"""Longest silence within a body."""
MOST_AN_ADDRESS = 100
"""A browser opens six; several people may share an address."""
MOST_IN_ALL = 800
"""A process may have 1,024 files open, as many systems have it."""


class BoundedConnection(HttpToolsProtocol):
    """One connection, with its times; made by :func:`bounded_protocol`."""

    held: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        self._timer: asyncio.TimerHandle | None = None
        self._heard = time.monotonic()
        super().connection_made(transport)
        self._wait(HEADER_S)
        self.held.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self.held.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for what is missing."""
        was_between = self.between_requests
        self._heard = time.monotonic()
        super().data_received(data)
        if self.between_requests:
            if not was_between or self._timer is None:
                self._wait(HEADER_S)
        elif self.cycle.more_body:
            self._wait(BODY_S)
        else:
            self._stop_waiting()

    @property
    def address(self) -> str:
        """Of the other end; empty where it has none."""
        return self.client[0] if self.client else ""

    @property
    def between_requests(self) -> bool:
        """Whether no request is being answered: none came, or one without all its headers."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def silent_since(self) -> float | None:
        """When it was heard last, if a request is half-sent; None while a whole one is answered."""
        half = self.between_requests or (self.cycle.more_body and not self.flow.read_paused)
        return self._heard if half else None

    def abort(self) -> None:
        """Close at once."""
        self._stop_waiting()
        self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self.silent_since is not None:
            self.abort()
        elif self.cycle.more_body:  # it is the server that does not read just now
            self._wait(BODY_S)


class Connections:
    """The connections that are open.

    Parameters
    ----------
    uncapped
        Tells whether an address is a proxy's, behind which many sit.
    """

    def __init__(self, uncapped: Callable[[str], bool]) -> None:
        self.uncapped = uncapped
        self._by_address: dict[str, set[BoundedConnection]] = {}
        self._n = 0

    def add(self, connection: BoundedConnection) -> None:
        """Count a new one; where that is too many, the one that is silent for longest goes."""
        of_address = self._by_address.setdefault(connection.address, set())
        of_address.add(connection)
        self._n += 1
        if len(of_address) > MOST_AN_ADDRESS and not self.uncapped(connection.address):
            _close_one(of_address, connection)
        elif self._n > MOST_IN_ALL:
            _close_one(set().union(*self._by_address.values()), connection)

    def discard(self, connection: BoundedConnection) -> None:
        """Forget one that is closed."""
        of_address = self._by_address.get(connection.address, set())
        if connection in of_address:
            of_address.discard(connection)
            self._n -= 1
            if not of_address:
                del self._by_address[connection.address]


def _close_one(connections: set[BoundedConnection], new: BoundedConnection) -> None:
    half_sent = [(c.silent_since, id(c), c) for c in connections - {new} if c.silent_since is not None]
    (min(half_sent)[2] if half_sent else new).abort()


def bounded_protocol(connections: Connections) -> type[Any]:
    """Make the protocol that uvicorn uses for the connections of one server."""
    return type("BoundedConnection", (BoundedConnection,), {"held": connections})

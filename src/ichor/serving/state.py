"""What the routes of one application share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from ichor.detecting import BundleCard
from ichor.jobs.database import Database
from ichor.jobs.queue import Queue
from ichor.jobs.storage import Storage
from ichor.jobs.supervisor import Supervisor
from ichor.serving.access import COOKIE, Access, Person
from ichor.serving.errors import ApiError
from ichor.serving.events import Hub
from ichor.serving.metrics import Metrics
from ichor.serving.settings import Settings
from ichor.serving.worklist import Worklist

__all__ = ["CurrentUser", "Id", "Server", "ServerState", "bearer_of", "current_person"]

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="32 hexadecimal digits")]


@dataclass
class Server:
    """The parts of a running server."""

    settings: Settings
    storage: Storage
    database: Database
    queue: Queue
    worklist: Worklist
    access: Access
    supervisor: Supervisor
    hub: Hub
    metrics: Metrics
    card: BundleCard


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


ServerState = Annotated[Server, Depends(_server)]
"""The parts of the server, in the signature of a route."""


def bearer_of(request: Request) -> str | None:
    """Return what a request shows in ``Authorization: Bearer``."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def current_person(request: Request, server: ServerState) -> Person:
    """Return who a request comes from.

    Raises
    ------
    ApiError
        401 where it shows nothing that counts.
    """
    person = server.access.person(bearer_of(request), request.cookies.get(COOKIE))
    if person is None:
        raise ApiError(
            401,
            "Found no login; expected a token or a user; log in first.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return person


CurrentUser = Annotated[Person, Depends(current_person)]
"""Who a request comes from, in the signature of a route."""

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

__all__ = ["Here", "Id", "Server", "Who", "bearer_of", "who"]

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


def _here(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


Here = Annotated[Server, Depends(_here)]


def bearer_of(request: Request) -> str | None:
    """Return what a request shows in ``Authorization: Bearer``."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def who(request: Request, server: Here) -> Person:
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


Who = Annotated[Person, Depends(who)]

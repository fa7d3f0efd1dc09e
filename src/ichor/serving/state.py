"""What the routes of one application share."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from ichor.jobs.bundles import BundleChoice
from ichor.jobs.database import Database
from ichor.jobs.identities import Identities
from ichor.jobs.queue import Queue
from ichor.jobs.storage import Storage
from ichor.jobs.supervisor import Supervisor
from ichor.serving.access import COOKIE, Access, Person
from ichor.serving.errors import ApiError
from ichor.serving.events import Hub
from ichor.serving.metrics import Metrics
from ichor.serving.retention import Retention
from ichor.serving.room import Room
from ichor.serving.settings import Settings
from ichor.serving.worklist import Worklist

__all__ = [
    "CurrentUser",
    "Id",
    "Server",
    "ServerState",
    "bearer_of",
    "caller_address",
    "came_by_https",
    "current_person",
]

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="32 hexadecimal digits")]


@dataclass
class Server:
    """The parts of a running server."""

    settings: Settings
    storage: Storage
    database: Database
    queue: Queue
    worklist: Worklist
    identities: Identities
    access: Access
    supervisor: Supervisor
    hub: Hub
    metrics: Metrics
    retention: Retention
    room: Room
    bundles: BundleChoice


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


ServerState = Annotated[Server, Depends(_server)]
"""The parts of the server, in the signature of a route."""


def bearer_of(request: Request) -> str | None:
    """Return what a request shows in ``Authorization: Bearer``."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def caller_address(request: Request, server: Server) -> str:
    """Return where a request comes from: behind a trusted proxy, the nearest address that it names.

    Of IPv6 it is the network of 64 bits: who has one address has them all.
    """
    peer = request.client.host if request.client else ""
    if server.settings.is_trusted_proxy(peer):
        named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for name in reversed([n.strip() for n in named if n.strip()]):
            peer = _address(name)
            if not server.settings.is_trusted_proxy(peer):
                break
    try:
        version6 = ipaddress.IPv6Address(peer)
    except ValueError:
        return peer
    return str(ipaddress.ip_network((version6, 64), strict=False))


def came_by_https(request: Request, server: Server) -> bool:
    """Tell whether the caller used https, here or up to a trusted proxy; of such a proxy it is assumed."""
    peer = request.client.host if request.client else ""
    if server.settings.is_trusted_proxy(peer):
        return request.headers.get("x-forwarded-proto", "https").rpartition(",")[2].strip().lower() != "http"
    return request.url.scheme == "https"


def _address(text: str) -> str:
    """Return an address without its port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


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

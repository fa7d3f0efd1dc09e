"""The server itself: who is asking, the model, the limits, health and metrics."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from markdown_it import MarkdownIt
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

import ichor
from ichor.detecting import BundleCard
from ichor.jobs.logs import log
from ichor.preparing import WINDOWS
from ichor.serving import schemas
from ichor.serving.access import COOKIE
from ichor.serving.brake import TooManyGuesses
from ichor.serving.errors import ApiError, problems
from ichor.serving.state import Server, ServerState, bearer_of, caller_address, came_by_https, current_person

__all__ = ["health", "private", "public"]

public = APIRouter(tags=["session"])
private = APIRouter(tags=["server"])
health = APIRouter(tags=["health"])

_EXAMPLE = Path(ichor.__file__).parent / "demo" / "demo.zip"


class Window(BaseModel):
    """A window: HU in its middle, and from black to white."""

    level: float
    width: float


class Model(BaseModel):
    """The model that speaks here."""

    version: str
    bundle: BundleCard
    card_html: str


class Bounds(BaseModel):
    """How much is read of an input, how long studies are kept, and the windows by name."""

    limits: dict[str, float]
    keep_days: float
    windows: dict[str, Window]


class Health(BaseModel):
    """Whether the parts of the server work."""

    status: Literal["ok", "not_ready"]
    database: bool
    worker: bool
    storage: bool = Field(description="whether the state folder can be written to")


@public.get("/session", responses=problems(403))
def get_session(server: ServerState, request: Request) -> schemas.Identity:
    """Tell who is asking, and what a login needs here."""
    person = server.access.person(bearer_of(request), request.cookies.get(COOKIE))
    return _identity(server, person is not None, person.name if person else "")


@public.post("/login", responses=problems(400, 401, 403, 422, 429))
def login(
    shown: schemas.Credentials, server: ServerState, request: Request, response: Response
) -> schemas.Identity:
    """Log in with a token, or a user and a password; a cookie keeps it for twelve hours."""
    if not server.settings.guarded:
        return _identity(server, True, "")
    try:
        known = server.access.login(caller_address(request, server), shown.token, shown.user, shown.password)
    except TooManyGuesses as braked:
        raise ApiError(
            429,
            f"Found too many wrong guesses; wait {braked.wait_s} s.",
            headers={"Retry-After": str(braked.wait_s)},
        ) from None
    if known is None:
        log("login_refused")
        raise ApiError(
            401, "Found no such token, or user with this password.", headers={"WWW-Authenticate": "Bearer"}
        )
    person, value = known
    response.set_cookie(
        COOKIE,
        value,
        max_age=server.access.lasts_s,
        httponly=True,
        samesite="strict",
        secure=came_by_https(request, server),
        path="/",
    )
    return _identity(server, True, person.name)


@public.post("/logout", status_code=204, responses=problems(403))
def logout(server: ServerState, request: Request) -> Response:
    """End the session of the cookie."""
    server.access.logout(request.cookies.get(COOKIE))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@private.get("/model", responses=problems(401, 403))
def get_model(server: ServerState) -> Model:
    """Give the card of the model in use: what it was trained on, what was measured, its thresholds and limits."""
    card = server.bundles.chosen.bundle.card
    return Model(version=ichor.__version__, bundle=card, card_html=_html(card.card_text))


@private.get("/limits", responses=problems(401, 403))
def get_limits(server: ServerState) -> Bounds:
    """Give the limits of an input, the days that studies are kept, and the windows."""
    return Bounds(
        limits=asdict(server.settings.limits),
        keep_days=server.settings.keep_days,
        windows={name: Window(level=w.level, width=w.width) for name, w in WINDOWS.items()},
    )


@private.get(
    "/example.zip",
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(401, 403),
    },
    response_class=Response,
)
def get_example() -> Response:
    """Give the simulated exam that ships with ichor, to try the server with: DICOM files, of no patient."""
    # Whole, 2 MB: a file that is sent stays open where the page goes away meanwhile.
    return Response(_EXAMPLE.read_bytes(), media_type="application/zip")


@health.get("/health/live")
async def live() -> dict[str, str]:
    """Tell that the web process answers."""
    return {"status": "ok"}


@health.get("/health/ready", responses={503: {"model": Health, "description": "Not ready."}})
async def ready(server: ServerState, response: Response) -> Health:
    """Tell whether the database answers, the state folder can be written to, and the worker takes jobs."""
    database = await anyio.to_thread.run_sync(_database_answers, server)
    storage = await anyio.to_thread.run_sync(server.storage.is_writable)
    worker = server.supervisor.child.is_ready
    whole = database and worker and storage
    if not whole:
        response.status_code = 503
    return Health(status="ok" if whole else "not_ready", database=database, worker=worker, storage=storage)


@health.get(
    "/metrics",
    dependencies=[Depends(current_person)],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 403)},
    response_class=Response,
)
def metrics(server: ServerState) -> Response:
    """Give Prometheus metrics."""
    return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _identity(server: Server, logged_in: bool, user: str) -> schemas.Identity:
    settings = server.settings
    ways: list[tuple[Literal["token", "password"], bool]] = [
        ("token", settings.token is not None),
        ("password", bool(settings.users)),
    ]
    return schemas.Identity(
        guarded=settings.guarded,
        methods=[name for name, there in ways if there],
        logged_in=logged_in,
        shows_identity=settings.show_identity and (logged_in or not settings.guarded),
        user=user or None,
    )


def _database_answers(server: Server) -> bool:
    try:
        with server.database.read() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True


@functools.lru_cache(maxsize=8)
def _html(card: str) -> str:
    """Render a card; HTML within it stays text."""
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(card))

"""The application: routes, guards, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator

import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

import ichor
from ichor.errors import UsageError
from ichor.jobs.bundles import BundleChoice
from ichor.jobs.database import Database
from ichor.jobs.identities import Identities
from ichor.jobs.logs import log
from ichor.jobs.queue import Queue
from ichor.jobs.storage import Storage
from ichor.jobs.supervisor import Supervisor
from ichor.serving.access import Access
from ichor.serving.api import about, results, studies, uploads, verdicts, watching
from ichor.serving.api import bundles as bundle_routes
from ichor.serving.companion import Companion
from ichor.serving.errors import ApiError, add_handlers
from ichor.serving.events import Hub
from ichor.serving.metrics import Metrics
from ichor.serving.retention import Retention
from ichor.serving.room import Room
from ichor.serving.schemas import Study
from ichor.serving.settings import Settings
from ichor.serving.state import Server, current_person
from ichor.serving.web import Guard, Pages
from ichor.serving.worklist import Worklist

__all__ = ["create_app"]

_TIDY_S = 600.0
_DESCRIPTION = """The API that ichor's own page uses. Send studies, follow them, fetch what was found, say what you see.

Research use, not a medical device. Nothing here holds a patient's name, identifier or date, but the answers on whose
study it is, which only a server gives that was started with `--show-identity`; UIDs are hashed.
Where the server asks for a login, send `Authorization: Bearer TOKEN`, or the cookie that `/api/v1/login` gives.
Every error is `{code, message}`."""


def create_app(settings: Settings, companion: Companion | None = None) -> FastAPI:
    """Make the application; its database is migrated, its worker starts with it.

    Parameters
    ----------
    settings
        How to serve.
    companion
        What runs beside it, on the same database.

    Raises
    ------
    UsageError
        Where the state folder, the database or the bundle cannot be used.
    """
    storage = Storage(settings.state)
    bundles = BundleChoice(settings.bundles, storage.root)
    database = Database(settings.database_url)
    database.migrate()
    worklist = Worklist(database, storage)
    identities = Identities(database)
    if not settings.show_identity:
        identities.forget_all()  # of a server before, that showed them
    queue = Queue(database)
    supervisor = Supervisor(settings.worker, queue)
    metrics = Metrics(worklist, supervisor)
    hub = Hub(database, lambda study: _described(worklist, study))
    access = Access(settings, database)
    retention = Retention(database, worklist, settings.keep_days)
    room = Room(storage)
    server = Server(
        settings=settings,
        storage=storage,
        database=database,
        queue=queue,
        worklist=worklist,
        identities=identities,
        access=access,
        supervisor=supervisor,
        hub=hub,
        metrics=metrics,
        retention=retention,
        room=room,
        bundles=bundles,
    )
    app = FastAPI(
        title="ichor",
        version=ichor.__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page comes from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
    )
    app.state.server = server
    app.state.busy = set()
    app.state.companion = companion
    app.state.failure = None
    add_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    app.include_router(about.health)
    app.include_router(about.public, prefix="/api/v1")
    guarded = [Depends(current_person)]
    for module in (bundle_routes, studies, uploads, results, verdicts, watching):
        app.include_router(module.router, prefix="/api/v1", dependencies=guarded)
    app.include_router(about.private, prefix="/api/v1", dependencies=guarded)
    if companion is not None:
        for router in companion.routers:
            app.include_router(router, dependencies=guarded)
    _add_pages(app)
    return app


def _add_pages(app: FastAPI) -> None:
    pages = Pages()

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    def page(path: str, request: Request) -> Response:
        response = None if path.startswith(("api/", "health/")) else pages.response(path)
        if response is None:
            raise ApiError(404, "There is no such thing.")
        return response


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server: Server = app.state.server
    # Forms that are too large for memory wait here, where they are cleared away, not in the system's folder.
    tempfile.tempdir = str(server.storage.scratch)
    await anyio.to_thread.run_sync(server.access.load)
    await anyio.to_thread.run_sync(server.room.load)
    await anyio.to_thread.run_sync(server.supervisor.start)
    companion: Companion | None = app.state.companion
    if companion is not None:
        try:
            await anyio.to_thread.run_sync(companion.start, server)
        except UsageError as error:  # the server ends: whoever started it says why
            app.state.failure = error
            await anyio.to_thread.run_sync(server.supervisor.stop)
            raise
    tasks = [asyncio.create_task(server.hub.run()), asyncio.create_task(_tidy(server))]
    log("started")
    try:
        yield
    finally:
        await server.hub.end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if companion is not None:
            await anyio.to_thread.run_sync(companion.stop)
        await anyio.to_thread.run_sync(server.supervisor.stop)
        with contextlib.suppress(OSError):  # of a worker that had to be killed; else at the next start
            await anyio.to_thread.run_sync(server.storage.clear_scratch)
        server.database.close()
        log("ended")


async def _tidy(server: Server) -> None:
    """Delete what is too old, now and again."""
    while True:
        try:
            deleted = await anyio.to_thread.run_sync(server.retention.tidy)
            if deleted:
                log("deleted_by_age", studies=deleted)
        except (SQLAlchemyError, OSError) as error:  # away just now, or read-only: tried again
            log("not_tidied", level=logging.WARNING, error=type(error).__name__)
        await asyncio.sleep(_TIDY_S)


def _described(worklist: Worklist, study: str) -> str | None:
    row = worklist.get(study)
    return None if row is None else Study.of(row).model_dump_json()


def _operation_id(route: APIRoute) -> str:
    return route.name

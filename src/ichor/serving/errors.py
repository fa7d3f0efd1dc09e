"""How the API says no: one form for everything, ``{code, message}``."""

from __future__ import annotations

import errno
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ichor.jobs.logs import log, places
from ichor.jobs.storage import is_about_storage
from ichor.serving.room import NoRoom
from ichor.serving.upload_plan import UploadRefused

__all__ = ["ApiError", "Problem", "add_handlers", "problem_response", "problems"]

_CODES = {
    400: "bad_request",
    401: "login_needed",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "wrong_media_type",
    422: "invalid",
    429: "too_many",
    500: "failed",
    503: "not_ready",
    507: "no_room",
}
_MEANINGS = {
    400: "The request cannot be read.",
    401: "Nobody has logged in, or what was shown does not count.",
    403: "The request comes from the page of another site, or names another host.",
    404: "There is no such thing.",
    405: "The method is not known here.",
    409: "It is not in the state that this needs.",
    413: "More than the limits allow.",
    415: "The body is of another type.",
    422: "A value is missing, or of another form.",
    429: "Too many wrong guesses; `Retry-After` says when to try again.",
    503: "The database, the disk or the worker is away.",
    507: "There is no room on the disk.",
}


class Problem(BaseModel):
    """Why something was not done."""

    code: str = Field(description="stable key, for programs")
    message: str = Field(description="a plain sentence; nothing of a patient in it")
    received: int | None = Field(
        default=None, description="of a part that does not fit: bytes of the file that are there"
    )


class ApiError(Exception):
    """A request that is not done.

    Parameters
    ----------
    status
        HTTP status.
    message
        A plain sentence.
    code
        Stable key; by default that of the status.
    received
        See :class:`Problem`.
    headers
        Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        received: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.problem = Problem(code=code or _CODES[status], message=message, received=received)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an operation for the OpenAPI document."""
    return {s: {"model": Problem, "description": _MEANINGS[s]} for s in sorted(statuses)}


def problem_response(error: ApiError) -> JSONResponse:
    """Return an error as it is sent."""
    return JSONResponse(error.problem.model_dump(exclude_none=True), error.status, error.headers)


def add_handlers(app: FastAPI) -> None:
    """Give every error of an application the one form."""
    app.add_exception_handler(ApiError, _ours)
    app.add_exception_handler(UploadRefused, _upload)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(NoRoom, _no_room)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    return problem_response(error if isinstance(error, ApiError) else ApiError(500, "Found an error."))


async def _upload(_: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, UploadRefused) else "invalid"
    status = {"limit_exceeded": 413}.get(code, 422)
    return problem_response(ApiError(status, str(error), code=code))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    # The place and what was expected; not the value: it may be the name of a file.
    found = error.errors() if isinstance(error, RequestValidationError) else []
    places = [".".join(str(p) for p in e["loc"] if isinstance(p, int) or p.isidentifier()) for e in found[:5]]
    details = "; ".join(f"{place}: {e['msg']}" for place, e in zip(places, found, strict=False))
    status = 400 if any(e["type"] == "json_invalid" for e in found) else 422
    return problem_response(ApiError(status, f"Found a request that does not fit the API: {details}."))


async def _framework(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    if status not in _CODES:
        status = 400 if status < 500 else 500
    message = _MEANINGS.get(status, "Found an error.")
    return problem_response(ApiError(status, message, headers=headers))


async def _database(_: Request, error: Exception) -> JSONResponse:
    log("database_error", level=logging.ERROR, error=type(error).__name__)
    return problem_response(
        ApiError(503, "The database is away; try again in a moment.", headers={"Retry-After": "2"})
    )


async def _no_room(_: Request, __: Exception) -> JSONResponse:
    message = "Found no room for the upload; delete studies, or ask whoever runs the server."
    return problem_response(ApiError(507, message))


async def _disk(request: Request, error: Exception) -> JSONResponse:
    if not (isinstance(error, OSError) and is_about_storage(error)):
        return await _unexpected(request, error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return await _no_room(request, error)
    log("storage_unavailable", level=logging.ERROR, error=errno.errorcode.get(error.errno or 0, ""))
    message = "The state folder cannot be written to just now; ask whoever runs the server."
    return problem_response(ApiError(503, message, code="storage_unavailable", headers={"Retry-After": "10"}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    route = getattr(request.scope.get("route"), "path", "")
    log("request_failed", level=logging.ERROR, route=route, error=type(error).__name__, at=places(error))
    return problem_response(ApiError(500, "Found an error of ichor itself; its log says where."))

"""Sending studies: in parts that can be resumed, or all at once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile as FormFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ichor.jobs.storage import new_id, remove
from ichor.serving import schemas
from ichor.serving.errors import ApiError, problems
from ichor.serving.room import NoRoom
from ichor.serving.state import Id, Server, ServerState
from ichor.serving.upload_plan import PlannedUpload

__all__ = ["router"]

router = APIRouter(tags=["uploads"])

_WRITE_BYTES = 1 << 20
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "additionalProperties": False,
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "DICOM files, zips, NIfTI volumes, pictures; file names may hold folders",
                        },
                        "alias": {
                            "type": "string",
                            "maxLength": 80,
                            "pattern": schemas.NAME_PATTERN,
                            "description": "what to call it in the list",
                        },
                    },
                }
            }
        },
    }
}


@router.post("/uploads", status_code=201, responses=problems(400, 401, 403, 413, 422, 503, 507))
def begin_upload(plan: schemas.UploadPlan, server: ServerState) -> schemas.Upload:
    """Begin an upload: announce its files, then send the bytes of each."""
    stack = plan.stack.model_dump() if plan.stack else None
    files = [(f.path, f.size) for f in plan.files]
    planned = PlannedUpload.plan(files, server.settings.limits, plan.alias, stack)
    server.room.reserve(planned.id, sum(f.size for f in plan.files))
    try:
        planned.create(server.storage)
    except OSError:
        server.room.release(planned.id)
        raise
    return _described(server, planned)


@router.get("/uploads/{upload}", responses=problems(401, 403, 404, 422))
def get_upload(upload: Id, server: ServerState) -> schemas.Upload:
    """Tell how far an upload has come, to go on with it."""
    return _described(server, _planned(server, upload))


@router.delete("/uploads/{upload}", status_code=204, responses=problems(401, 403, 404, 409, 422))
def cancel_upload(upload: Id, server: ServerState) -> Response:
    """Cancel an upload; what was sent of it is deleted."""
    if server.worklist.of_upload(upload) is not None:
        raise ApiError(
            409, "Found an upload that was completed; delete its studies instead.", code="completed"
        )
    _planned(server, upload)
    remove(server.storage.upload(upload))
    server.room.release(upload)
    return Response(status_code=204)


@router.put(
    "/uploads/{upload}/files/{index}",
    responses=problems(401, 403, 404, 409, 413, 422, 503, 507),
    openapi_extra={
        "requestBody": {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        }
    },
)
async def send_part(
    upload: Id,
    index: int,
    server: ServerState,
    request: Request,
    offset: Annotated[int, Query(ge=0, le=1 << 53)] = 0,
) -> schemas.Received:
    """Send bytes of one file from an offset on: all, or a part.

    Answers 409 with `received` where the offset is not what is there; go on from that.
    """
    planned = await anyio.to_thread.run_sync(_planned, server, upload)
    if not 0 <= index < len(planned.files):
        raise ApiError(404, "Found no file of this number in the upload.")
    path, size = planned.file(server.storage, index), planned.files[index].size
    busy: set[str] = request.app.state.busy
    key = f"{upload}/{index}"
    if key in busy:
        raise ApiError(409, "Found that the file is being sent already.", code="busy", received=_size(path))
    busy.add(key)
    try:
        there = _size(path)
        if offset != there:
            message = f"Found offset {offset:,}; expected {there:,}, the bytes that are there."
            raise ApiError(409, message, code="wrong_offset", received=there)
        received = await _append(_Target(server, upload, path, size), there, request)
    finally:
        busy.discard(key)
    server.metrics.uploaded.inc(received - there)
    return schemas.Received(received=received)


@router.post("/uploads/{upload}/complete", status_code=202, responses=problems(401, 403, 404, 409, 422))
def complete_upload(upload: Id, server: ServerState) -> schemas.Submitted:
    """Queue an upload whose files are all there. Doing so again gives the same studies."""
    before = server.worklist.of_upload(upload)
    if before is None:
        planned = _planned(server, upload)
        missing = sum(
            there != f.size for there, f in zip(planned.received(server.storage), planned.files, strict=True)
        )
        if missing:
            raise ApiError(
                409,
                f"Found {missing:,} files that are not all there; expected none; send the rest.",
                code="incomplete",
            )
        _touch_empty(server, planned)
        reading = {"stack": planned.stack} if planned.stack else None
        server.queue.add(upload, planned.inputs, planned.alias, reading)
        PlannedUpload.forget_names(server.storage, upload)
        server.room.release(upload)
    return _submitted(server, upload)


@router.post(
    "/studies",
    status_code=202,
    responses=problems(400, 401, 403, 413, 415, 422, 503, 507),
    openapi_extra=_FORM,
    tags=["studies"],
)
async def submit(server: ServerState, request: Request) -> schemas.Submitted:
    """Send one or several files at once, for scripts: `curl -F files=@study.zip ...`."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise ApiError(415, "Found a body of another type; expected multipart/form-data with files.")
    limits = server.settings.limits
    claim = new_id()
    try:
        # Twice: the form waits in scratch until its files are in their places.
        server.room.reserve(claim, 2 * _content_length(request))
        async with _form(_checked_stream(server, claim, request), request, limits.files) as (files, alias):
            planned = PlannedUpload.plan([(f.filename or "", f.size or 0) for f in files], limits, alias)
            await anyio.to_thread.run_sync(
                functools.partial(_store, server, claim, planned, [f.file for f in files])
            )
    finally:
        server.room.release(claim)
    await anyio.to_thread.run_sync(server.queue.add, planned.id, planned.inputs, planned.alias)
    await anyio.to_thread.run_sync(PlannedUpload.forget_names, server.storage, planned.id)
    server.metrics.uploaded.inc(sum(f.size for f in planned.files))
    return await anyio.to_thread.run_sync(_submitted, server, planned.id)


@contextlib.asynccontextmanager
async def _form(
    stream: AsyncGenerator[bytes, None], request: Request, most: int
) -> AsyncIterator[tuple[list[FormFile], str | None]]:
    """Parse a multipart body; its files lie in memory or in the server's scratch folder meanwhile."""
    parser = MultiPartParser(request.headers, stream, max_files=most, max_fields=2)
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError, AssertionError):
        raise ApiError(
            400, "Found a form that cannot be read; expected multipart/form-data with files."
        ) from None
    try:
        files = [v for k, v in form.multi_items() if k == "files" and isinstance(v, FormFile)]
        others = [v for k, v in form.multi_items() if k == "alias" and isinstance(v, str)]
        alias = schemas.StudyPatch.model_validate({"alias": others[0]}).alias if others else None
        if (
            not files
            or any(not f.filename for f in files)
            or len(files) + len(others) < len(form.multi_items())
        ):
            raise ApiError(
                422, "Found a form of other fields; expected files, each with its name, and perhaps alias."
            )
        yield files, alias
    except ValueError:
        raise ApiError(
            422, "Found an alias that cannot be used; expected at most 80 printable characters."
        ) from None
    finally:
        await form.close()


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


async def _checked_stream(server: Server, claim: str, request: Request) -> AsyncGenerator[bytes, None]:
    """Give a body chunk by chunk, as long as there is room for it."""
    async for chunk in request.stream():
        server.room.take(claim, len(chunk))
        yield chunk


def _store(server: Server, claim: str, planned: PlannedUpload, files: list[BinaryIO]) -> None:
    """Put the files of a form in their places, or none of them."""
    try:
        planned.create(server.storage)
        for index, source in enumerate(files):
            source.seek(0)
            with planned.file(server.storage, index).open("wb") as sink:
                while chunk := source.read(_WRITE_BYTES):
                    server.room.take(claim, len(chunk))
                    sink.write(chunk)
    except (OSError, NoRoom):
        remove(server.storage.upload(planned.id))
        raise


@dataclass(frozen=True)
class _Target:
    """The file that a body goes to, and the bytes that it was announced to have."""

    server: Server
    upload: str
    path: Path
    size: int

    def write(self, content: bytes) -> int:
        """Write a chunk behind what is there, if there is room; return its bytes."""
        self.server.room.take(self.upload, len(content))
        try:
            with self.path.open("ab") as file:
                return file.write(content)
        except FileNotFoundError:
            raise ApiError(404, "Found that the upload was cancelled.") from None


async def _append(target: _Target, there: int, request: Request) -> int:
    """Write a body behind what is there; return the bytes of the file."""
    size = target.size
    pending: list[bytes] = []
    waiting = 0
    received = there
    try:
        async for chunk in request.stream():
            waiting += len(chunk)
            if received + waiting > size:
                raise ApiError(
                    413, f"Found more than the {size:,} bytes that were announced.", received=received
                )
            pending.append(chunk)
            if waiting >= _WRITE_BYTES:
                received += await anyio.to_thread.run_sync(target.write, b"".join(pending))
                pending, waiting = [], 0
    finally:
        # Of a connection that broke, too, what came is kept: the sender goes on from there.
        if waiting and received + waiting <= size:
            with anyio.CancelScope(shield=True):
                received += await anyio.to_thread.run_sync(target.write, b"".join(pending))
    return received


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _planned(server: Server, upload: str) -> PlannedUpload:
    planned = PlannedUpload.load(server.storage, upload)
    if planned is None:
        raise ApiError(404, "Found no such upload; it was never begun, or completed, cancelled or given up.")
    return planned


def _touch_empty(server: Server, planned: PlannedUpload) -> None:
    """Make the files of no bytes, for which nothing was sent."""
    for index, entry in enumerate(planned.files):
        if entry.size == 0:
            planned.file(server.storage, index).touch()


def _described(server: Server, planned: PlannedUpload) -> schemas.Upload:
    there = planned.received(server.storage)
    files = [
        schemas.UploadFile(index=k, path=f.path, size=f.size, received=n)
        for k, (f, n) in enumerate(zip(planned.files, there, strict=True))
    ]
    return schemas.Upload(id=planned.id, files=files)


def _submitted(server: Server, upload: str) -> schemas.Submitted:
    rows: list[Any] = server.worklist.of_upload(upload) or []
    return schemas.Submitted(upload=upload, studies=[schemas.Study.of(row) for row in rows])

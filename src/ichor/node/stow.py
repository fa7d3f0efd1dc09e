"""STOW-RS: studies that come by HTTP, behind the login of the page (PS3.18 10.5)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from ichor.node.audit import Audit
from ichor.node.config import Bounds
from ichor.node.partial import PartialFile, is_whole
from ichor.node.spool import NotTaken, Origin, Spool, Taken
from ichor.serving.errors import ApiError

__all__ = ["stow_router"]

_TYPE = "application/dicom+json"
_FAILURES = {"full": 0xA700, "too_many": 0xA700, "mismatch": 0xA900, "unreadable": 0xC000, "bad_uid": 0xC001}


@dataclass
class _Outcome:
    """What became of the parts of one request."""

    taken: list[Taken] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


class _Parts:
    """Writes the parts of a body to files, one after the other, and hands each on when it is whole."""

    def __init__(self, spool: Spool, bounds: Bounds, on_part: Callable[[Path], None]) -> None:
        self.spool, self.bounds, self.on_part = spool, bounds, on_part
        self._file: PartialFile | None = None
        self._path = Path()
        self._size = 0
        self.count = 0

    def begin(self) -> None:
        self.count += 1
        if self.count > self.bounds.study_instances:
            raise ApiError(413, "Found more objects than one request may hold.")
        self._file = PartialFile(self.spool.receiving)
        self._path, self._size = self._file.path, 0

    def data(self, content: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self.bounds.object_bytes or self._file is None:
            raise ApiError(413, f"Found an object of more than {self.bounds.object_bytes:,} bytes.")
        self._file.write(content[start:end])

    def end(self) -> None:
        self.close()
        try:
            self.on_part(self._path)
        finally:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def abandon(self) -> None:
        """Remove a part that was not whole."""
        if self._file is not None:
            self.close()
            self._path.unlink(missing_ok=True)


def stow_router(spool: Callable[[], Spool], bounds: Bounds, count: Callable[[str, str], None]) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    spool
        Gives the node's spool, which is there once the node runs.
    bounds
        Of the node.
    count
        Called for counters, with what and why.
    """
    router = APIRouter(prefix="/dicom-web", tags=["studies"])

    async def store(request: Request, study: str | None) -> Response:
        outcome = _Outcome()
        keep = _keeper(spool(), bounds, study, outcome, count)
        parts = _Parts(spool(), bounds, keep)
        parser = MultipartParser(
            _boundary(request.headers.get("content-type", "")),
            {"on_part_begin": parts.begin, "on_part_data": parts.data, "on_part_end": parts.end},
        )
        try:
            async for chunk in request.stream():
                await anyio.to_thread.run_sync(parser.write, chunk)
        except MultipartParseError:
            raise ApiError(400, "Found a body that cannot be read; expected multipart/related.") from None
        finally:
            with contextlib.suppress(OSError):
                parts.abandon()
        return _answer(outcome)

    @router.post("/studies")
    async def store_instances(request: Request) -> Response:
        """Store DICOM objects."""
        return await store(request, None)

    @router.post("/studies/{study}")
    async def store_study(study: str, request: Request) -> Response:
        """Store DICOM objects of one study."""
        return await store(request, study)

    return router


def _keeper(
    spool: Spool, bounds: Bounds, study: str | None, outcome: _Outcome, count: Callable[[str, str], None]
) -> Callable[[Path], None]:
    audit = Audit(spool.root / "audit.jsonl")

    def keep(path: Path) -> None:
        try:
            spool.check_room(bounds.spool_bytes, bounds.free_bytes)
            if not is_whole(path):
                raise NotTaken("full")
            taken = spool.take(path, Origin("stow"), study=study)
        except NotTaken as refusal:
            outcome.failed.append(_FAILURES[refusal.reason])
            audit("not_taken", outcome=4, reason=refusal.reason, way="stow")
            count("not_taken", refusal.reason)
            return
        except OSError as error:  # the disk is full, or broken
            outcome.failed.append(_FAILURES["full"])
            audit("not_taken", outcome=8, reason="storage", error=type(error).__name__, way="stow")
            count("not_taken", "storage")
            return
        outcome.taken.append(taken)
        audit("received", study=taken.study, way="stow")
        count("received", "stow")

    return keep


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise ApiError(
            415, "Found a body of another type; expected multipart/related; type=application/dicom."
        )
    if str(header.get_param("type") or "application/dicom").lower() != "application/dicom":
        raise ApiError(415, "Found parts of another type; expected application/dicom.")
    return boundary.encode()


def _answer(outcome: _Outcome) -> Response:
    if not outcome.taken and not outcome.failed:
        raise ApiError(400, "Found no part; expected DICOM objects.")
    body: dict[str, Any] = {}
    if outcome.taken:
        body["00081199"] = _sequence(
            [
                {"00081150": _value("UI", one.sop_class), "00081155": _value("UI", one.sop_instance)}
                for one in outcome.taken
            ]
        )
    if outcome.failed:
        body["00081198"] = _sequence([{"00081197": _value("US", reason)} for reason in outcome.failed])
    status = 200 if not outcome.failed else 202 if outcome.taken else 409
    return Response(json.dumps(body), status, media_type=_TYPE)


def _value(vr: str, value: object) -> dict[str, object]:
    return {"vr": vr, "Value": [value]}


def _sequence(items: list[dict[str, dict[str, object]]]) -> dict[str, object]:
    return {"vr": "SQ", "Value": items}

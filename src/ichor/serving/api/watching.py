"""Changes as they happen, as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from ichor.serving.errors import problems
from ichor.serving.events import Change, Hub
from ichor.serving.state import ServerState

__all__ = ["router"]

router = APIRouter(tags=["events"])

_RETRY = "retry: 2000\n\n"
_HEARTBEAT = "event: heartbeat\ndata: {}\n\n"
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "`study` with the whole row, `deleted` with `{id}`, `reset` where the list must be asked for "
        "anew, `heartbeat`",
    }
}


@router.get("/events", responses={**_EVENTS, **problems(401, 403, 422)}, response_class=StreamingResponse)
async def watch(
    server: ServerState,
    last_event_id: Annotated[str | None, Header(max_length=40, description="go on after this event")] = None,
    once: Annotated[
        bool, Query(description="end after what was missed, for scripts that ask now and then")
    ] = False,
) -> StreamingResponse:
    """Tell every change of the worklist until the listener goes."""
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
    return StreamingResponse(_stream(server.hub, after, once), media_type="text/event-stream")


async def _stream(hub: Hub, after: int | None, once: bool) -> AsyncIterator[str]:
    if once:
        yield _RETRY
        async for missed in hub.missed(after):
            yield _lines(missed)
        return
    # Listening before the first word: who hears it may count on hearing every change from then on.
    with hub.listening(after) as changes:
        yield _RETRY
        async for change in changes:
            yield _HEARTBEAT if change is None else _lines(change)


def _lines(change: Change) -> str:
    data = change.data or json.dumps({"id": change.study} if change.study else {})
    return f"id: {change.id}\nevent: {change.kind}\ndata: {data}\n\n"

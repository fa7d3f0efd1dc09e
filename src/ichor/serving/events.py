"""Changes of the worklist, sent to every open page: one reader of the database, any number of listeners."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.logs import log
from ichor.jobs.tables import Event

__all__ = ["HEARTBEAT_S", "Change", "Hub"]

HEARTBEAT_S = 15.0
_T = TypeVar("_T")
_POLL_S = 0.15
_BACKLOG = 500
"""Changes that a slow listener may be behind, and that one who comes back is sent one by one."""
_LATE = 50
"""Numbers before the newest that are looked at again: transactions may end in another order than they began."""


@dataclass(frozen=True)
class Change:
    """One change: ``study`` or ``deleted`` with the study's id, or ``reset``: ask for the list again."""

    id: int
    kind: str
    study: str = ""
    data: str = ""


class Hub:
    """Reads new events and hands them to listeners.

    Parameters
    ----------
    database
        Of the server.
    describe
        Gives the JSON of a study by its id; None where it was deleted.
    """

    def __init__(self, database: Database, describe: Callable[[str], str | None]) -> None:
        self.database = database
        self.describe = describe
        self.ending = asyncio.Event()
        self._listeners: set[asyncio.Queue[Change]] = set()
        self._last = 0
        self._seen: deque[int] = deque(maxlen=4 * _LATE)

    @property
    def listeners(self) -> int:
        """Number of pages that listen."""
        return len(self._listeners)

    async def run(self) -> None:
        """Look for events until the server ends."""
        self._skip(await self._quietly(self._newest, 0))
        while not self.ending.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), _POLL_S)
            if not self._listeners:
                newest = await self._quietly(self._newest, self._last)
                # Nobody listens; whoever comes next asks for the list after it listens.
                if not self._listeners:
                    self._skip(newest)
                continue
            changes: list[Change] = await self._quietly(self._new, [])
            for change in changes:
                self._hand_out(change)

    @contextlib.contextmanager
    def listening(self, after: int | None) -> Iterator[AsyncIterator[Change | None]]:
        """Listen from here on, before the first change is asked for.

        Parameters
        ----------
        after
            Number of the last one that the listener was sent, where it comes back.

        Yields
        ------
        AsyncIterator
            Changes as they come; None where nothing has happened for a while.
        """
        queue: asyncio.Queue[Change] = asyncio.Queue(_BACKLOG)
        self._listeners.add(queue)
        try:
            yield self._changes(queue, after)
        finally:
            self._listeners.discard(queue)

    async def _changes(self, queue: asyncio.Queue[Change], after: int | None) -> AsyncIterator[Change | None]:
        sent = set()
        for change in await anyio.to_thread.run_sync(self._missed, after):
            sent.add(change.id)
            yield change
        while not self.ending.is_set():
            try:
                change = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield None
                continue
            if change.kind == "reset" or change.id not in sent:
                yield change

    async def missed(self, after: int | None) -> AsyncIterator[Change]:
        """Give what a listener was not sent, and end."""
        for change in await anyio.to_thread.run_sync(self._missed, after):
            yield change

    async def end(self) -> None:
        """Let all listeners go."""
        self.ending.set()
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(Change(self._last, "reset"))

    async def _quietly(self, work: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return await anyio.to_thread.run_sync(work)
        except SQLAlchemyError as error:
            log("database_error", error=type(error).__name__)
            return otherwise

    def _hand_out(self, change: Change) -> None:
        for queue in self._listeners:
            if queue.full():  # too slow: it must ask for the list anew
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(Change(change.id, "reset"))
            else:
                queue.put_nowait(change)

    def _skip(self, newest: int) -> None:
        """Take everything up to an event as sent."""
        if newest > self._last:
            self._last = newest
            self._seen.extend(range(max(0, newest - _LATE), newest + 1))

    def _newest(self) -> int:
        with self.database.read() as session:
            return int(session.scalar(select(func.max(col(Event.id)))) or 0)

    def _new(self) -> list[Change]:
        with self.database.read() as session:
            query = (
                select(Event)
                .where(col(Event.id) > self._last - _LATE)
                .order_by(col(Event.id))
                .limit(_BACKLOG)
            )
            events = [e for e in session.scalars(query) if e.id not in self._seen]
        for event in events:
            self._seen.append(event.id or 0)
            self._last = max(self._last, event.id or 0)
        return self._described([(e.id or 0, e.kind, e.study) for e in events])

    def _missed(self, after: int | None) -> list[Change]:
        """Return what one who comes back was not sent; ``reset`` where that is too much, or no more known."""
        newest = self._newest()
        if after is None or after == newest:
            return []
        with self.database.read() as session:
            query = select(Event).where(col(Event.id) > after).order_by(col(Event.id)).limit(_BACKLOG + 1)
            events = [(e.id or 0, e.kind, e.study) for e in session.scalars(query)]
        whole = events and events[0][0] == after + 1 and len(events) <= _BACKLOG
        return self._described(events) if whole else [Change(newest, "reset")]

    def _described(self, events: list[tuple[int, str, str]]) -> list[Change]:
        """Add what each study is now; of several changes of one study, only the last is sent."""
        last = {study: number for number, _, study in events}
        out = []
        for number, kind, study in events:
            if last[study] != number:
                continue
            data = self.describe(study) if kind == "study" else None
            out.append(Change(number, "study" if data else "deleted", study, data or ""))
        return out

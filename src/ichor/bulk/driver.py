"""The driver: units in, tasks to a pool, rows to parts; it ends with a row for each unit, or goes on next time."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ichor.bulk.assessing import Task, failed_row
from ichor.bulk.output import Output
from ichor.bulk.pools import Outcome, Pool
from ichor.bulk.units import Finder, Unit
from ichor.errors import IchorError, UsageError

__all__ = ["Driver", "Progress", "Show"]

_PART_ROWS, _PART_SECONDS = 64, 10.0
"""A part is written after so many rows, or so long after its first one."""
_LOOK_S = 0.2
_MOST_WAITING = 200_000
"""Units that were found and not begun; looking for more waits then."""
_END_S = 6.0


@dataclass
class Progress:
    """How far a run is.

    Attributes
    ----------
    found
        Units so far.
    all_found
        Whether there are no more.
    done
        Units that have rows, of this run or of an earlier one.
    new
        Of these, units of this run.
    states
        Rows of this run by state.
    not_stored
        Rows of this run whose DICOM objects could not be stored.
    failed_before
        Units that failed, or whose objects could not be stored, in an earlier run, and were not tried again.
    seconds
        Since the first task was begun.
    """

    found: int = 0
    all_found: bool = False
    done: int = 0
    new: int = 0
    states: Counter[str] = field(default_factory=lambda: Counter(assessed=0, refused=0, failed=0))
    not_stored: int = 0
    failed_before: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.new / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where that is not known yet."""
        return (self.found - self.done) / self.rate if self.all_found and self.new else None


class FailedRow(Protocol):
    """Makes the row of a unit that was not done because something failed."""

    def __call__(self, task: Task, row: int, code: str, message: str, identity: str, /) -> dict[str, Any]:
        """Return the row: which task, number, code, sentence, and the identity of the run."""


class Show(Protocol):
    """Called now and then with how far a run is."""

    def __call__(self, progress: Progress, /) -> None:
        """Show it, and return at once."""


@dataclass(frozen=True)
class _Failure:
    """What becomes of a unit under which processes or machines end.

    Attributes
    ----------
    code
        Of its row.
    most
        How many may end before it gets that row.
    what, remedy
        For the row's sentence.
    """

    code: str
    most: int
    what: str
    remedy: str


_FAILURES = {
    "died": _Failure(
        "worker_died",
        2,
        "worker processes ended over it",
        "a study that can be assessed; check its files, or try it with ichor detect",
    ),
    "lost": _Failure(
        "worker_lost",
        5,
        "machines were lost while it was assessed",
        "one that lasts so long; run again with --retry-failed",
    ),
}
"""By how a task ended."""


class _Discovery(threading.Thread):
    """Looks for units while others are assessed."""

    def __init__(self, source: Finder) -> None:
        super().__init__(daemon=True)
        self.units: queue.Queue[Unit] = queue.Queue(_MOST_WAITING)
        self.error: Exception | None = None
        self.ended = threading.Event()
        self._source = source

    def run(self) -> None:
        try:
            for unit in self._source.discover():
                self.units.put(unit)
        except Exception as error:  # raised again in the thread of the driver
            self.error = error
        finally:
            self.ended.set()

    def new(self) -> Iterator[Unit]:
        """Yield what was found since the last call."""
        while True:
            try:
                yield self.units.get_nowait()
            except queue.Empty:
                return


class Driver:
    """One run.

    Parameters
    ----------
    source
        Where the units are.
    pool
        Who assesses them; closed in the end.
    output
        Where rows go; locked, and begun.
    bundle
        Hash of the model that every row must come from, or what else is the same in all rows: the ``identity`` of the
        output's form.
    retry_failed
        Assess again what failed before.
    failed
        Makes the row of a unit under which processes or machines end.
    """

    def __init__(
        self,
        source: Finder,
        pool: Pool,
        output: Output,
        bundle: str,
        *,
        retry_failed: bool = False,
        failed: FailedRow = failed_row,
    ) -> None:
        self.progress = Progress()
        self._pool, self._output, self._bundle = pool, output, bundle
        self._retry_failed, self._failed = retry_failed, failed
        self._done = output.done()
        self._discovery = _Discovery(source)
        self._waiting: OrderedDict[str, Task] = OrderedDict()
        self._again: deque[Task] = deque()
        self._held: dict[str, Unit] = {}
        self._begun: dict[str, Unit] = {}
        self._running = 0
        self._failures: Counter[tuple[str, str]] = Counter()
        self._rows: list[dict[str, Any]] = []
        self._first_row = self._began = 0.0

    def run(self, show: Show) -> Progress:
        """Assess everything that has no row yet.

        Raises
        ------
        UsageError
            Where workers cannot start, or give rows of another model.
        KeyboardInterrupt
            As it came; what was done until then is written.
        """
        self._discovery.start()
        try:
            while not self._ended():
                self._take_found()
                self._fill()
                self._take(self._pool.wait(_LOOK_S))
                self._flush(whole=False)
                self._report(show)
        except BaseException:
            self._take(self._pool.close(_END_S))
            self._flush(whole=True)
            raise
        self._pool.close(_END_S)
        self._flush(whole=True)
        self._output.remove_replaced()
        self._report(show)
        return self.progress

    def _ended(self) -> bool:
        if not self._discovery.ended.is_set() or not self._discovery.units.empty():
            return False
        self._take_held()
        return not (self._waiting or self._again or self._running)

    # -- units ------------------------------------------------------------------------------------------

    def _take_found(self) -> None:
        ended = self._discovery.ended.is_set()
        for unit in self._discovery.new():
            self._found(unit)
        if self._discovery.error is not None:
            error = self._discovery.error
            raise (
                error
                if isinstance(error, IchorError)
                else UsageError(
                    f"bulk: found that looking for studies ended with {type(error).__name__}; expected a source that "
                    "can be listed to its end; run again, which goes on"
                )
            ) from error
        if ended and self._discovery.units.empty():
            self._take_held()

    def _found(self, unit: Unit) -> None:
        """Decide what becomes of a unit, which may be a known one of which more was found."""
        known = self._done.get(unit.id)
        if unit.id in self._waiting:
            self._waiting[unit.id] = Task(unit, self._waiting[unit.id].revision)
        elif unit.id in self._begun:
            self._held[unit.id] = unit
        elif known is None:
            self.progress.found += 1
            self._waiting[unit.id] = Task(unit)
        elif known.source == unit.fingerprint and not (known.failed and self._retry_failed):
            if self._held.pop(unit.id, None) is None:
                self.progress.found += 1
            self.progress.done += 1
            self.progress.failed_before += known.failed
        else:
            # Only a part of a study may have been found so far: decided in the end.
            self.progress.found += unit.id not in self._held
            self._held[unit.id] = unit

    def _take_held(self) -> None:
        """Assess again what is not what it was; all is found now."""
        self.progress.all_found = True
        held, self._held = self._held, {}
        for unit in held.values():
            known, begun = self._done.get(unit.id), self._begun.get(unit.id)
            if begun is not None and begun.fingerprint == unit.fingerprint:
                continue
            revision = known.revision + 1 if known else 1
            if begun is not None:
                revision += 1
                self.progress.found += 1
            self._waiting[unit.id] = Task(unit, revision)

    # -- tasks ------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        while self._pool.free > 0 and (self._waiting or self._again):
            task = self._waiting.popitem(last=False)[1] if self._waiting else self._again.popleft()
            self._began = self._began or time.monotonic()
            self._begun[task.unit.id] = task.unit
            self._running += 1
            self._pool.submit(task)

    def _take(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._running -= 1
            task = outcome.task
            if outcome.end == "done":
                self._keep(outcome.rows)
            elif outcome.end == "returned":
                self._again.append(task)
            else:
                self._retry(task, _FAILURES[outcome.end])

    def _retry(self, task: Task, failure: _Failure) -> None:
        """Begin a task again, behind the others, unless that was tried often enough."""
        key = (task.unit.id, failure.code)
        self._failures[key] += 1
        if self._failures[key] >= failure.most:
            message = f"Found that {failure.most} {failure.what}; expected {failure.remedy}."
            self._keep([self._failed(task, 0, failure.code, message, self._bundle)])
        else:
            self._again.append(replace(task, attempt=task.attempt + 1))

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            identity = self._output.form.identity
            if row[identity] != self._bundle:
                raise UsageError(
                    f"bulk: found a worker with another {identity} ({row['worker']}: {row[identity][:12]}); expected "
                    f"{self._bundle[:12]} everywhere; have the same {identity} on every machine"
                )
            self.progress.states[row["state"]] += 1
            self.progress.not_stored += row.get("stored") is False
        self.progress.done += 1
        self.progress.new += 1
        if not self._rows:
            self._first_row = time.monotonic()
        self._rows += rows

    def _flush(self, *, whole: bool) -> None:
        """Write a part, if it is time, or in the end."""
        if not self._rows:
            return
        due = len(self._rows) >= _PART_ROWS or time.monotonic() - self._first_row >= _PART_SECONDS
        if whole or due:
            rows, self._rows = self._rows, []
            self._output.write(rows)

    def _report(self, show: Show) -> None:
        self.progress.seconds = time.monotonic() - self._began if self._began else 0.0
        show(self.progress)

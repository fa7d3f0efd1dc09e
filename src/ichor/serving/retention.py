"""Deleting what is too old, by a clock that is not believed blindly: one that was set makes no study older."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, not_, update
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.logs import log
from ichor.jobs.tables import ClockReading, Job, Study
from ichor.serving.worklist import Worklist

__all__ = ["Clocks", "Retention"]

_DAY_S = 86_400.0
_UNFINISHED_S = _DAY_S
"""An upload to which nothing was added for so long is given up."""
_SET_S = 60.0
"""A wall clock that moved so much more or less than the steady one was set."""


def _steady() -> float:
    """Seconds that no setting of the clock changes; on Linux they go on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True)
class Clocks:
    """Where the time comes from.

    Attributes
    ----------
    wall
        Seconds since 1970; may be set.
    steady
        Seconds since some moment; never set.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = _steady


class Retention:
    """Deletes studies by their age, and uploads that were given up.

    While the server runs, a clock that is set is noticed, and arrivals move with it: ages stay. Over a stop of more
    than a day nothing tells a long pause from a wrong clock: ages are counted from the time that was seen last, until
    the server has run for a day.

    Parameters
    ----------
    database, worklist
        Of the server.
    keep_days
        Days after which a study is deleted; 0 for never.
    clocks
        Where the time comes from.
    """

    def __init__(
        self, database: Database, worklist: Worklist, keep_days: float, clocks: Clocks | None = None
    ) -> None:
        self.database = database
        self.worklist = worklist
        self.keep_days = keep_days
        self.clocks = clocks or Clocks()
        self._wall = self._wall_began = self.clocks.wall()
        self._steady = self._began = self.clocks.steady()
        self._doubted_s: float | None = None
        self._sweep_from = self._began

    def tidy(self) -> int:
        """Look at the clock, then delete what is too old; return the number of studies."""
        now = self._look()
        deleted = self.worklist.delete_older(self.keep_days * _DAY_S, now) if self.keep_days else 0
        if self.clocks.steady() >= self._sweep_from:
            self.worklist.sweep(_UNFINISHED_S, now)
        self.database.scrub()
        return deleted

    def _look(self) -> float:
        """Return the time by which ages are counted."""
        wall, steady = self.clocks.wall(), self.clocks.steady()
        expected = self._wall + steady - self._steady
        moved = wall - expected
        if self._doubted_s is None:
            self._doubted_s = self._doubted(wall)
        if abs(moved) > _SET_S:
            log("clock_was_set", seconds=round(moved))
            began_s = 0.0
            if self._doubted_s and abs(self._doubted_s + moved) <= _DAY_S:
                # It was wrong from the start, and is right now: only what arrived in between bears its times.
                self._doubted_s, began_s = 0.0, self._wall_began
            self._move_arrivals(moved, since=wall - (expected - self._wall), until=wall, from_s=began_s)
            self._sweep_from = steady + _UNFINISHED_S  # files bear the times of the former clock
        if steady - self._began > _DAY_S:
            self._doubted_s = 0.0
        self._wall, self._steady = wall, steady
        with self.database.write() as session:
            session.merge(ClockReading(id=1, seen=wall - self._doubted_s))
        return wall - self._doubted_s

    def _doubted(self, wall: float) -> float:
        """Return the seconds since the clock was last seen, where they are more than a pause explains."""
        with self.database.read() as session:
            reading = session.get(ClockReading, 1)
        away = wall - reading.seen if reading is not None else 0.0
        if away <= _DAY_S:
            return 0.0
        log("clock_not_believed_yet", days=round(away / _DAY_S, 1))
        return away

    def _move_arrivals(self, moved: float, *, since: float, until: float, from_s: float) -> None:
        """Add to every arrival from ``from_s`` on, but for those that the clock has stamped since it was set."""
        for table, column in ((Study, col(Study.arrived)), (Job, col(Job.arrived))):
            stamped_anew = and_(column >= since, column <= until)
            stamped_before = and_(not_(stamped_anew), column >= from_s)
            with self.database.write() as session:
                session.execute(update(table).where(stamped_before).values(arrived=column + moved))

"""What is too old goes; a clock that was set makes nothing old."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from ichor.jobs.database import Database
from ichor.jobs.storage import Storage, new_id
from ichor.jobs.tables import Job, Study
from ichor.serving.retention import Clocks, Retention
from ichor.serving.worklist import Worklist, WorklistQuery

DAY = 86_400.0
START = 1_800_000_000.0


class Clock:
    """Two clocks that are turned by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.steady)


@pytest.fixture
def worklist(tmp_path: Path) -> Iterator[Worklist]:
    database = Database(f"sqlite:///{tmp_path / 'ichor.db'}")
    database.migrate()
    yield Worklist(database, Storage(tmp_path / "state"))
    database.close()


def add(worklist: Worklist, arrived: float) -> str:
    with worklist.database.write() as session:
        job = Job(upload=new_id(), arrived=arrived, state="done")
        session.add(job)
        session.flush()
        study = Study(id=new_id(), job=job.seq, arrived=arrived, label="AAAA-BBBB", state="ready")
        session.add(study)
        return study.id


def left(worklist: Worklist) -> set[str]:
    return {row.study.id for row in worklist.rows(WorklistQuery(), 100, 0)[1]}


def server(worklist: Worklist, clock: Clock, keep_days: float = 30) -> Retention:
    return Retention(worklist.database, worklist, keep_days, clock.clocks)


def run(retention: Retention, clock: Clock, days: float) -> None:
    """Let a server run, tidying as it does."""
    for _ in range(round(days * 4)):
        clock.pass_(DAY / 4)
        retention.tidy()


def test_a_study_goes_after_its_days_and_not_before(worklist: Worklist) -> None:
    clock = Clock()
    study = add(worklist, clock.wall)
    retention = server(worklist, clock)
    run(retention, clock, 29.5)
    assert left(worklist) == {study}
    run(retention, clock, 1)
    assert left(worklist) == set()


@pytest.mark.parametrize("jump_days", [40, 4000, -4000, -1])
def test_a_clock_that_is_set_deletes_nothing_and_ages_go_on(worklist: Worklist, jump_days: float) -> None:
    clock = Clock()
    retention = server(worklist, clock)
    study = add(worklist, clock.wall)
    run(retention, clock, 10)
    clock.wall += jump_days * DAY
    run(retention, clock, 1)
    later = add(worklist, clock.wall)
    run(retention, clock, 18)
    assert left(worklist) == {study, later}  # 29 and 18 days old, whatever the clock says
    run(retention, clock, 2)
    assert left(worklist) == {later}
    run(retention, clock, 11)
    assert left(worklist) == set()


def test_a_clock_that_is_set_wrong_and_right_again_changes_no_age(worklist: Worklist) -> None:
    clock = Clock()
    retention = server(worklist, clock)
    study = add(worklist, clock.wall)
    run(retention, clock, 1)
    clock.wall += 400 * DAY
    retention.tidy()
    between = add(worklist, clock.wall)
    clock.wall -= 400 * DAY
    run(retention, clock, 20)
    assert left(worklist) == {study, between}
    arrivals = {row.study.id: row.study.arrived for row in worklist.rows(WorklistQuery(), 9, 0)[1]}
    assert arrivals[study] == pytest.approx(START, abs=60)
    assert arrivals[between] == pytest.approx(START + DAY, abs=60)


def test_a_machine_that_starts_with_a_wrong_clock_deletes_nothing(worklist: Worklist) -> None:
    clock = Clock()
    study = add(worklist, clock.wall)
    server(worklist, clock).tidy()
    clock.wall += 400 * DAY  # while it was off: a battery that is empty
    clock.steady = 3.0
    second = server(worklist, clock)
    second.tidy()
    run(second, clock, 0.75)
    assert left(worklist) == {study}
    clock.wall -= 400 * DAY  # set right
    run(second, clock, 5)
    assert left(worklist) == {study}


def test_after_a_long_pause_what_is_too_old_goes_a_day_later(worklist: Worklist) -> None:
    clock = Clock()
    study = add(worklist, clock.wall)
    server(worklist, clock).tidy()
    clock.wall += 60 * DAY
    second = server(worklist, clock)
    second.tidy()
    assert left(worklist) == {study}
    run(second, clock, 1.5)
    assert left(worklist) == set()


def test_after_a_short_pause_at_once(worklist: Worklist) -> None:
    clock = Clock()
    study = add(worklist, clock.wall)
    first = server(worklist, clock)
    run(first, clock, 29.75)
    assert left(worklist) == {study}
    clock.wall += DAY / 2
    second = server(worklist, clock)
    assert second.tidy() == 1


def test_uploads_under_way_outlast_a_clock_that_is_set(worklist: Worklist) -> None:
    clock = Clock()
    retention = server(worklist, clock)
    upload = worklist.storage.upload(new_id())
    upload.mkdir()
    os.utime(upload, (clock.wall, clock.wall))
    retention.tidy()
    clock.wall += 40 * DAY
    run(retention, clock, 0.75)
    assert upload.exists()
    run(retention, clock, 1)
    assert not upload.exists()

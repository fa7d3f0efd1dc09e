"""The queue: leases, attempts, and what is written in one step; no server needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from ichor.jobs.database import Database
from ichor.jobs.queue import MOST_ATTEMPTS, LeaseLost, Queue
from ichor.jobs.storage import Storage, new_id
from ichor.jobs.tables import StoredFindings
from ichor.serving.worklist import Worklist, WorklistQuery


@pytest.fixture
def worklist(tmp_path: Path) -> Iterator[Worklist]:
    database = Database(f"sqlite:///{tmp_path / 'ichor.db'}")
    database.migrate()
    yield Worklist(database, Storage(tmp_path / "state"))
    database.close()


def test_a_job_is_leased_once_and_in_order(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    uploads = [new_id() for _ in range(3)]
    for upload in uploads:
        queue.add(upload, ["000000"])
        queue.add(upload, ["000000"])  # completing twice
    leased = [queue.lease(f"worker {k}") for k in range(4)]
    assert [x.upload if x else None for x in leased] == [*uploads, None]
    assert worklist.rows(WorklistQuery(), 10, 0)[0] == 3


def test_a_lease_that_ran_out_is_given_to_another_and_the_first_writes_nothing(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    monkeypatch.setattr("ichor.jobs.queue.LEASE_S", -1.0)
    first = queue.lease("one")
    assert first is not None
    part = queue.open_part(first, 0)
    assert part is not None
    second = queue.lease("two")
    assert second is not None
    assert second.attempts == 2
    assert not queue.renew(first)
    for act in (
        lambda: queue.open_part(first, 0),
        lambda: queue.begin_reading(first),
        lambda: queue.finish(first),
        lambda: queue.change(
            first, part.study, StoredFindings(study=part.study, findings="{}"), state="ready"
        ),
        lambda: queue.change(first, part.study, state="detecting"),
    ):
        with pytest.raises(LeaseLost):
            act()
    assert worklist.stored_findings(part.study) is None
    queue.change(second, part.study, StoredFindings(study=part.study, findings="{}"), state="ready")
    assert worklist.stored_findings(part.study) is not None


def test_findings_and_state_are_written_together_or_not_at_all(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    leased = queue.lease("one")
    assert leased is not None
    part = queue.open_part(leased, 0)
    assert part is not None
    wrong = StoredFindings(study=part.study, findings=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        queue.change(leased, part.study, wrong, state="ready", probability=0.5)
    row = worklist.get(part.study).study  # type: ignore[union-attr]
    assert (row.state, row.probability) == ("queued", None)


def test_parts_that_were_done_or_deleted_are_not_done_again(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    leased = queue.lease("one")
    assert leased is not None
    parts = [queue.open_part(leased, k) for k in range(3)]
    studies = [p.study for p in parts if p is not None]
    queue.change(leased, studies[0], StoredFindings(study=studies[0], findings="{}"), state="ready")
    queue.change(leased, studies[1], state="detecting")
    worklist.delete(studies[1])
    worklist.delete(studies[0])
    queue.release("one")
    again = queue.lease("two")
    assert again is not None
    assert queue.open_part(again, 0) is None
    assert queue.open_part(again, 1) is None
    third = queue.open_part(again, 2)
    assert third is not None
    assert (third.study, third.done) == (studies[2], False)
    queue.change(again, third.study, state="refused")
    assert queue.open_part(again, 2).done  # type: ignore[union-attr]


def test_attempts_count_deaths_and_not_progress(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    for attempt in range(1, MOST_ATTEMPTS + 2):
        leased = queue.lease("one")
        assert leased is not None
        assert leased.attempts == attempt
        queue.release("one")
    leased = queue.lease("one")
    assert leased is not None
    queue.release("one", uncounted=True)
    assert queue.lease("one").attempts == leased.attempts  # type: ignore[union-attr]
    queue.release("one")
    leased = queue.lease("one")
    assert leased is not None
    part = queue.open_part(leased, 0)
    assert part is not None
    queue.change(leased, part.study, state="ready")
    queue.release("one")
    assert queue.lease("one").attempts == 2  # type: ignore[union-attr]

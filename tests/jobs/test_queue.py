"""The queue: leases, attempts, and what is written in one step; no server needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from ichor.jobs.database import Database
from ichor.jobs.queue import MOST_ATTEMPTS, LeasedJob, LeaseLost, Queue
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


def lease(queue: Queue, worker: str = "one") -> LeasedJob:
    leased = queue.lease(worker)
    assert leased is not None
    return leased


def rows(worklist: Worklist) -> list[tuple[str, str | None]]:
    studies = [row.study for row in worklist.rows(WorklistQuery(), 500, 0)[1]]
    return [(s.state, s.refusal_code) for s in sorted(studies, key=lambda s: (s.job, s.part))]


def test_each_input_of_an_upload_is_a_job_with_a_row_from_the_start(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    upload = new_id()
    queue.add(upload, ["000000", "000001/000003.nii", "000002"], "case 7")
    assert [row.study.state for row in worklist.of_upload(upload)] == ["queued"] * 3  # type: ignore[union-attr]
    leased = [lease(queue, f"worker {k}") for k in range(3)]
    assert [job.input for job in leased] == ["000000", "000001/000003.nii", "000002"]
    assert {(job.upload, job.alias) for job in leased} == {(upload, "case 7")}
    assert queue.lease("another") is None


def test_giving_up_skips_one_input_alone(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000", "000001", "000002", "000003"])
    poison = "000001"
    done = []
    for _ in range(20):
        leased = queue.lease("one")
        if leased is None:
            break
        queue.begin_reading(leased)
        if leased.input == poison and leased.attempts <= MOST_ATTEMPTS:
            queue.release("one")  # the supervisor, after its worker died
        elif leased.input == poison:
            assert not queue.skip_part(leased, "gave_up", "x")
            queue.give_up(leased, "gave_up", "x")
            queue.finish(leased)
        else:
            part = queue.open_part(leased, 0)
            queue.change(leased, part.study, state="ready")  # type: ignore[union-attr]
            done.append((leased.input, queue.finish(leased).upload))
    assert done == [("000000", False), ("000002", False), ("000003", False)]
    assert rows(worklist) == [("ready", None), ("refused", "gave_up"), ("ready", None), ("ready", None)]


def test_who_ends_its_worker_goes_to_the_back_and_who_was_interrupted_does_not(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    queue.add(new_id(), ["000000"])
    first = lease(queue)
    queue.release("one")
    second = lease(queue)
    assert second.seq != first.seq
    queue.release("one", uncounted=True, behind=False)
    assert lease(queue).seq == second.seq
    queue.release("one", uncounted=True)
    assert lease(queue).seq == first.seq


def test_a_lapsed_lease_waits_behind_those_that_did_no_harm(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    monkeypatch.setattr("ichor.jobs.queue.LEASE_S", -1.0)
    silent = lease(queue)
    queue.add(new_id(), ["000000"])
    assert lease(queue, "two").seq != silent.seq


def test_a_part_that_ends_its_worker_is_skipped_and_the_rest_of_its_input_goes_on(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    for _ in range(MOST_ATTEMPTS):
        leased = lease(queue)
        for number in range(2):
            part = queue.open_part(leased, number)
            assert part is not None
            if number == 0 and not part.done:
                queue.change(leased, part.study, state="ready")
            if number == 0:
                queue.close_part(leased)
        queue.release("one")  # dies while it assesses part 1
    leased = lease(queue)
    assert (leased.at_part, leased.attempts > MOST_ATTEMPTS) == (1, True)
    assert queue.skip_part(leased, "gave_up", "x")
    third = queue.open_part(leased, 2)
    assert third is not None
    queue.change(leased, third.study, state="ready")
    assert queue.finish(leased).upload
    assert rows(worklist) == [("ready", None), ("refused", "gave_up"), ("ready", None)]


def test_what_could_not_be_read_to_its_end_says_so(worklist: Worklist) -> None:
    """All rows that were known are done: the rest of the input, whatever it was, is not dropped without a word."""
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    leased = lease(queue)
    part = queue.open_part(leased, 0)
    queue.change(leased, part.study, state="ready")  # type: ignore[union-attr]
    queue.close_part(leased)
    queue.give_up(leased, "gave_up", "x")
    assert rows(worklist) == [("ready", None), ("refused", "gave_up")]


def test_a_row_that_nothing_took_says_so_instead_of_vanishing(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    queue.add(new_id(), ["000000"])
    finished = queue.finish(lease(queue))
    assert finished.studies
    assert rows(worklist) == [("refused", "no_image")]


def test_deleting_one_of_several_inputs_leaves_the_others_their_files(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    upload = new_id()
    folder = worklist.storage.upload(upload)
    for name in ("000000", "000001"):
        (folder / name).mkdir(parents=True)
    queue.add(upload, ["000000", "000001/000001.nii"])
    first, second = (row.study.id for row in worklist.of_upload(upload))  # type: ignore[union-attr]
    assert worklist.delete(first)
    assert [p.name for p in folder.iterdir()] == ["000001"]
    assert lease(queue).input == "000001/000001.nii"
    assert worklist.delete(second)
    assert not folder.exists()

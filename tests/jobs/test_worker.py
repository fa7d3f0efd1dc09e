"""The worker's own process: how long a part may take, and what is left when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.jobs.database import Database
from ichor.jobs.objects import FAILED_FILE, ResultsRequest
from ichor.jobs.queue import MOST_ATTEMPTS, LeasedJob
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import new_id
from ichor.jobs.worker import Worker
from ichor.serving.worklist import Worklist, WorklistQuery
from serving.served import exam

STUDIES = 4
MOST_S = 10.0


class Hung(BaseException):
    """Instead of the end of this process."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker in this process, with an upload of one folder that holds several studies."""
    url = f"sqlite:///{tmp_path / 'ichor.db'}"
    database = Database(url)
    database.migrate()
    state = str(tmp_path / "state")
    worker = Worker(WorkerSettings(state, url, ("default",), keep_originals=False, limits={}, name="one"))
    upload = new_id()
    folder = worker.storage.upload(upload) / "000000"
    folder.mkdir(parents=True)
    for k in range(STUDIES):
        (folder / f"{k}.nii").write_bytes(exam(90 + k))
    worker.queue.add(upload, ["000000"])
    monkeypatch.setattr(Worker, "most_seconds", MOST_S)
    yield worker
    worker.queue.database.close()
    database.close()


def states(worker: Worker) -> list[str]:
    rows = Worklist(worker.queue.database, worker.storage).rows(WorklistQuery(), 100, 0)[1]
    return sorted(row.study.state for row in rows)


def take(worker: Worker, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Do the next job, each study taking so long; return the statuses with which the worker ended itself."""
    ended: list[int] = []
    monkeypatch.setattr("ichor.jobs.worker.os._exit", ended.append)

    def slowly(leased: LeasedJob, study: str, _: object) -> None:
        time.sleep(seconds)
        worker.queue.change(leased, study, state="ready")

    monkeypatch.setattr(worker.assessor, "settle", slowly)
    leased = worker.queue.lease("one")
    assert leased is not None
    with worker._held(leased):
        worker.do(leased)
    return ended


def test_a_long_input_of_healthy_studies_has_not_hung(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    assert take(worker, MOST_S / 2, monkeypatch) == []
    assert time.monotonic() - began > 1.9 * MOST_S  # far longer in all than one study may take
    assert states(worker) == ["ready"] * STUDIES


def test_a_study_that_takes_too_long_ends_the_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take(worker, 2 * MOST_S, monkeypatch)[:1] == [1]


def test_a_large_input_gives_way_to_others_and_goes_on_where_it_was(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ichor.jobs.worker._turn_s", lambda _: 0.0)  # over at once, however fast it is read
    settled: list[str] = []
    taken: list[str] = []

    def quickly(leased: LeasedJob, study: str, _: object) -> None:
        settled.append(study)
        worker.queue.change(leased, study, state="ready")

    monkeypatch.setattr(worker.assessor, "settle", quickly)
    other = new_id()
    folder = worker.storage.upload(other) / "000000"
    folder.mkdir(parents=True)
    (folder / "a.nii").write_bytes(exam(99))
    worker.queue.add(other, ["000000"])
    while (leased := worker.queue.lease("one")) is not None:
        taken.append(leased.upload)
        assert leased.attempts == 1
        worker.do(leased)
    large = taken[0]
    # Each turn brings one further; when the others are done, the rest goes in one.
    assert taken[:4] == [large, other, large, other]
    assert len(taken) <= 6
    assert len(settled) == len(set(settled)) == STUDIES + 1
    assert states(worker) == ["ready"] * (STUDIES + 1)


def test_what_is_done_of_an_input_is_not_done_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []
    settle = worker.assessor.settle

    def until_the_third(leased: object, study: str, result: object) -> None:
        if len(settled) == 2:
            raise Hung
        settle(leased, study, result)  # type: ignore[arg-type]
        settled.append(study)

    monkeypatch.setattr(worker.assessor, "settle", until_the_third)
    leased = worker.queue.lease("one")
    assert leased is not None
    with pytest.raises(Hung):
        worker.do(leased)
    worker.queue.release("one")  # the supervisor
    assert states(worker) == ["queued", "ready", "ready"]
    again: list[str] = []

    def note(leased: object, study: str, result: object) -> None:
        settle(leased, study, result)  # type: ignore[arg-type]
        again.append(study)

    monkeypatch.setattr(worker.assessor, "settle", note)
    leased = worker.queue.lease("one")
    assert leased is not None
    worker.do(leased)
    assert states(worker) == ["ready"] * STUDIES
    assert len(again) == STUDIES - 2
    assert not set(again) & set(settled)


def test_objects_whose_making_ends_the_worker_each_time_are_given_up_and_that_is_marked(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery waits for objects: it must be told that there will be none."""
    pytest.importorskip("highdicom", reason="needs the extra 'results'")
    (upload,) = worker.storage.uploads.iterdir()
    ResultsRequest(("sr",)).write(upload)
    write = worker.assessor.objects.write
    poison: list[str] = []

    def end(leased: LeasedJob, study: str, findings: Findings, image: Exam | Picture | None) -> None:
        if not poison:
            poison.append(study)
        if study in poison:
            raise Hung
        write(leased, study, findings, image)

    monkeypatch.setattr(worker.assessor.objects, "write", end)
    monkeypatch.setattr("ichor.jobs.worker._MOST_TO_COMPLETE", MOST_ATTEMPTS + 1)
    attempts = 0
    while (leased := worker.queue.lease("one")) is not None:
        try:
            worker.do(leased)
        except Hung:
            attempts += 1
            worker.queue.release("one")  # the supervisor
    assert attempts == MOST_ATTEMPTS + 1  # more than an assessment has
    assert states(worker) == ["ready"] * STUDIES
    folders = {folder.name: folder for folder in (worker.storage.results / upload.name).iterdir()}
    assert len(folders) == STUDIES
    marked = [name for name, folder in folders.items() if (folder / FAILED_FILE).exists()]
    assert marked == poison

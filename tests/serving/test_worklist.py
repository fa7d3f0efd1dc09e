"""Order, filters, search; leases; what leaves the list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from ichor.jobs.database import Database
from ichor.jobs.queue import Queue
from ichor.jobs.storage import Storage, new_id
from ichor.jobs.tables import Event, Job, StoredFindings, Study, Verdict
from ichor.serving.worklist import Worklist, WorklistQuery
from ichor.uids import hashed_uid


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("database") / "ichor.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def worklist(database: Database, tmp_path: Path) -> Worklist:
    empty(database)
    return Worklist(database, Storage(tmp_path / "state"))


def empty(database: Database) -> None:
    with database.write() as session:
        for table in (Verdict, StoredFindings, Study, Job, Event):
            session.execute(delete(table))


def add(database: Database, **values: Any) -> str:
    """A row of an upload of its own."""
    arrived = values.pop("arrived", time.time())
    with database.write() as session:
        job = Job(upload=new_id(), arrived=arrived, state="done")
        session.add(job)
        session.flush()
        study = Study(id=new_id(), job=job.seq, arrived=arrived, label="AAAA-BBBB", **values)
        session.add(study)
        return study.id


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["queued", "reading", "detecting", "ready", "refused"]),
        st.integers(0, 100),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_high_goes_up_and_low_never_down(worklist: Worklist, rows: list[tuple[str, int, bool, bool]]) -> None:
    database = worklist.database
    empty(database)
    ids, flagged, probability = [], {}, {}
    for k, (state, percent, above, read) in enumerate(rows):
        is_ready = state == "ready"
        study = add(
            database,
            arrived=1000.0 + k,
            state=state,
            probability=percent / 100 if is_ready else None,
            flagged=is_ready and above,
            read_at=5.0 if is_ready and read else None,
        )
        ids.append(study)
        flagged[study] = is_ready and above and not read
        probability[study] = percent / 100
    total, placed = worklist.rows(WorklistQuery(), 500, 0)
    order = [p.study.id for p in placed]
    assert total == len(ids)
    assert [p.place for p in placed] == list(range(1, len(ids) + 1))
    raised = [s for s in order if flagged[s]]
    assert order[: len(raised)] == raised
    assert [probability[s] for s in raised] == sorted((probability[s] for s in raised), reverse=True)
    # Whatever is not raised stands as it arrived, whatever its probability, state or reading.
    assert order[len(raised) :] == [s for s in ids if not flagged[s]]
    for study in order[len(raised) :]:
        ahead = order[: order.index(study)]
        assert all(flagged[other] or ids.index(other) < ids.index(study) for other in ahead)
    if order:
        assert worklist.get(order[-1]).place == len(order)  # type: ignore[union-attr]


def test_equal_probabilities_are_ordered_by_what_is_outlined(worklist: Worklist) -> None:
    cases = ((0.994, 2.0), (0.991, 30.0), (0.981, 90.0), (0.992, None), (0.993, 11.0))
    ids = [
        add(
            worklist.database,
            arrived=1000.0 + k,
            state="ready",
            flagged=True,
            probability=p,
            volume_ml=ml,
        )
        for k, (p, ml) in enumerate(cases)
    ]
    _, placed = worklist.rows(WorklistQuery(), 500, 0)
    # All of 0.99 before that of 0.98, the most blood first; what has none outlined (a picture) comes last.
    assert [ids.index(p.study.id) for p in placed] == [1, 4, 0, 3, 2]


def test_filters_and_search(worklist: Worklist) -> None:
    database = worklist.database
    uid = "1.2.840.113619.2.55"
    a = add(
        database, state="ready", flagged=True, probability=0.9, study_uid=hashed_uid(uid), alias="Bed 100%_a"
    )
    b = add(
        database, state="ready", flagged=False, probability=0.1, read_at=3.0, read_by="Anna", verdict="agree"
    )
    c = add(database, state="queued", alias="bed 100x")
    d = add(database, state="ready", duplicate_of=a, alias="bed again")

    def found(**wanted: Any) -> set[str]:
        total, placed = worklist.rows(WorklistQuery(**wanted), 500, 0)
        assert total == len(placed)
        return {p.study.id for p in placed}

    assert found() == {a, b, c}
    assert found(duplicates=True) == {a, b, c, d}
    assert found(state=("queued",)) == {c}
    assert found(state=("queued", "ready")) == {a, b, c}
    assert found(flagged=True) == {a}
    assert found(read=True) == {b}
    assert found(read=False) == {a, c}
    assert found(verdict="agree") == {b}
    assert found(verdict="disagree") == set()
    assert found(q="BED") == {a, c}
    assert found(q="100%_") == {a}  # not taken for a pattern
    assert found(q="anna") == {b}
    assert found(q=uid) == {a}
    assert found(q=hashed_uid(uid)) == {a}
    assert found(q="aaaa-b") == {a, b, c}
    assert found(q="'; DROP TABLE study; --") == set()
    _, placed = worklist.rows(WorklistQuery(unread_first=True), 500, 0)
    assert [p.study.id for p in placed] == [a, c, b]
    assert worklist.get(d).place is None  # type: ignore[union-attr]
    assert [p.study.id for p in worklist.rows(WorklistQuery(), 1, 1)[1]] == [b]


def test_the_last_word_of_each_reader_is_kept(worklist: Worklist) -> None:
    study = add(worklist.database, state="ready", flagged=True, probability=0.9)

    def say(reader: str, verdict: str, at: float) -> None:
        assert worklist.set_verdict(Verdict(study=study, reader=reader, verdict=verdict, note="", at=at))

    say("anna", "agree", 1.0)
    say("ben", "disagree", 2.0)
    say("anna", "disagree", 3.0)
    assert [(v.reader, v.verdict) for _, v in worklist.verdicts(study)] == [
        ("ben", "disagree"),
        ("anna", "disagree"),
    ]
    row = worklist.get(study).study  # type: ignore[union-attr]
    assert (row.read_by, row.read_at, row.verdict) == ("anna", 3.0, "disagree")
    worklist.clear_verdict(study, "anna")
    assert worklist.get(study).study.read_by == "ben"  # type: ignore[union-attr]
    worklist.clear_verdict(study, None)
    row = worklist.get(study).study  # type: ignore[union-attr]
    assert (row.read_by, row.read_at, row.verdict) == (None, None, None)
    assert not worklist.set_verdict(Verdict(study=new_id(), reader="x", verdict="agree", note="", at=1.0))


def test_deleting_a_study_that_waits_takes_its_upload_with_it(worklist: Worklist) -> None:
    queue = Queue(worklist.database)
    upload = new_id()
    folder = worklist.storage.upload(upload)
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    queue.add(upload, ["000000"])
    study = worklist.of_upload(upload)[0].study.id  # type: ignore[index]
    assert worklist.delete(study)
    assert not folder.exists()
    assert queue.lease("one") is None
    assert worklist.of_upload(upload) is None
    assert not worklist.delete(study)


def test_sweeping_takes_what_nobody_knows_and_nothing_else(worklist: Worklist) -> None:
    import os

    known = add(worklist.database, state="ready")
    stale, young = new_id(), new_id()
    for name in (known, stale, young):
        worklist.storage.study(name).mkdir()
    half = worklist.storage.upload(new_id())
    half.mkdir()
    (half / "file").write_bytes(b"x")
    long_ago = time.time() - 7200
    for path in (worklist.storage.study(stale), half / "file", half):
        os.utime(path, (long_ago, long_ago))
    assert worklist.sweep(3600.0, time.time()) == 2
    assert worklist.storage.study(known).exists()
    assert worklist.storage.study(young).exists()
    assert not worklist.storage.study(stale).exists()
    assert not half.exists()

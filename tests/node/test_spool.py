"""The spool: what was taken is there, once; two series in one folder; whoever is killed leaves nothing half."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("sqlmodel", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from pydicom.dataset import Dataset

from ichor.jobs.database import Database
from ichor.node.config import Retrying
from ichor.node.outbox import Outbox
from ichor.node.query import answers
from ichor.node.spool import NotTaken, Origin, Spool, hashed
from ichor.reading.limits import Limits
from node.peers import save, study

HERE = Origin("dicom", "ICHOR", "SENDER")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "node", Limits())


def test_a_study_is_due_when_it_is_quiet_and_again_when_a_slice_comes_late(
    spool: Spool, tmp_path: Path
) -> None:
    files = save(study(1), tmp_path / "in")
    for path in files[:5]:
        taken = spool.take(path, HERE)
    now = time.time()
    assert spool.due(10, now) == [] and spool.due(10, now + 11) == [taken.study]
    (series,) = spool.begin(taken.study)
    assert len(series.files) == 5 and series.origin == HERE
    assert spool.due(10, now) == [taken.study]  # whoever began it may have died
    spool.take(files[5], HERE)  # comes while it is being taken
    spool.end(taken.study)
    assert spool.due(10, now) == [] and spool.due(10, now + 30) == [taken.study]
    (series,) = spool.begin(taken.study)
    assert len(series.files) == 6
    spool.end(taken.study)
    assert spool.due(10, now + 1000) == []


def test_what_is_no_object_or_not_the_one_announced_is_not_taken(spool: Spool, tmp_path: Path) -> None:
    (path,) = save(study(1)[:1], tmp_path / "in")
    data = study(1)[0]
    with pytest.raises(NotTaken, match="mismatch"):
        spool.take(path, HERE, (data.SOPClassUID, "1.2.3"))
    poison = tmp_path / "poison"
    for content in (b"", b"\0" * 128 + b"DICM" + b"\xff" * 400, b"text " * 100, os.urandom(2000)):
        poison.write_bytes(content)
        with pytest.raises(NotTaken):
            spool.take(poison, HERE)
    assert list(spool.incoming.iterdir()) == []
    with pytest.raises(NotTaken, match="full"):
        spool.check_room(1 << 40, 1 << 62)


def test_the_same_file_twice_is_one_and_a_purge_spares_what_just_came(spool: Spool, tmp_path: Path) -> None:
    files = save(study(1)[:2], tmp_path / "in")
    for path in (*files, *files):
        taken = spool.take(path, HERE)
    assert len(list(spool.incoming.rglob("*.dcm"))) == 2
    spool.remove_study(taken.study)
    assert spool.studies() == [taken.study]  # it waits to be assessed
    spool.begin(taken.study)
    spool.end(taken.study)
    spool.remove_study(taken.study)
    assert spool.studies() == [] and list(spool.receiving.iterdir()) == []


def test_deliveries_survive_are_made_once_and_are_given_up_in_the_end(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    outbox = Outbox(database, Retrying(first_seconds=10, most_seconds=25, days=1))
    assert outbox.add("u", None, ["a", "b"]) == 2 and outbox.add("u", None, ["a", "b"]) == 0
    now = time.time() + 1
    waits = []
    for _ in range(4):
        due = outbox.next_due("a", now)
        assert due is not None
        assert outbox.retry(due, "unreachable")
        waits.append(next(w for w in (5, 15, 22, 30) if outbox.next_due("a", time.time() + w) is not None))
        now = time.time() + 30
    assert waits == [15, 22, 30, 30]
    due = outbox.next_due("b", now)
    assert due is not None
    outbox.await_commitment(due, "2.25.1", 60)
    assert outbox.next_due("b", time.time() + 30) is None and not outbox.is_settled("u")
    (waiting,) = outbox.awaiting("b")
    assert waiting.transaction == "2.25.1" and waiting.awaits_commitment
    outbox.finish(waiting)
    old = outbox.next_due("a", time.time() + 100)
    assert old is not None
    late = Outbox(database, Retrying(days=1e-9))
    assert not late.retry(old, "unreachable")
    assert outbox.is_settled("u") and outbox.counts() == {("a", "given_up"): 1, ("b", "delivered"): 1}
    outbox.add("v", None, ["a", "gone"])
    assert outbox.give_up_unknown(["a", "b"]) == 1 and outbox.counts()["gone", "given_up"] == 1
    assert outbox.next_due("a", time.time() + 1) is not None
    database.close()


def test_questions_are_answered_by_the_rules_of_c_find() -> None:
    rows = [
        {"identity": {"PatientName": "Doe^J", "PatientID": "1", "StudyDate": "20260102", "StudyInstanceUID": "1.1"}, "comment": "x"},
        {"identity": {"PatientName": "[Roe]", "PatientID": "2", "StudyDate": "", "StudyInstanceUID": "1.2"}, "comment": "y"},
    ]  # fmt: skip

    def ask(level: str = "STUDY", **keys: object) -> list[str] | None:
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        for name, value in keys.items():
            setattr(asked, name, value)
        found = answers(asked, rows)
        return None if found is None else [a.StudyInstanceUID for a in found]

    assert ask() == ["1.1", "1.2"] and ask("SERIES") is None
    assert ask(PatientName="doe*") == ["1.1"] and ask(PatientName="[r*") == ["1.2"]
    assert ask(PatientName="DOE^J") == ["1.1"] and ask(PatientID="?") == ["1.1", "1.2"]
    assert ask(StudyInstanceUID=["1.1", "1.9"]) == ["1.1"]
    assert ask(StudyDate="-20260102") == ["1.1"] and ask(StudyDate="20260102") == ["1.1"]
    assert ask(StudyDate="20260103-") == []
    assert len(hashed("x")) == 32

"""What is deleted is gone from the disk and from the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from sqlalchemy import update

from ichor.jobs.database import Database
from ichor.jobs.tables import Study
from serving.served import Served, done, events, exam, listed, submit, until

ALIAS, READER, NOTE = "alias-that-is-nowhere-else", "reader-that-is-nowhere-else", "note-that-is-nowhere-else"


def content(state: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(state.rglob("*")) if p.is_file())


@pytest.mark.parametrize("option", ["", "--keep-originals"])
def test_a_deleted_study_is_nowhere_on_the_disk(serve: Callable[..., Served], option: str) -> None:
    served = serve(*([option] if option else []))
    exam_bytes = exam(3)
    with served.client() as client:
        other = done(client, submit(client, ("b.nii", exam(4)))["studies"][0]["id"])["id"]
        sent = submit(client, ("a.nii", exam_bytes), alias=ALIAS)
        row = done(client, sent["studies"][0]["id"])
        study = row["id"]
        said = {"reader": READER, "verdict": "agree", "labels": None, "note": NOTE}
        assert client.put(f"/studies/{study}/verdict", json=said).status_code == 200
        volume = client.get(f"/studies/{study}/volume.nii.gz").content
        until(
            lambda: (served.state / "uploads" / sent["upload"]).exists() == bool(option),
            "the upload to be settled",
        )
        marks = {
            "alias": ALIAS.encode(),
            "reader": READER.encode(),
            "note": NOTE.encode(),
            "findings": client.get(f"/studies/{study}/findings").json()["input"].encode(),
            "volume": volume[5000:5064],
        }
        if option:
            marks["original"] = exam_bytes[352:416]
        before = content(served.state)
        assert all(mark in before for mark in marks.values())
        assert client.delete(f"/studies/{study}").status_code == 204
        after = content(served.state)
        assert not [name for name, mark in marks.items() if mark in after]
        assert not (served.state / "studies" / study).exists()
        for path in ("", "/findings", "/volume.nii.gz", "/report.html", "/verdicts"):
            assert client.get(f"/studies/{study}{path}").status_code == 404
        assert [s["id"] for s in listed(client)] == [other]
        assert client.get(f"/studies/{other}/findings").status_code == 200
        assert {"event": "deleted", "data": {"id": study}} in [
            {"event": e["event"], "data": e["data"]} for e in events(client, 1)
        ]
    assert NOTE not in "\n".join(served.log)


def test_deleting_a_study_while_it_is_assessed_leaves_nothing(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        for k in range(4):
            study = submit(client, ("a.nii", exam(k)))["studies"][0]["id"]
            wanted = ("reading", "detecting") if k % 2 else ("detecting",)
            until(
                lambda s=study, w=wanted: client.get(f"/studies/{s}").json()["state"] in (*w, "ready"),  # type: ignore[misc]
                "it to be taken",
            )
            assert client.delete(f"/studies/{study}").status_code == 204
        last = done(client, submit(client, ("b.nii", exam(9)))["studies"][0]["id"])
        assert last["state"] == "ready"
        assert [s["id"] for s in listed(client, duplicates=True)] == [last["id"]]
    until(
        lambda: [p.name for p in (served.state / "studies").iterdir()] == [last["id"]],
        "what is left to be gone",
        10,
    )
    assert not any(p.is_file() for p in (served.state / "scratch").rglob("*"))
    kept = {p.name for p in (served.state / "reading").rglob("*") if p.is_file()}
    assert kept <= {"board"}  # of the reader that waits: which file it is at
    until(lambda: not any((served.state / "uploads").iterdir()), "the uploads to be gone", 10)


def test_deleting_the_first_takes_the_duplicates_rows(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client() as client:
        first = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])["id"]
        second = done(client, submit(client, ("b.nii", exam(1)))["studies"][0]["id"])
        assert second["duplicate_of"] == first
        assert client.delete(f"/studies/{first}").status_code == 204
        assert listed(client, duplicates=True) == []
        # The same again is a new study now.
        third = done(client, submit(client, ("c.nii", exam(1)))["studies"][0]["id"])
        assert (third["state"], third["duplicate_of"]) == ("ready", None)


def test_studies_go_after_their_days(serve: Callable[..., Served]) -> None:
    first = serve("--keep-days", "2")
    with first.client() as client:
        old = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])["id"]
        young = done(client, submit(client, ("b.nii", exam(2)))["studies"][0]["id"])["id"]
    first.stop()
    database = Database(f"sqlite:///{first.state / 'ichor.db'}")
    with database.write() as session:
        session.execute(update(Study).where(Study.id == old).values(arrived=Study.arrived - 3 * 86_400))  # type: ignore[arg-type]
    database.close()
    kept = serve("--keep-days", "0", state=first.state)
    with kept.client() as client:
        assert len(listed(client)) == 2
    kept.stop()
    second = serve("--keep-days", "2", state=first.state)
    with second.client() as client:
        until(lambda: [s["id"] for s in listed(client)] == [young], "the old one to go", 20)
    assert not (second.state / "studies" / old).exists()
    assert (second.state / "studies" / young).exists()
    assert {"event": "deleted_by_age", "studies": 1}.items() <= next(
        e for e in second.events() if e["event"] == "deleted_by_age"
    ).items()

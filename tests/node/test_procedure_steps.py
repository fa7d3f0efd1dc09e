"""A worklist shows one open step of a study, whenever slices come late and in whatever order results are delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("sqlmodel", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.jobs.database import Database
from ichor.jobs.storage import Storage
from ichor.jobs.tables import Job, StoredFindings, Study
from ichor.node.config import Retrying, parse_config
from ichor.node.delivering import Carrier, CarrierParts
from ichor.node.outbox import Outbox
from ichor.node.spool import Spool, write_json
from ichor.reading.limits import Limits
from ichor.uids import hashed_uid
from node.made import findings
from node.peers import LEFT_BY_PYNETDICOM
from node.servers import Manager

pytestmark = LEFT_BY_PYNETDICOM

UID = "1.2.826.0.1.3680043.8.498.77.1.1"
SLICES = ("1.2.3.1", "1.2.3.2", "1.2.3.3")


class Deliveries:
    """Results of one study that are to go to a manager, without a node around them."""

    def __init__(self, folder: Path, manager: Manager) -> None:
        self.manager = manager
        self.config = parse_config(
            {"destinations": [{"name": "list", "type": "ups", **manager.place}]}, "the test"
        )
        self.database = Database(f"sqlite:///{folder / 'ichor.db'}")
        self.database.migrate()
        self.outbox = Outbox(self.database, Retrying(first_seconds=0.01, most_seconds=0.01))
        self.counted: list[tuple[str, str]] = []
        self.spool = Spool(folder / "node", Limits())
        self.carrier = Carrier(
            self.config.destinations[0],
            CarrierParts(
                self.config,
                self.spool,
                Storage(folder),
                self.database,
                self.outbox,
                lambda *what: self.counted.append(what),
            ),
        )
        self.number = 0

    def add(self, *, suspected: bool = False, slices: int = 1) -> None:
        """Note a result of the study, of so many of its slices."""
        self.number += 1
        upload = f"{self.number:032d}"
        with self.database.write() as session:
            job = Job(upload=upload, number=0, input="000000", state="done", arrived=time.time())
            session.add(job)
            session.flush()
            row = Study(id=upload, job=job.seq, arrived=time.time(), label="AAAA-BBBB", flagged=suspected)
            row.state, row.study_uid = "ready", hashed_uid(UID)
            session.add(row)
            session.flush()
            found = findings(0.9 if suspected else 0.1, positive=suspected).model_dump_json()
            session.add(StoredFindings(study=upload, findings=found))
        objects = [("1.2.840.10008.5.1.4.1.1.2", uid) for uid in SLICES[:slices]]
        series = {"uid": "1.2.3", "instances": slices, "objects": objects}
        known = {"study": "x", "identity": {"StudyInstanceUID": UID}, "series": [series], "received": 0.0}
        write_json(self.spool.identities / f"{upload}.json", known)
        self.outbox.add(upload, upload, ["list"])

    def carry(self) -> None:
        """Deliver all that is due."""
        while self.carrier.carry_one(time.time() + 60):
            pass

    def counts(self) -> dict[str, int]:
        return {state: n for (_, state), n in self.outbox.counts().items()}

    def slices_on_the_list(self) -> list[int]:
        """Number of slices of each step that is open."""
        return [len(s.InputInformationSequence[0].ReferencedSOPSequence) for s in self.manager.open()]


@pytest.fixture
def deliveries(tmp_path: Path) -> Iterator[Deliveries]:
    manager = Manager()
    made = Deliveries(tmp_path, manager)
    yield made
    made.database.close()
    manager.stop()


def test_a_later_result_replaces_the_step_and_lowers_no_priority(deliveries: Deliveries) -> None:
    deliveries.add(suspected=True, slices=1)
    deliveries.carry()
    assert deliveries.slices_on_the_list() == [1]
    assert deliveries.manager.open()[0].ScheduledProcedureStepPriority == "HIGH"
    deliveries.add(slices=2)
    deliveries.carry()
    deliveries.add(slices=3)
    deliveries.manager.cancel_statuses = [0x0213]  # busy: the step is there, and the request is made again
    deliveries.carry()
    assert deliveries.slices_on_the_list() == [3] and len(deliveries.manager.steps) == 3
    (step,) = deliveries.manager.open()
    assert step.ScheduledProcedureStepPriority == "HIGH"  # as it was on the list before
    replaced = {item.ReferencedSOPInstanceUID for item in step.ReplacedProcedureStepSequence}
    assert replaced == {u for u, s in deliveries.manager.steps.items() if s.ProcedureStepState == "CANCELED"}
    assert deliveries.counts() == {"delivered": 3}


def test_an_older_result_that_comes_to_its_turn_later_makes_no_step(deliveries: Deliveries) -> None:
    deliveries.add(slices=1)
    deliveries.add(suspected=True, slices=2)  # what is suspected goes out first
    deliveries.carry()
    assert deliveries.slices_on_the_list() == [2] and len(deliveries.manager.steps) == 1
    assert deliveries.counts() == {"delivered": 1, "withdrawn": 1}


def test_a_manager_that_does_not_cancel_is_named_in_the_log(
    deliveries: Deliveries, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries.add(slices=1)
    deliveries.carry()
    (step,) = deliveries.manager.steps.values()
    step.ProcedureStepState = "IN PROGRESS"
    deliveries.add(slices=2)
    with caplog.at_level(logging.WARNING, "ichor.jobs"):
        deliveries.carry()
    assert sorted(deliveries.slices_on_the_list()) == [1, 2]
    (line,) = [record for record in caplog.records if record.getMessage() == "step_not_canceled"]
    assert vars(line)["fields"] == {"reason": "status_c312", "upload": f"{2:032d}", "destination": "list"}
    assert ("steps_not_canceled", "status_c312") in deliveries.counted
    assert deliveries.counts() == {"delivered": 2}

"""Studies go in and results come out, with real peers on loopback, whatever dies or is away meanwhile."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

from node.peers import (
    CANARY,
    LEFT_BY_PYNETDICOM,
    Archive,
    NodeProcess,
    established,
    find,
    noise,
    peer,
    save,
    send,
    study,
    toml,
)
from node.servers import Manager, MllpServer, WebServer
from serving.served import Served, until

pytestmark = LEFT_BY_PYNETDICOM
QUICK = {"first_seconds": 0.2, "most_seconds": 1.0}


def deliveries(node: NodeProcess) -> list[tuple[str, str, int]]:
    """Destination, state and failures of each delivery."""
    with sqlite3.connect(node.state / "ichor.db") as database:
        return database.execute(
            "SELECT destination, state, attempts FROM delivery ORDER BY created"
        ).fetchall()


def settled(node: NodeProcess, n: int) -> bool:
    found = deliveries(node)
    return len(found) == n and all(state in ("delivered", "withdrawn", "given_up") for _, state, _ in found)


def metrics(node: NodeProcess) -> str:
    return httpx.get(f"{node.url}/metrics").text


def listed(node: NodeProcess) -> list[dict[str, Any]]:
    return list(httpx.get(f"{node.url}/api/v1/studies").json()["items"])


def test_a_study_goes_round_to_every_destination(
    node: Callable[..., NodeProcess], archive: Callable[..., Archive]
) -> None:
    pacs = archive(commitment="later")
    engine, server, hook, manager = MllpServer(), WebServer(), WebServer(), Manager()
    one = node(
        {
            "peers": [peer("SENDER"), peer("PACS")],
            "destinations": [
                pacs.destination(commitment=True, kinds=["seg"]),
                {"name": "engine", "type": "hl7", "host": "127.0.0.1", "port": engine.port},
                {"name": "fhir", "type": "fhir", "url": server.url},
                {"name": "hook", "type": "webhook", "url": hook.url},
                {"name": "list", "type": "ups", **manager.place},
            ],
        }
    )
    pacs.node_port = one.port
    datasets = study(1)
    began = time.monotonic()
    one.send(datasets)
    until(lambda: settled(one, 5), "the deliveries")
    print(f"from the first slice until all was delivered and committed: {time.monotonic() - began:.1f} s")
    assert {(d, s) for d, s, _ in deliveries(one)} == {
        (name, "delivered") for name in ("pacs", "engine", "fhir", "hook", "list")
    }
    assert pacs.kinds() == ["SEG"] and len(pacs.committed) == 1
    (result,) = pacs.received
    assert result.StudyInstanceUID == datasets[0].StudyInstanceUID
    assert result.PatientName == datasets[0].PatientName
    assert f"|{CANARY}ID1|" in engine.messages[0].replace("\r", "|")
    assert json.loads(server.posts[0][1])["resourceType"] == "Bundle"
    assert json.loads(hook.posts[0][1])["status"] == "suspected"
    (step,) = manager.steps.values()
    images = [
        item.ReferencedSOPInstanceUID for item in step.InputInformationSequence[0].ReferencedSOPSequence
    ]
    assert step.ScheduledProcedureStepPriority == "HIGH"
    assert sorted(images) == sorted(data.SOPInstanceUID for data in datasets)
    # The same page shows it, and the list of the archives has it.
    (row,) = listed(one)
    assert row["state"] == "ready" and row["flagged"]
    until(lambda: "suspected" in find(one.port)[0].StudyComments, "the list, which follows the results")
    (entry,) = find(one.port)
    assert entry.StudyInstanceUID == datasets[0].StudyInstanceUID

    # The same again, and our own results that come back, start nothing.
    one.send(datasets)
    assert send(one.port, pacs.received) == [0]
    until(lambda: any(e["reason"] == "own_result" for e in one.audit("dropped")), "the result to be dropped")
    until(lambda: 'ichor_node_events_total{event="studies",reason="known"}' in metrics(one), "the same again")
    assert len(deliveries(one)) == 5 and len(listed(one)) == 1

    # A slice that comes late: assessed once more, under new objects.
    late = study(1, step=3)[-1]
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = late.SOPInstanceUID + ".9"
    one.send([late])
    until(lambda: settled(one, 10), "the deliveries")
    assert len(pacs.instances()) == 2 and len(listed(one)) == 2
    assert len(find(one.port)) == 1
    assert sorted(pacs.instances().values()) == [1, 1]  # no answer was lost, so nothing was sent twice
    # The worklist has two steps of the study; the first is canceled.
    assert sorted(s.ProcedureStepState for s in manager.steps.values()) == ["CANCELED", "SCHEDULED"]
    (step,) = manager.open()
    assert len(step.InputInformationSequence[0].ReferencedSOPSequence) == len(images) + 1

    assert_no_canary(one, *(body for _, body in hook.posts))
    for peer_ in (engine, server, hook, manager):
        peer_.stop()


def assert_no_canary(one: NodeProcess, *others: bytes) -> None:
    """Names stand in the spool and in the results, and nowhere else: not in the logs, the database, the page, or others.

    Ends the node: files that it is writing are no finding.
    """
    until(lambda: not any((one.state / "uploads").rglob("*.dcm")), "the worker to have done with the files")
    texts = [httpx.get(f"{one.url}{path}").text for path in ("/metrics", "/api/v1/studies")]
    for row in listed(one):
        texts += [
            httpx.get(f"{one.url}/api/v1/studies/{row['id']}/{n}").text for n in ("findings", "report.html")
        ]
    assert not any(CANARY in text for text in texts)
    assert one.stop() == 0
    private = [one.state / "node" / name for name in ("incoming", "identities", "receiving", "worklist.json")]
    private.append(one.state / "results")
    for path in one.state.rglob("*"):
        if path.is_file() and not any(path == p or p in path.parents for p in private):
            assert CANARY.encode() not in path.read_bytes(), path
    assert not any(CANARY in line for line in one.log)
    assert not any(CANARY.encode() in body for body in others)
    assert CANARY in (one.state / "node" / "worklist.json").read_text()  # the canary sings where it may


def test_what_is_away_or_says_no_is_tried_again_until_it_is_there(
    node: Callable[..., NodeProcess], archive: Callable[..., Archive]
) -> None:
    busy = archive(status=0xA700, title="BUSY")
    liar = archive(commitment="lying", title="LIAR")
    engine, server = MllpServer("AE", "AR", "silent", "close", "other"), WebServer(500, 429)
    gone = archive(title="GONE")
    gone_port = gone.port
    gone.stop()
    one = node(
        {
            "peers": [peer("SENDER"), peer("LIAR"), peer("GONE"), peer("BUSY")],
            "retrying": QUICK,
            "destinations": [
                busy.destination(name="busy", kinds=["seg"]),
                liar.destination(name="liar", kinds=["seg"], commitment=True, commitment_seconds=2.0),
                gone.destination(name="gone", kinds=["seg"]),
                {
                    "name": "engine",
                    "type": "hl7",
                    "host": "127.0.0.1",
                    "port": engine.port,
                    "timeout_seconds": 5.0,
                },
                {"name": "fhir", "type": "fhir", "url": server.url},
            ],
        }
    )
    liar.node_port = one.port
    one.send(study(1))
    until(lambda: len(engine.messages) == 6 and len(server.posts) == 3, "the engine and the server")
    expected = {"status_a700", "unreachable", "not_committed", "http_500", "http_429"}
    expected |= {"nak_ae", "nak_ar", "timeout", "connection_lost", "bad_answer"}

    def reasons() -> set[str]:
        events = [e for name in ("delivered", "exported") for e in one.audit(name)]
        return {e["reason"] for e in events if e["outcome"]}

    until(lambda: expected <= reasons(), "every way to say no")
    # The control id is the same at each try, and so is each resource.
    assert len({m.split("\r")[0].split("|")[9] for m in engine.messages}) == 1
    assert len({body for _, body in server.posts}) == 1
    # A node that is killed meanwhile goes on where it was.
    one.kill()
    busy.status, liar.commitment = 0, "at_once"
    back = archive(title="GONE", port=gone_port)
    one.start()
    until(lambda: settled(one, 5), "the deliveries")
    assert {s for _, s, _ in deliveries(one)} == {"delivered"}
    assert len(back.instances()) == len(busy.instances()) == len(liar.instances()) == 1
    assert_no_canary(one)  # whatever failed
    engine.stop()
    server.stop()


def test_urgent_studies_come_first_and_only_to_whom_may_ask(node: Callable[..., NodeProcess]) -> None:
    one = node({"peers": [peer("SENDER"), peer("VIEWER"), peer("OTHER", worklist=False)]})
    made = [noise(study(number, bleed=number == 2), number) for number in (1, 2, 3)]
    with one.held():
        for datasets in made:
            assert set(send(one.port, datasets)) == {0}

    def names() -> list[str]:
        return [str(e.PatientID).removeprefix(f"{CANARY}ID") for e in find(one.port, title="VIEWER")]

    until(lambda: sorted(names()) == ["1", "2", "3"], "the list")
    until(lambda: all(r["state"] == "ready" for r in listed(one)), "the studies")
    until(lambda: names() == ["2", "1", "3"], "the order")
    assert find(one.port, title="OTHER") == []
    assert [e["reason"] for e in one.audit("refused")] == ["worklist"]
    (found,) = find(one.port, title="VIEWER", PatientID=f"{CANARY}ID3")
    assert found.StudyInstanceUID.endswith(".77.3.1")
    assert len(find(one.port, title="VIEWER", PatientName=f"{CANARY.lower()}*")) == 3
    assert len(find(one.port, title="VIEWER", StudyDate="20260101-20260103")) == 3
    assert find(one.port, title="VIEWER", StudyDate="20270101-") == []


def test_rules_decide_and_nothing_is_dropped_silently(
    node: Callable[..., NodeProcess], archive: Callable[..., Archive]
) -> None:
    pacs = archive()
    rules = [
        {"called": "RESEARCH", "action": "forward", "to": "pacs"},
        {"station": "CT9*", "action": "drop"},
        {"description": "*head*", "action": "detect"},
    ]
    one = node(
        {
            "listen": {"port": 0, "further_ae_titles": ["RESEARCH"]},
            "rules": rules,
            "destinations": [pacs.destination(results=False)],
        }
    )
    dropped, unfit = study(2), study(3)
    for data in dropped:
        data.StationName = "CT99"
    for data in unfit:
        data.StudyDescription, data.SeriesDescription = "Chest", "Lung"
    forwarded = study(4)
    one.send(forwarded, called="RESEARCH")
    for datasets in (study(1), dropped, unfit):
        one.send(datasets)
    until(lambda: len(pacs.received) == 6, "what is forwarded")
    assert sorted(d.SOPInstanceUID for d in pacs.received) == sorted(d.SOPInstanceUID for d in forwarded)
    until(lambda: len(one.audit("dropped")) == 2 and len(listed(one)) == 1, "the rules")
    assert sorted(e["reason"] for e in one.audit("dropped")) == ["no_rule", "rule"]
    text = metrics(one)
    assert 'ichor_node_events_total{event="series_dropped",reason="no_rule"} 1.0' in text
    assert 'ichor_node_events_total{event="series_forwarded",reason="rule"} 1.0' in text
    assert_no_canary(one, text.encode())


def test_a_study_by_stow(node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    one = node()
    files = [path.read_bytes() for path in save(study(1), tmp_path / "in")]
    uid = study(1)[0].StudyInstanceUID

    def stow(
        contents: list[bytes], path: str = "/studies", kind: str = "application/dicom"
    ) -> httpx.Response:
        body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + c + b"\r\n" for c in contents)
        headers = {"Content-Type": f'multipart/related; type="{kind}"; boundary=b'}
        return httpx.post(f"{one.url}/dicom-web{path}", content=body + b"--b--\r\n", headers=headers)

    answer = stow(files[:3], f"/studies/{uid}")
    assert answer.status_code == 200 and len(answer.json()["00081199"]["Value"]) == 3
    answer = stow([*files[3:], b"poison " + CANARY.encode()])
    assert answer.status_code == 202 and len(answer.json()["00081198"]["Value"]) == 1
    wrong = stow([files[0]], "/studies/1.2.3")
    assert wrong.status_code == 409
    assert stow([b"poison"]).status_code == 409 and stow([]).status_code == 400
    assert stow(files[:1], kind="application/dicom+json").status_code == 415
    # Where a second passes between the two requests, what came first is assessed by itself before.
    until(lambda: any(r["state"] == "ready" and r["n_slices"] == 6 for r in listed(one)), "the study")
    assert list((one.state / "node" / "receiving").iterdir()) == []
    until(lambda: len(find(one.port)) == 1, "the list, which follows")
    assert_no_canary(one, answer.content, wrong.content)


def test_a_node_beside_a_page_that_is_served_with_options_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(toml({"listen": {"port": 0}, "peers": [peer("SENDER")]}))
    served = Served(tmp_path / "state", "--node", str(path)).start(wait=False)
    try:
        until(lambda: any(e["event"] == "receiver_ready" for e in served.events()), "the receiver")
        port = next(e["port"] for e in served.events() if e["event"] == "receiver_ready")
        assert established(port) and not established(port, title="STRANGER")
    finally:
        assert served.stop() == 0
    assert not established(port)


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "ichor.cli", "node", "--port", port, "--page-port", "0"]
        state = str(tmp_path / "state")
        done = subprocess.run(
            [*command, "--state", state, "--allow", "A@127.0.0.1"], capture_output=True, text=True
        )
    said = [line for line in done.stderr.splitlines() if line.startswith("ichor: ")]
    assert done.returncode == 2 and len(said) == 1, done.stderr
    assert said[0].startswith(f"ichor: listen.port {port}: found that it cannot be listened at")


def test_a_study_that_is_deleted_on_the_page_or_old_leaves_the_spool(
    node: Callable[..., NodeProcess],
) -> None:
    one = node({"completion": {"quiet_seconds": 1.0, "keep_hours": 10 / 3600}})
    with one.held():
        for number in (1, 2):
            assert set(send(one.port, noise(study(number), number))) == {0}
    until(lambda: [r["state"] for r in listed(one)] == ["ready"] * 2, "the studies")
    httpx.delete(f"{one.url}/api/v1/studies/{listed(one)[0]['id']}").raise_for_status()

    def left() -> list[Path]:
        return [p for name in ("incoming", "identities") for p in (one.state / "node" / name).rglob("*.*")]

    until(lambda: not left(), "the spool to be purged")
    until(lambda: len({e["study"] for e in one.audit("purged")}) == 2, "the audit")
    until(lambda: find(one.port) == [], "the list, which follows the spool")
    assert [r["state"] for r in listed(one)] == ["ready"]  # the old one's result stays, without a name

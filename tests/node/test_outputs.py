"""What leaves is what kept libraries and peers of the field take; priorities are raised, never lowered."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("sqlmodel", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.findings import Findings
from ichor.jobs.tables import Study
from ichor.node.checking import check_all
from ichor.node.config import parse_config
from ichor.node.destinations import Hl7Destination, StowDestination, UpsDestination, WebhookDestination
from ichor.node.senders.fhir import fhir_bundle
from ichor.node.senders.hl7 import control_id, oru_message
from ichor.node.senders.mllp import acknowledged, send_message
from ichor.node.senders.package import NotDelivered, Package, conclusion, status_word
from ichor.node.senders.stow import send_stow
from ichor.node.senders.ups import send_ups, step_uid
from ichor.node.senders.webhook import send_webhook
from node.made import findings
from node.peers import LEFT_BY_PYNETDICOM, Archive, save, study
from node.servers import Manager, MllpServer, WebServer

pytestmark = LEFT_BY_PYNETDICOM

ENGINE = Hl7Destination(name="engine", type="hl7", host="127.0.0.1", port=1, receiving_application="RIS")
SERIES = {"uid": "1.2.3.4", "instances": 30}
IDENTITY = {
    "PatientName": "O^Br|ien^山田&X",
    "PatientID": "ID~1",
    "IssuerOfPatientID": "HOSP",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "StudyInstanceUID": "1.2.3",
    "StudyDate": "20260102",
    "StudyTime": "101112.5",
    "AccessionNumber": "A^1",
}


def package(found: Findings | None) -> Package:
    study = Study(id="a" * 32, job=1, arrived=0.0, label="AAAA-BBBB")
    if found is None:
        study.state, study.refusal_code, study.refusal_message = "refused", "no_image", "Found | nothing."
    return Package(
        id="0123456789abcdef" * 2,
        study=study,
        findings=found,
        identity=IDENTITY,
        series=(SERIES,),
        folder=Path(),
        made=1_767_348_000.0,
    )


CASES = {
    "suspected": package(findings(0.97, positive=True, volume=12.345)),
    "not_detected": package(findings(0.02, positive=False, volume=0.0)),
    "uncertain": package(findings(0.4, positive=False, uncertain=True)),
    "not_assessed": package(None),
}


@pytest.mark.parametrize("word", CASES)
def test_words_never_exclude_a_hemorrhage(word: str) -> None:
    assert status_word(CASES[word]) == word
    text = conclusion(CASES[word])
    assert "absent" not in text.lower() and text.endswith("Research use, not a medical device.")
    if word == "not_detected":
        assert "excludes nothing" in text


@pytest.mark.parametrize("word", CASES)
def test_hl7_is_valid_and_says_what_was_found(word: str) -> None:
    parser = pytest.importorskip("hl7apy.parser", reason="needs the extra 'test-node'")
    text = oru_message(CASES[word], ENGINE, "ICHOR")
    message = parser.parse_message(text, find_groups=True)
    assert message.validate()
    assert message.msh.msh_9.to_er7() == "ORU^R01^ORU_R01" and message.msh.msh_10.to_er7() == control_id(
        CASES[word]
    )
    patient = message.oru_r01_patient_result.oru_r01_patient.pid
    assert patient.pid_3.to_er7() == "ID\\R\\1^^^HOSP"
    assert patient.pid_5.to_er7() == "O^Br\\F\\ien^山田\\T\\X"
    request = message.oru_r01_patient_result.oru_r01_order_observation.obr
    assert request.obr_3.to_er7() == "A\\S\\1" and request.obr_25.to_er7() == "P"
    # Stat where hemorrhage is suspected; else nothing is said of the priority.
    assert request.obr_5.to_er7() == ("S" if word == "suspected" else "")
    assert f"|{word}|" in text
    assert "|".join(("12.35", "mL^milliliter^UCUM")) in text or word != "suspected"


@pytest.mark.parametrize("word", CASES)
def test_fhir_is_valid_r4(word: str) -> None:
    pytest.importorskip("fhir.resources", reason="needs the extra 'test-node'")
    from fhir.resources.R4B.bundle import Bundle
    from fhir.resources.R4B.diagnosticreport import DiagnosticReport
    from fhir.resources.R4B.imagingstudy import ImagingStudy
    from fhir.resources.R4B.observation import Observation

    bundle = fhir_bundle(CASES[word])
    Bundle.model_validate_json(json.dumps(bundle))
    models = {"DiagnosticReport": DiagnosticReport, "ImagingStudy": ImagingStudy, "Observation": Observation}
    resources = [entry["resource"] for entry in bundle["entry"]]
    for resource in resources:
        models[resource["resourceType"]].model_validate_json(json.dumps(resource))
    ids = {f"{r['resourceType']}/{r['id']}" for r in resources}
    report = resources[-1]
    assert {r["reference"] for r in [*report.get("result", []), *report["imagingStudy"]]} <= ids
    assert report["status"] == "preliminary" and ("conclusionCode" in report) == (word == "suspected")
    assert len(resources) == {"suspected": 9, "not_detected": 9, "uncertain": 8, "not_assessed": 2}[word]
    assert all(len(r["id"]) <= 64 for r in resources)
    assert fhir_bundle(CASES[word]) == bundle  # the same again replaces itself


@pytest.fixture
def engine() -> Iterator[Any]:
    started: list[MllpServer] = []

    def start(*answers: str) -> tuple[MllpServer, Hl7Destination]:
        started.append(MllpServer(*answers))
        values = ENGINE.model_dump() | {"port": started[-1].port}
        return started[-1], Hl7Destination(**values)

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("AE", "nak_ae"),
        ("AR", "nak_ar"),
        ("silent", "timeout"),
        ("close", "connection_lost"),
        ("other", "bad_answer"),
    ],
)
def test_only_an_acknowledgement_of_this_message_counts(engine: Any, answer: str, reason: str) -> None:
    server, destination = engine(answer)
    text = oru_message(CASES["suspected"], destination, "ICHOR")
    impatient = destination.model_copy(update={"timeout_seconds": 0.5})
    with pytest.raises(NotDelivered) as failure:
        send_message(impatient if answer == "silent" else destination, text, control_id(CASES["suspected"]))
    assert failure.value.reason == reason
    send_message(destination, text, control_id(CASES["suspected"]))
    assert server.messages == [text, text]


def test_nobody_there_and_nonsense_are_told_apart() -> None:
    with pytest.raises(NotDelivered, match="unreachable"):
        send_message(ENGINE, "MSH|", "1")
    for answer in ("", "nonsense", "MSH|^~\\&|", "MSH|^~\\&|X\rMSA|AA\r"):
        with pytest.raises(NotDelivered, match="bad_answer"):
            acknowledged(answer, "1")
    acknowledged("MSH|^~\\&|X\rMSA|CA|1\r", "1")


def test_a_webhook_is_signed_and_names_no_patient(tmp_path: Path) -> None:
    import hashlib
    import hmac

    server = WebServer(302)
    (tmp_path / "secret").write_text("s3cret\n")
    hook = WebhookDestination(name="hook", type="webhook", url=server.url, secret_file=tmp_path / "secret")
    with pytest.raises(NotDelivered, match="http_302"):  # a redirect leads nobody elsewhere
        send_webhook(hook, CASES["suspected"])
    send_webhook(hook, CASES["suspected"])
    server.stop()
    headers, body = server.posts[1]
    assert headers["X-Ichor-Signature"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert not any(value in body.decode() for value in IDENTITY.values() if len(value) > 4)
    assert threading.active_count() < 20


def test_stow_takes_a_server_at_its_word_only_where_it_names_every_object(tmp_path: Path) -> None:
    datasets = study(1)[:2]
    files = save(datasets, tmp_path / "in")
    (tmp_path / "token").write_text("t0ken\n")
    server = WebServer(503, 200, 202, 200, 200)
    archive = StowDestination(name="web", type="stow", url=server.url, token_file=tmp_path / "token")

    def answer(tag: str, *items: dict[str, Any]) -> bytes:
        return json.dumps({tag: {"vr": "SQ", "Value": list(items)}}).encode()

    named = [{"00081155": {"vr": "UI", "Value": [d.SOPInstanceUID]}} for d in datasets]
    for body, reason in (
        (b"", "http_503"),
        (b"", "bad_answer"),
        (answer("00081198", {"00081197": {"vr": "US", "Value": [0xA700]}}), "status_a700"),
        (answer("00081199", named[0]), "not_stored"),
    ):
        server.answer = body
        with pytest.raises(NotDelivered) as failure:
            send_stow(archive, files)
        assert failure.value.reason == reason
    server.answer = answer("00081199", *named)
    send_stow(archive, files)
    server.stop()
    headers, body = server.posts[-1]
    assert headers["Authorization"] == "Bearer t0ken"
    assert all(path.read_bytes() in body for path in files)


def test_a_procedure_step_is_made_once_and_is_urgent_only_where_suspected() -> None:
    manager = Manager(0x0110)
    worklist = UpsDestination(name="list", type="ups", images_at="PACS", **manager.place)
    with pytest.raises(NotDelivered, match="status_0110"):
        send_ups(worklist, CASES["suspected"], "ICHOR")
    for name in CASES:
        one = dataclasses.replace(
            CASES[name], id=name, series=({**SERIES, "objects": [("1.2", "1.2.3.4.5")]},)
        )
        send_ups(worklist, one, "ICHOR")
        send_ups(worklist, one, "ICHOR")  # a try whose answer was lost is no second step
        step = manager.steps[step_uid(one.id)]
        assert step.ScheduledProcedureStepPriority == ("HIGH" if name == "suspected" else "MEDIUM")
        assert step.ProcedureStepState == "SCHEDULED" and step.PatientName == IDENTITY["PatientName"]
        (images,) = step.InputInformationSequence
        assert images.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
        assert images.DICOMRetrievalSequence[0].RetrieveAETitle == "PACS"
    assert len(manager.steps) == len(CASES)
    manager.stop()
    with pytest.raises(NotDelivered, match="unreachable"):
        send_ups(worklist, CASES["suspected"], "ICHOR")


def test_the_check_tries_whomever_the_node_calls() -> None:
    engine, server, manager, pacs = MllpServer(), WebServer(), Manager(), Archive()
    server.answer = b'{"resourceType": "CapabilityStatement"}'
    place = {"host": "127.0.0.1", "port": engine.port}
    config = parse_config(
        {
            "destinations": [
                {"name": "engine", "type": "hl7", **place},
                {"name": "fhir", "type": "fhir", "url": server.url},
                {"name": "web", "type": "stow", "url": server.url},
                {"name": "list", "type": "ups", **manager.place},
                {"name": "hook", "type": "webhook", "url": server.url},
                {**pacs.destination(name="full"), "commitment": True},
                {**pacs.destination(name="forward"), "results": False},
            ]
        },
        "the test",
    )
    rows = list(check_all(config))
    assert {row.result for row in rows} == {"ok"}
    assert [(row.name, row.tried) for row in rows] == [
        ("engine", "MLLP connection"),
        ("fhir", "FHIR metadata"),
        ("web", "STOW-RS server"),
        ("list", "takes procedure steps"),
        ("hook", "address"),
        ("full", "C-ECHO"),
        ("full", "takes seg, sr, sc, ko, storage commitment"),
        ("forward", "C-ECHO"),
        ("forward", "takes CT images"),
    ]
    # The hook is still there, but speaks no TLS.
    secure = {"name": "hook", "type": "webhook", "url": server.url.replace("http:", "https:")}
    (row,) = check_all(parse_config({"destinations": [secure]}, "the test"))
    assert row.result.startswith("does not come to terms on TLS")
    server.answer, server.statuses = b"", [200, 403]
    engine.stop()
    manager.stop()
    pacs.stop()
    assert [row.good for row in check_all(config)] == [False] * 4 + [True] + [False] * 4
    server.stop()
    assert engine.messages == [] and manager.steps == {} and server.posts == [] and pacs.received == []

"""HL7 and FHIR are what kept libraries of the field take; priorities are raised, never lowered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("sqlmodel", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.findings import BundleReference, Findings, LabelFlags, LabelValues
from ichor.jobs.tables import Study
from ichor.node.destinations import Hl7Destination, WebhookDestination
from ichor.node.senders.fhir import fhir_bundle
from ichor.node.senders.hl7 import control_id, oru_message
from ichor.node.senders.mllp import acknowledged, send_message
from ichor.node.senders.package import NotDelivered, Package, conclusion, status_word
from ichor.node.senders.webhook import send_webhook
from node.peers import MllpServer, WebServer

ENGINE = Hl7Destination(name="engine", type="hl7", host="127.0.0.1", port=1, receiving_application="RIS")
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


def findings(
    p: float, *, positive: bool, uncertain: bool | None = None, volume: float | None = None
) -> Findings:
    values = dict.fromkeys(
        ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"), p / 2
    )
    return Findings(
        input="study X",
        kind="exam",
        n_slices=30,
        probabilities=LabelValues(any=p, **values),
        thresholds=LabelValues(any=0.5),
        positive=LabelFlags(any=positive),
        uncertain=uncertain,
        volume_ml=volume,
        assessable=True,
        bundle=BundleReference(name="b", version="1", sha256="0" * 64),
    )


def package(found: Findings | None) -> Package:
    study = Study(id="a" * 32, job=1, arrived=0.0, label="AAAA-BBBB")
    if found is None:
        study.state, study.refusal_code, study.refusal_message = "refused", "no_image", "Found | nothing."
    return Package(
        id="0123456789abcdef" * 2,
        study=study,
        findings=found,
        identity=IDENTITY,
        series=({"uid": "1.2.3.4", "instances": 30},),
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
        values = ENGINE.model_dump() | {"port": started[-1].port, "timeout_seconds": 0.5}
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
    with pytest.raises(NotDelivered) as failure:
        send_message(destination, text, control_id(CASES["suspected"]))
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

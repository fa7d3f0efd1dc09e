"""FHIR R4: one transaction of ImagingStudy, Observations and DiagnosticReport.

Each resource is written by ``PUT`` under an id that follows from the delivery: the same again replaces itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ichor.labels import LABELS
from ichor.node.destinations import FhirDestination
from ichor.node.senders.http import bearer, post
from ichor.node.senders.package import Package, conclusion, status_word

__all__ = ["fhir_bundle", "send_fhir"]

_SCT, _LOINC, _DCM = (
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://dicom.nema.org/resources/ontology/DCM",
)
_UCUM = "http://unitsofmeasure.org"
_V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
_INTERPRETATIONS = {
    "suspected": {"text": "Suspected"},
    "uncertain": {"coding": [{"system": _SCT, "code": "373068000", "display": "Undetermined"}]},
    "not_detected": {"coding": [{"system": _SCT, "code": "260415000", "display": "Not detected"}]},
}


def fhir_bundle(package: Package) -> dict[str, Any]:
    """Return the transaction."""
    base = package.id
    observations = (
        [] if package.findings is None or not package.findings.assessable else _observations(package)
    )
    study = _imaging_study(package)
    report = _report(package, [f"{base}-{n}" for n in range(len(observations))])
    resources = [study, *observations, report]
    entries = [
        {
            "fullUrl": f"{r['resourceType']}/{r['id']}",
            "resource": r,
            "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
        }
        for r in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def send_fhir(destination: FhirDestination, package: Package) -> None:
    """Post it to the base of the server.

    Raises
    ------
    NotDelivered
        Where it is not taken.
    """
    headers = {
        "Content-Type": "application/fhir+json",
        "Accept": "application/fhir+json",
        **bearer(destination.token_file),
    }
    body = json.dumps(fhir_bundle(package), ensure_ascii=False).encode()
    post(destination.url, body, headers, destination.timeout_seconds)


def _report(package: Package, results: list[str]) -> dict[str, Any]:
    identity = package.identity
    out: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": f"{package.id}-report",
        "identifier": [{"system": "urn:ichor:delivery", "value": package.id}],
        "status": "preliminary",
        "category": [{"coding": [{"system": _SECTION, "code": "RAD"}]}],
        "code": {"coding": [_coding(_LOINC, "30799-1", "CT Head WO contrast")]},
        "subject": _subject(identity),
        "issued": _instant(package.made),
        "imagingStudy": [{"reference": f"ImagingStudy/{package.id}-study"}],
        "result": [{"reference": f"Observation/{name}"} for name in results],
        "conclusion": conclusion(package),
    }
    if status_word(package) == "suspected":
        # The code of what is suspected: that it is a suspicion is said by the status and in the conclusion.
        out["conclusionCode"] = [{"coding": [_coding(_SCT, "1386000", "Intracranial hemorrhage")]}]
    if accession := identity.get("AccessionNumber"):
        out["basedOn"] = [{"type": "ServiceRequest", "identifier": _accession(accession)}]
    if not results:
        del out["result"]
    return out


def _observations(package: Package) -> list[dict[str, Any]]:
    findings = package.findings
    if findings is None:
        return []
    out: list[dict[str, Any]] = []
    for label in LABELS:
        value = getattr(findings.probabilities, label.name)
        if value is None:
            continue
        quantity = {"value": round(value, 4), "unit": "probability", "system": _UCUM, "code": "1"}
        observation = _observation(package, len(out), _coding(_SCT, label.snomed, label.snomed_meaning))
        out.append(observation | {"valueQuantity": quantity})
    if out:
        out[0]["interpretation"] = [_INTERPRETATIONS[status_word(package)]]
    if findings.volume_ml is not None:
        volume = {"value": round(findings.volume_ml, 2), "unit": "mL", "system": _UCUM, "code": "mL"}
        observation = _observation(package, len(out), _coding(_SCT, "118565006", "Volume"))
        out.append(observation | {"valueQuantity": volume})
    return out


def _observation(package: Package, number: int, code: dict[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{package.id}-{number}",
        "status": "preliminary",
        "category": [{"coding": [{"system": _CATEGORY, "code": "imaging"}]}],
        "code": {"coding": [code]},
        "subject": _subject(package.identity),
        "effectiveDateTime": _instant(package.made),
        "partOf": [{"reference": f"ImagingStudy/{package.id}-study"}],
    }


def _imaging_study(package: Package) -> dict[str, Any]:
    identity = package.identity
    instances = sum(int(s.get("instances", 0)) for s in package.series)
    out: dict[str, Any] = {
        "resourceType": "ImagingStudy",
        "id": f"{package.id}-study",
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{identity.get('StudyInstanceUID', '')}"}
        ],
        "status": "available",
        "subject": _subject(identity),
        "numberOfSeries": len(package.series),
        "numberOfInstances": instances,
        "series": [
            {
                "uid": s["uid"],
                "modality": {"system": _DCM, "code": "CT"},
                "numberOfInstances": int(s.get("instances", 0)),
            }
            for s in package.series
        ],
    }
    if accession := identity.get("AccessionNumber"):
        out["identifier"].append(_accession(accession))
    if started := _date(identity.get("StudyDate", "")):
        out["started"] = started
    return out


def _subject(identity: dict[str, str]) -> dict[str, Any]:
    """Name the patient by number: which resource that is, the server knows."""
    value = identity.get("PatientID", "")
    if not value:
        return {"type": "Patient", "display": "unknown"}
    identifier: dict[str, Any] = {"type": {"coding": [{"system": _V2, "code": "MR"}]}, "value": value}
    if issuer := identity.get("IssuerOfPatientID"):
        identifier["assigner"] = {"display": issuer}
    return {"type": "Patient", "identifier": identifier}


def _accession(number: str) -> dict[str, Any]:
    return {"type": {"coding": [{"system": _V2, "code": "ACSN"}]}, "value": number}


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _date(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else ""

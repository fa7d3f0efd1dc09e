"""ORU^R01 of HL7 version 2.5.1: the result as observations, for an interface engine."""

from __future__ import annotations

import time

from ichor.labels import LABELS
from ichor.node.destinations import Hl7Destination
from ichor.node.senders.package import Package, conclusion, status_word

__all__ = ["control_id", "oru_message"]

_SEPARATOR = "|"
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": " ", "\n": " "}
_PROCEDURE = ("30799-1", "CT Head WO contrast", "LN")
_SUSPECTED = ("1386000", "Intracranial hemorrhage", "SCT")
_VOLUME = ("118565006", "Volume", "SCT")
_ABNORMAL = {"suspected": "A", "uncertain": "A"}
_PRIORITY = {"suspected": "S"}


def control_id(package: Package) -> str:
    """Return MSH-10: the same at each try, so that an engine knows a message it has."""
    return package.id[:20]


def oru_message(package: Package, destination: Hl7Destination, sender: str) -> str:
    """Return a message, its segments ended by carriage returns.

    Parameters
    ----------
    package
        Of a study.
    destination
        Names the receiving application.
    sender
        Our AE title.

    Notes
    -----
    OBR-5 is ``S`` (stat) where hemorrhage is suspected and empty otherwise: a priority is raised, never lowered.
    """
    identity = package.identity
    word = status_word(package)
    made = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime(package.made))
    segments = [
        [
            *("MSH", "^~\\&", "ICHOR", _plain(sender), _plain(destination.receiving_application)),
            *(_plain(destination.receiving_facility), made, "", "ORU^R01^ORU_R01", control_id(package)),
            *("P", "2.5.1", "", "", "", "", "", "UNICODE UTF-8"),
        ],
        [
            *("PID", "1", "", _patient_id(identity), "", _name(identity.get("PatientName", "")), ""),
            *(_plain(identity.get("PatientBirthDate", "")), _sex(identity.get("PatientSex", ""))),
        ],
        [
            *("OBR", "1", "", _plain(identity.get("AccessionNumber", "")) or package.id[:20]),
            *(
                _code(_PROCEDURE),
                _PRIORITY.get(word, ""),
                "",
                _when(identity),
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
            ),
            *("", _plain(identity.get("AccessionNumber", "")), "", "", "", made, "", "RAD", "P"),
        ],
        *_observations(package, word),
    ]
    return "".join(_SEPARATOR.join(segment).rstrip(_SEPARATOR) + "\r" for segment in segments)


def _observations(package: Package, word: str) -> list[list[str]]:
    findings = package.findings
    status = "P"
    rows: list[tuple[str, str, str, str, str]] = [
        ("ST", "STUDYUID^Study Instance UID^L", _plain(package.identity.get("StudyInstanceUID", "")), "", ""),
        ("ST", f"{_code(_SUSPECTED)}", word, "", _ABNORMAL.get(word, "")),
    ]
    if findings is not None and findings.assessable:
        for label in LABELS:
            value = getattr(findings.probabilities, label.name)
            if value is not None:
                code = f"P-{label.name.upper()[:12]}^{_plain('Probability: ' + label.display)}^L"
                rows.append(("NM", code, f"{value:.4f}", "1^no units^UCUM", ""))
        if findings.volume_ml is not None:
            rows.append(("NM", _code(_VOLUME), f"{findings.volume_ml:.2f}", "mL^milliliter^UCUM", ""))
    rows.append(("TX", "GDT^General impression^L", _plain(conclusion(package)), "", ""))
    return [
        ["OBX", str(number), kind, code, "", value, units, "", flag, "", "", status]
        for number, (kind, code, value, units, flag) in enumerate(rows, start=1)
    ]


def _code(code: tuple[str, str, str]) -> str:
    return "^".join(_plain(part) for part in code)


def _patient_id(identity: dict[str, str]) -> str:
    number, issuer = identity.get("PatientID", ""), identity.get("IssuerOfPatientID", "")
    return f"{_plain(number)}^^^{_plain(issuer)}" if issuer else _plain(number)


def _name(name: str) -> str:
    """Turn DICOM's family^given^middle^prefix^suffix into HL7's order, the alphabetic group alone."""
    parts = (name.split("=")[0].split("^") + [""] * 5)[:5]
    family, given, middle, prefix, suffix = (_plain(part) for part in parts)
    return "^".join([family, given, middle, suffix, prefix]).rstrip("^")


def _sex(sex: str) -> str:
    return sex if sex in ("M", "F", "O") else ("U" if not sex else "A")


def _when(identity: dict[str, str]) -> str:
    day = "".join(c for c in identity.get("StudyDate", "") if c.isdigit())[:8]
    hour = "".join(c for c in identity.get("StudyTime", "").partition(".")[0] if c.isdigit())[:6]
    return day + (hour if len(day) == 8 and len(hour) in (4, 6) else "")


def _plain(text: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in text if c.isprintable() or c in "\r\n")

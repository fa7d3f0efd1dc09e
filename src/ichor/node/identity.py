"""Who a study is of: read from one header, kept in the node's spool alone, and handed to those who get results."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from ichor.reading.dicom.dataset import quiet_pydicom

__all__ = ["FACT_TAGS", "IDENTITY_TAGS", "facts_text", "identity_values"]

IDENTITY_TAGS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "InstitutionName",
)
FACT_TAGS = (
    "SOPClassUID",
    "Modality",
    "StationName",
    "StudyDescription",
    "SeriesDescription",
    "SeriesInstanceUID",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "SpecificCharacterSet",
)
_MOST = 324


def identity_values(head: Dataset) -> dict[str, str]:
    """Return values of a header by keyword, as text; empty where they are absent or cannot be decoded."""
    with quiet_pydicom():
        return {tag: _text(head, tag) for tag in IDENTITY_TAGS}


def facts_text(head: Dataset, tag: str) -> str:
    """Return one value as text."""
    with quiet_pydicom():
        return _text(head, tag)


def _text(head: Dataset, tag: str) -> str:
    try:
        value: Any = head.get(tag, "")
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError):
        return ""
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(c for c in text if c.isprintable()).strip()[:_MOST]

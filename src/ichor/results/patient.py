"""What results repeat of the source's header: patient and study, byte for byte, and what had to be repaired."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ichor.notices import Notice, notice
from ichor.reading.dicom.dataset import READ_ERRORS

__all__ = ["PatientAndStudy", "patient_and_study"]

_REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
"""Of type 2 in every object: present, and empty where the source has none."""
_IDENTIFYING = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
)
"""Taken along where the source has them: what ties the results to the patient and the study, and no more."""
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?(\.\d{1,6})?")
_ZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_LONGEST = 1024
"""Bytes of a value: a name may have 3 times 64 characters, of up to 4 bytes and their escapes."""
_METHOD = "Not stated by the source"


@dataclass(frozen=True)
class PatientAndStudy:
    """Elements for every result, and a notice for each that was repaired.

    Attributes
    ----------
    elements
        In the source's bytes and character set.
    notices
        Code ``header_repaired``; they name attributes, never values.
    """

    elements: tuple[DataElement | RawDataElement, ...]
    notices: tuple[Notice, ...]

    def put_into(self, data: Dataset) -> None:
        """Put the elements into a result, in place of what is there."""
        for element in self.elements:
            data[element.tag] = element


def patient_and_study(header: Dataset) -> PatientAndStudy:
    """Take patient and study from a header; what is missing or cannot be valid becomes empty.

    Parameters
    ----------
    header
        Of one object of the study, as read. It is not changed.
    """
    elements: list[DataElement | RawDataElement] = []
    notices: list[Notice] = []
    for keyword in (*_IDENTIFYING, *_REQUIRED):
        found = _element(header, keyword)
        fault = "" if found is None else _fault(keyword, found)
        if found is not None and not fault:
            elements.append(found)
            continue
        if keyword in _REQUIRED:
            elements.append(_empty(keyword))
            why = "is missing" if found is None else f"holds {fault}"
            notices.append(_repaired(f"{keyword} {why}", "it is written empty"))
        elif fault:
            notices.append(_repaired(f"{keyword} holds {fault}", "it is left out"))
    return PatientAndStudy(*_with_method(elements, notices))


def _with_method(
    elements: list[DataElement | RawDataElement], notices: list[Notice]
) -> tuple[tuple[DataElement | RawDataElement, ...], tuple[Notice, ...]]:
    """Say how the patient's identity was removed where the source says only that it was: the standard asks for it."""
    by_tag = {element.tag: element for element in elements}
    removed, *methods = (
        by_tag.get(Tag(name))
        for name in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
    )
    if (
        removed is None
        or _text(removed).strip("\0 ") != "YES"
        or any(m is not None and m.value for m in methods)
    ):
        return tuple(elements), tuple(notices)
    by_tag[Tag("DeidentificationMethod")] = DataElement(Tag("DeidentificationMethod"), "LO", _METHOD)
    what = "DeidentificationMethod is missing, although PatientIdentityRemoved is YES"
    return tuple(by_tag.values()), (*notices, _repaired(what, f"it is {_METHOD!r}"))


def _element(header: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    """Take an element with the bytes that it was stored in; None where absent or not readable."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return None
    vr = dictionary_VR(tag)
    try:
        found: Any = header.get_item(tag)
        if isinstance(found, RawDataElement) and vr != "SQ":
            value = found.value or b""
            value += b" " * (len(value) % 2)
            return RawDataElement(found.tag, vr, len(value), value, 0, False, True)
        return header[tag]
    except READ_ERRORS:
        return None


def _fault(keyword: str, element: DataElement | RawDataElement) -> str:
    """Say what is wrong with a value; empty where it may stand."""
    vr = dictionary_VR(element.tag)
    if vr == "SQ":
        return ""
    text = _text(element).strip("\0 ")
    if len(text) > _LONGEST:
        return f"more than {_LONGEST:,} bytes"
    if not text:
        return ""
    if vr == "DA" and not _is_date(text):
        return "no date"
    if vr == "TM" and not _TIME.fullmatch(text):
        return "no time"
    if keyword == "PatientSex" and text not in ("M", "F", "O"):
        return "none of M, F and O"
    if keyword == "PatientAge" and not re.fullmatch(r"\d{3}[DWMY]", text):
        return "no age"
    if keyword == "PatientIdentityRemoved" and text not in ("YES", "NO"):
        return "neither YES nor NO"
    if keyword == "TimezoneOffsetFromUTC" and not _ZONE.fullmatch(text):
        return "no offset"
    return ""


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return len(text) == 8


def _text(element: DataElement | RawDataElement) -> str:
    value = element.value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return "" if value is None else str(value)


def _empty(keyword: str) -> DataElement:
    tag = tag_for_keyword(keyword) or 0
    return DataElement(tag, dictionary_VR(tag), None)


def _repaired(what: str, how: str) -> Notice:
    return notice("header_repaired", f"In the source's header, {what}; in the DICOM results, {how}.")

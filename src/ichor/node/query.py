"""Answers to C-FIND at study level: the studies of the worklist, the urgent ones first."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

__all__ = ["KEYS", "answers"]

KEYS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
"""Attributes that are returned where they are asked for; all but the last can be matched."""
_DATES = ("StudyDate", "StudyTime", "PatientBirthDate")
_NEVER_MATCHED = ("NumberOfStudyRelatedInstances",)


def answers(asked: Dataset, worklist: Sequence[dict[str, Any]]) -> list[Dataset] | None:
    """Return the studies that fit, in the order of the worklist.

    Parameters
    ----------
    asked
        The identifier of the request.
    worklist
        Studies, the urgent ones first: ``identity`` (values by keyword) and ``comment`` of each.

    Returns
    -------
    list of Dataset or None
        None where the request is not at study level.
    """
    if str(asked.get("QueryRetrieveLevel", "")).strip() != "STUDY":
        return None
    wanted = {keyword: asked[keyword].value for keyword in KEYS if keyword in asked}
    return [
        _answer(asked, entry)
        for entry in worklist
        if all(_fits(keyword, value, entry["identity"]) for keyword, value in wanted.items())
    ]


def _answer(asked: Dataset, entry: dict[str, Any]) -> Dataset:
    identity = entry["identity"]
    out = Dataset()
    out.QueryRetrieveLevel = "STUDY"
    out.SpecificCharacterSet = "ISO_IR 192"
    for element in asked:
        if element.keyword == "StudyComments":
            out.StudyComments = entry["comment"]
        elif element.keyword in KEYS:
            setattr(out, element.keyword, identity.get(element.keyword, ""))
        elif element.keyword not in ("QueryRetrieveLevel", "SpecificCharacterSet") and element.VR != "SQ":
            setattr(out, element.keyword, None) if element.keyword else None
    if "StudyInstanceUID" not in out:  # unique key: always returned
        out.StudyInstanceUID = identity.get("StudyInstanceUID", "")
    return out


def _fits(keyword: str, value: Any, identity: dict[str, Any]) -> bool:
    if value in (None, "") or keyword in _NEVER_MATCHED:
        return True
    found = str(identity.get(keyword, "") or "")
    texts = [str(v) for v in value] if isinstance(value, MultiValue) else str(value).split("\\")
    return any(_fits_one(keyword, text.strip(), found) for text in texts)


def _fits_one(keyword: str, text: str, found: str) -> bool:
    if not text or text == "*":
        return True
    if keyword in _DATES and "-" in text:
        first, _, last = text.partition("-")
        return bool(found) and (not first or first <= found) and (not last or found <= last + "~")
    if "*" in text or "?" in text:
        plain = text.replace("[", "[[]")
        return fnmatch.fnmatchcase(found.upper(), plain.upper())
    if keyword == "ModalitiesInStudy":
        return text in found.split("\\")
    return found == text if keyword != "PatientName" else found.upper() == text.upper()

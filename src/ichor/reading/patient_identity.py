"""Whose study it is: read from the input again, and only where the user asks to see it.

An :class:`~ichor.exam.Exam` and its findings carry none of this.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from ichor.errors import RefusedInput
from ichor.reading.dicom.dataset import READ_ERRORS, open_dataset, quiet_pydicom
from ichor.reading.dicom.elements import Elements
from ichor.reading.inputs import dicom_files
from ichor.reading.limits import Limits

__all__ = ["PatientIdentity", "patient_identities", "patient_identity"]

_TAGS = (
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyDescription",
)


@dataclass(frozen=True)
class PatientIdentity:
    """Patient and study as the header has them; empty where it does not say.

    Attributes
    ----------
    name, patient_id, accession, description
        As stored.
    date
        Of the study, ``YYYY-MM-DD``.
    """

    name: str
    patient_id: str
    accession: str
    date: str
    description: str

    @property
    def words(self) -> str:
        """What is known, in a line."""
        parts = (self.name, self.patient_id, self.accession, self.date, self.description)
        return ", ".join(part for part in parts if part)


def patient_identity(
    path: str | os.PathLike[str], study_uid: str, limits: Limits | None = None
) -> PatientIdentity | None:
    """Find patient and study in the headers of an input.

    Parameters
    ----------
    path
        The input that the exam was read from.
    study_uid
        As stored.
    limits
        How much is read; by default :meth:`Limits.from_environment`.

    Returns
    -------
    PatientIdentity or None
        None where no DICOM file of the study is there.

    Raises
    ------
    RefusedInput
        Where the path cannot be opened (any more).
    """
    with closing(_each(path, limits)) as found:
        return next((identity for uid, identity in found if uid == study_uid), None)


def patient_identities(
    path: str | os.PathLike[str], limits: Limits | None = None
) -> dict[str, PatientIdentity]:
    """Find patient and study of every study that an input holds.

    Parameters
    ----------
    path, limits
        As in :func:`patient_identity`.

    Returns
    -------
    dict
        By the study's UID, as stored. A study whose headers name several patients is left out: a wrong name is worse
        than none.

    Raises
    ------
    RefusedInput
        Where the path cannot be opened (any more).
    """
    found: dict[str, PatientIdentity] = {}
    mixed: set[str] = set()
    with closing(_each(path, limits)) as each:
        for uid, identity in each:
            first = found.setdefault(uid, identity)
            if (first.name, first.patient_id) != (identity.name, identity.patient_id):
                mixed.add(uid)
    return {uid: identity for uid, identity in found.items() if uid not in mixed}


def _each(path: str | os.PathLike[str], limits: Limits | None) -> Generator[tuple[str, PatientIdentity]]:
    """Give study UID and identity of file after file."""
    bounds = limits or Limits.from_environment()
    with dicom_files(Path(path), bounds) as files:
        for file in files:
            try:
                data = open_dataset(file, bounds, tags=_TAGS)
            except RefusedInput:  # spoken of when the input was read
                continue
            elements = Elements(data)
            yield elements.text("StudyInstanceUID"), _identity(elements, _name(data))


def _name(data: Dataset) -> str:
    try:
        with quiet_pydicom():
            return str(data.get("PatientName", "")).replace("^", " ").strip()
    except READ_ERRORS:
        return ""


def _identity(elements: Elements, name: str) -> PatientIdentity:
    date = elements.text("StudyDate")
    return PatientIdentity(
        name=name,
        patient_id=elements.text("PatientID"),
        accession=elements.text("AccessionNumber"),
        date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date,
        description=elements.text("StudyDescription"),
    )

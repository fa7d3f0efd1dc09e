"""Asks an archive by C-FIND how many instances it holds of a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from ichor.node.senders.association import DicomPlace, associate, release
from ichor.node.senders.package import NotDelivered
from ichor.reading.dicom.dataset import quiet_pydicom

__all__ = ["count_instances"]

_PENDING = (0xFF00, 0xFF01)
_LEVELS = (("STUDY", "NumberOfStudyRelatedInstances"), ("SERIES", "NumberOfSeriesRelatedInstances"))


def count_instances(place: DicomPlace, ae_title: str, studies: list[str]) -> dict[str, int]:
    """Return the number of instances of each study, by its UID; without those of which the archive gives none.

    Parameters
    ----------
    place
        Of the archive.
    ae_title
        Ours.
    studies
        Study instance UIDs. Without any, only whether it takes such questions is tried.

    Raises
    ------
    NotDelivered
        Where it is away, or does not answer.
    """
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind), build_context(Verification)]
    association = associate(place, ae_title, contexts)
    try:
        taken = {str(c.abstract_syntax) for c in association.accepted_contexts}
        if str(StudyRootQueryRetrieveInformationModelFind) not in taken:
            raise NotDelivered("no_find")
        found = {study: _count(association, study) for study in studies}
    except (ValueError, RuntimeError):  # the association went away
        raise NotDelivered("connection_lost") from None
    finally:
        release(association)
    return {study: number for study, number in found.items() if number}


def _count(association: Any, study: str) -> int:
    """Ask for the study's own number; an archive that does not have it is asked for those of the series."""
    for level, keyword in _LEVELS:
        numbers = [_number(answer, keyword) for answer in _answers(association, study, level, keyword)]
        if numbers and all(numbers):
            return sum(numbers)
    return 0


def _answers(association: Any, study: str, level: str, keyword: str) -> Iterator[Dataset]:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    asked.StudyInstanceUID = study
    setattr(asked, keyword, "")
    if level == "SERIES":
        asked.SeriesInstanceUID = ""
    for status, answer in association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind):
        if "Status" not in status:
            raise NotDelivered("connection_lost")
        if status.Status in _PENDING and answer is not None:
            yield answer
        elif status.Status:
            raise NotDelivered(f"status_{status.Status:04x}")


def _number(answer: Dataset, keyword: str) -> int:
    with quiet_pydicom():
        try:
            return int(answer.get(keyword) or 0)
        except (ValueError, TypeError):
            return 0

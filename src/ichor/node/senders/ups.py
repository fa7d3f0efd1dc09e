"""A Unified Procedure Step on a worklist manager: that a study is to be read, and how soon (PS3.4 CC.2.5).

A later result of the same study has a step of its own. It is made first, then the manager is asked to cancel the steps
of the earlier results (PS3.4 CC.2.2): the study is on the worklist at every moment, and in the end once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import UnifiedProcedureStepPush  # type: ignore[attr-defined]

from ichor.node.destinations import UpsDestination
from ichor.node.senders.association import associate, release
from ichor.node.senders.package import NotDelivered, Package, conclusion, status_word
from ichor.reading.dicom.dataset import quiet_pydicom
from ichor.uids import hashed_uid

__all__ = ["EarlierStep", "procedure_step", "send_ups", "step_uid", "try_ups"]

_CREATED = (0x0000, 0x0001, 0xB300)
"""Success, and created with other values than were sent."""
_DUPLICATE = 0x0111
_CANCEL = 2
"""Action type of a request to cancel (PS3.4 table CC.2.2-1)."""
_NOT_OPEN = (0x0000, 0xB304, 0xC307, 0xC311, 0x0112)
"""Acknowledged, canceled before, not there, completed (PS3.4 table CC.2.2-2); not there, in the words of PS3.7."""
_FOR_NOW = 0x0213
"""Out of resources."""
_EMPTY_SEQUENCES = (
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesCodeSequence",
)
_EMPTY = ("TransactionUID", "AdmissionID", "AdmittingDiagnosesDescription")
_PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_LABELS = {
    "suspected": "Read head CT: hemorrhage suspected",
    "uncertain": "Read head CT: undetermined",
}
_MOST_LABEL, _MOST_COMMENT = 64, 1024
_REPLACED = "Replaced by a step for a later result of the same study."


@dataclass(frozen=True)
class EarlierStep:
    """The step of an earlier result of the same study.

    Attributes
    ----------
    uid
        Of :func:`step_uid`.
    is_made
        Whether the manager has said that it has it; otherwise it may have it.
    is_urgent
        Whether that result was a suspicion.
    """

    uid: str
    is_made: bool
    is_urgent: bool


def step_uid(delivery: str) -> str:
    """Return the step's UID: the same at each try, so that a manager knows a step that it has.

    Parameters
    ----------
    delivery
        Id of the delivery.
    """
    return hashed_uid(f"ups/{delivery}")


def procedure_step(
    package: Package, destination: UpsDestination, earlier: Sequence[EarlierStep] = ()
) -> Dataset:
    """Return the attributes of an N-CREATE.

    Parameters
    ----------
    package
        Of a study.
    destination
        Names the worklist, and the archive that has the images.
    earlier
        That it replaces.

    Notes
    -----
    The priority is HIGH where hemorrhage is suspected, or was by an earlier result, and MEDIUM otherwise: it is raised,
    never lowered.
    """
    identity, word = package.identity, status_word(package)
    step = Dataset()
    with quiet_pydicom():
        step.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _EMPTY_SEQUENCES:
            setattr(step, keyword, [])
        for keyword in _EMPTY:
            setattr(step, keyword, "")
        for keyword in _PATIENT:
            setattr(step, keyword, identity.get(keyword, ""))
        step.ProcedureStepState = "SCHEDULED"
        urgent = word == "suspected" or any(one.is_urgent for one in earlier)
        step.ScheduledProcedureStepPriority = "HIGH" if urgent else "MEDIUM"
        step.ScheduledProcedureStepStartDateTime = (
            time.strftime("%Y%m%d%H%M%S", time.gmtime(package.made)) + "+0000"
        )
        step.ProcedureStepLabel = _LABELS.get(word, "Read head CT")[:_MOST_LABEL]
        step.WorklistLabel = destination.worklist_label
        step.CommentsOnTheScheduledProcedureStep = conclusion(package)[:_MOST_COMMENT]
        step.ScheduledWorkitemCodeSequence = [_code("110005", "DCM", "Interpretation")]
        step.InputReadinessState = "READY"
        step.InputInformationSequence = [_input(one, package, destination) for one in package.series]
        step.StudyInstanceUID = identity.get("StudyInstanceUID", "")
        step.ReferencedRequestSequence = _request(identity)
        if replaced := [_reference(UnifiedProcedureStepPush, one.uid) for one in earlier if one.is_made]:
            step.ReplacedProcedureStepSequence = replaced
    return step


def send_ups(
    destination: UpsDestination, package: Package, ae_title: str, earlier: Sequence[EarlierStep] = ()
) -> list[int]:
    """Have the step made, and those of earlier results canceled; one that was made before is left as it is.

    Parameters
    ----------
    destination
        The manager.
    package
        Of a study.
    ae_title
        Ours.
    earlier
        Steps of earlier results of the same study.

    Returns
    -------
    list of int
        Statuses of those that the manager does not cancel: they stay on its worklist.

    Raises
    ------
    NotDelivered
        Where the manager does not make it, or went away before it was asked to cancel the earlier ones.
    """
    association = associate(destination, ae_title, [build_context(UnifiedProcedureStepPush)])
    try:
        with quiet_pydicom():
            step = procedure_step(package, destination, earlier)
            answer, _ = association.send_n_create(step, UnifiedProcedureStepPush, step_uid(package.id))
            status = _status(answer)
            if status not in (*_CREATED, _DUPLICATE):
                raise NotDelivered(f"status_{status:04x}")
            statuses = [_cancel(association, one) for one in earlier]
    except (ValueError, RuntimeError):
        raise NotDelivered("not_accepted" if association.is_established else "connection_lost") from None
    finally:
        release(association)
    return [status for status in statuses if status not in _NOT_OPEN]


def try_ups(destination: UpsDestination, ae_title: str) -> None:
    """Ask whether a manager takes steps; none is made.

    Raises
    ------
    NotDelivered
        Where it does not.
    """
    release(associate(destination, ae_title, [build_context(UnifiedProcedureStepPush)]))


def _cancel(association: Any, one: EarlierStep) -> int:
    """Ask for a step to be canceled; returns the status of the answer."""
    information = Dataset()
    information.ReasonForCancellation = _REPLACED
    answer, _ = association.send_n_action(information, _CANCEL, UnifiedProcedureStepPush, one.uid)
    status = _status(answer)
    if status == _FOR_NOW:
        raise NotDelivered(f"status_{status:04x}")
    return status


def _status(answer: Dataset) -> int:
    if "Status" not in answer:
        raise NotDelivered("connection_lost")
    return int(answer.Status)


def _reference(sop_class: str, instance: str) -> Dataset:
    out = Dataset()
    out.ReferencedSOPClassUID, out.ReferencedSOPInstanceUID = sop_class, instance
    return out


def _input(one: dict[str, Any], package: Package, destination: UpsDestination) -> Dataset:
    """Return a series that is to be read, and where it is."""
    out = Dataset()
    out.TypeOfInstances = "DICOM"
    out.StudyInstanceUID = package.identity.get("StudyInstanceUID", "")
    out.SeriesInstanceUID = one["uid"]
    out.ReferencedSOPSequence = [_reference(*reference) for reference in one.get("objects", [])]
    if destination.images_at is not None:
        place = Dataset()
        place.RetrieveAETitle = destination.images_at
        out.DICOMRetrievalSequence = [place]
    return out


def _request(identity: dict[str, str]) -> list[Dataset]:
    accession = identity.get("AccessionNumber", "")
    if not accession:
        return []
    out = Dataset()
    out.StudyInstanceUID = identity.get("StudyInstanceUID", "")
    out.AccessionNumber = accession
    for keyword in (
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "PlacerOrderNumberImagingServiceRequest",
    ):
        setattr(out, keyword, "")
    out.IssuerOfAccessionNumberSequence = []
    out.RequestedProcedureCodeSequence = []
    return [out]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    out = Dataset()
    out.CodeValue, out.CodingSchemeDesignator, out.CodeMeaning = value, scheme, meaning
    return out

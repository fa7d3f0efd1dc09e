"""A Unified Procedure Step on a worklist manager: that a study is to be read, and how soon (PS3.4 CC.2.5)."""

from __future__ import annotations

import time
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import UnifiedProcedureStepPush  # type: ignore[attr-defined]

from ichor.node.destinations import UpsDestination
from ichor.node.senders.association import associate, release
from ichor.node.senders.package import NotDelivered, Package, conclusion, status_word
from ichor.reading.dicom.dataset import quiet_pydicom
from ichor.uids import hashed_uid

__all__ = ["procedure_step", "send_ups", "step_uid", "try_ups"]

_CREATED = (0x0000, 0x0001, 0xB300)
"""Success, and created with other values than were sent."""
_DUPLICATE = 0x0111
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


def step_uid(package: Package) -> str:
    """Return the step's UID: the same at each try, so that a manager knows a step that it has."""
    return hashed_uid(f"ups/{package.id}")


def procedure_step(package: Package, destination: UpsDestination) -> Dataset:
    """Return the attributes of an N-CREATE.

    Parameters
    ----------
    package
        Of a study.
    destination
        Names the worklist, and the archive that has the images.

    Notes
    -----
    The priority is HIGH where hemorrhage is suspected and MEDIUM otherwise: it is raised, never lowered.
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
        step.ScheduledProcedureStepPriority = "HIGH" if word == "suspected" else "MEDIUM"
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
    return step


def send_ups(destination: UpsDestination, package: Package, ae_title: str) -> None:
    """Have the step made; one that was made before is left as it is.

    Raises
    ------
    NotDelivered
        Where the manager does not make it.
    """
    association = associate(destination, ae_title, [build_context(UnifiedProcedureStepPush)])
    try:
        with quiet_pydicom():
            status, _ = association.send_n_create(
                procedure_step(package, destination), UnifiedProcedureStepPush, step_uid(package)
            )
    except (ValueError, RuntimeError):
        raise NotDelivered("not_accepted" if association.is_established else "connection_lost") from None
    finally:
        release(association)
    if "Status" not in status:
        raise NotDelivered("connection_lost")
    if status.Status not in (*_CREATED, _DUPLICATE):
        raise NotDelivered(f"status_{status.Status:04x}")


def try_ups(destination: UpsDestination, ae_title: str) -> None:
    """Ask whether a manager takes steps; none is made.

    Raises
    ------
    NotDelivered
        Where it does not.
    """
    release(associate(destination, ae_title, [build_context(UnifiedProcedureStepPush)]))


def _input(one: dict[str, Any], package: Package, destination: UpsDestination) -> Dataset:
    """Return a series that is to be read, and where it is."""
    out = Dataset()
    out.TypeOfInstances = "DICOM"
    out.StudyInstanceUID = package.identity.get("StudyInstanceUID", "")
    out.SeriesInstanceUID = one["uid"]
    out.ReferencedSOPSequence = []
    for sop_class, instance in one.get("objects", []):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        out.ReferencedSOPSequence.append(item)
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

"""Key object selection: the suspicious slices, for viewers that jump to them."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ichor.reporting.choice import suspicious_slices
from ichor.results.case import Case
from ichor.results.codes import code
from ichor.results.identity import MANUFACTURER
from ichor.results.references import as_evidence
from ichor.results.report import device_context, evidence_stubs, frames_by_instance

__all__ = ["key_objects"]

_DESCRIPTION = (
    "Slices at or above the threshold for hemorrhage, or with a part of an outlined region. Slices that are not listed "
    "may hold blood, too."
)


def key_objects(case: Case, sop_uid: str) -> Dataset:
    """Make the selection of a case with suspicious slices.

    Parameters
    ----------
    case
        Assessed.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument

    identity = case.identity
    chosen = [case.originals.instances[k] for k in suspicious_slices(case.findings)]
    stubs = evidence_stubs(chosen, identity.study_uid)
    for stub in stubs:
        stub.Rows = stub.Columns = 1  # tells the library that it is an image
    content = KeyObjectSelection(
        document_title=code("of_interest"),
        referenced_objects=stubs,
        observer_device_context=device_context(case),
        description=_DESCRIPTION,
    )
    made = KeyObjectSelectionDocument(
        evidence=stubs,
        content=content,
        series_instance_uid=identity.uid("series", "ko"),
        series_number=1,
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    frames_of = {instance.sop_uid: frames for instance, frames in frames_by_instance(chosen)}
    for item in made.ContentSequence:
        for reference in item.get("ReferencedSOPSequence") or []:
            if frames := frames_of[str(reference.ReferencedSOPInstanceUID)]:
                reference.ReferencedFrameNumber = sorted(frames)
    as_evidence(made, chosen, identity.study_uid)
    return made

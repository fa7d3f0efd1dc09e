"""The last hand on every result: patient and study, equipment, dates, deterministic UIDs; then its bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

import ichor
from ichor.results.codes import PRIVATE_SCHEME
from ichor.results.identity import MANUFACTURER, Identity
from ichor.results.kinds import Kind
from ichor.results.patient import PatientAndStudy
from ichor.uids import hashed_uid

__all__ = ["finished", "started"]

_IMPLEMENTATION = UID(hashed_uid("ichor"))
_PRIVATE_NAME = "Notices of ichor"


def started(kind: Kind, identity: Identity, sop_uid: str) -> Dataset:
    """Begin an object that no library makes: identity, series and equipment are set by :func:`finished`."""
    data = Dataset()
    data.SOPClassUID = kind.sop_class
    data.SOPInstanceUID = sop_uid
    data.StudyInstanceUID = identity.study_uid
    data.InstanceNumber = 1
    return data


def finished(data: Dataset, kind: Kind, identity: Identity, patient: PatientAndStudy) -> bytes:
    """Complete an object, and give the bytes of its file.

    Parameters
    ----------
    data
        As a library or :func:`started` made it; changed here.
    kind
        What it is.
    identity
        What UIDs, date and equipment follow from.
    patient
        What it repeats of the source.

    Returns
    -------
    bytes
        A whole DICOM file, Explicit VR Little Endian. The same input gives the same bytes.
    """
    data.StudyInstanceUID = identity.study_uid
    data.SeriesInstanceUID = identity.uid("series", kind.name)
    data.SeriesNumber = kind.series_number
    data.SeriesDescription = kind.description
    data.Modality = kind.modality
    _equipment(data, identity)
    _dates(data, identity)
    if any(_designators(data, PRIVATE_SCHEME)):
        scheme = Dataset()
        scheme.CodingSchemeDesignator, scheme.CodingSchemeName = PRIVATE_SCHEME, _PRIVATE_NAME
        data.CodingSchemeIdentificationSequence = DicomSequence([scheme])
    patient.put_into(data)
    data.file_meta = _meta(data)
    out = Dataset()
    out.update({element.tag: element for element in data.elements()})  # a plain data set, whatever made it
    out.file_meta = data.file_meta
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, out, enforce_file_format=True)
    return stream.getvalue()


def _equipment(data: Dataset, identity: Identity) -> None:
    data.Manufacturer = data.ManufacturerModelName = MANUFACTURER
    data.SoftwareVersions = identity.software_versions
    data.DeviceSerialNumber = identity.bundle_sha256 or "0"


def _dates(data: Dataset, identity: Identity) -> None:
    moment = identity.moment
    for name in ("InstanceCreation", "Content", "Series"):
        if name != "Content" or "ContentDate" in data:
            setattr(data, f"{name}Date", moment.date)
            setattr(data, f"{name}Time", moment.time)
    for item in data.get("ContributingEquipmentSequence") or []:
        item.ContributionDateTime = moment.both


def _designators(data: Dataset, scheme: str) -> Iterator[bool]:
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                yield from _designators(item, scheme)
        elif element.keyword == "CodingSchemeDesignator" and element.value == scheme:
            yield True


def _meta(data: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = f"ichor {ichor.__version__}"[:16]
    return meta

"""References from results to the images that they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from ichor.reading.originals import Instance

__all__ = ["as_evidence", "image_reference", "refer_to_series", "source_image"]

_PURPOSE = ("121322", "Source image for image processing operation")


def image_reference(instance: Instance) -> Dataset:
    """Refer to an image, and to its frame where it has several."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class
    item.ReferencedSOPInstanceUID = instance.sop_uid
    if instance.frame is not None:
        item.ReferencedFrameNumber = instance.frame
    return item


def source_image(instance: Instance) -> Dataset:
    """Refer to the image that a frame of a segmentation lies on, pixel on pixel."""
    item = image_reference(instance)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = DicomSequence([_coded(*_PURPOSE)])
    return item


def refer_to_series(data: Dataset, instances: Iterable[Instance], study_uid: str) -> None:
    """Write the Common Instance Reference module: all images referred to, by study and series."""
    studies = _grouped(instances)
    own = studies.pop(study_uid, {})
    if own:
        data.ReferencedSeriesSequence = DicomSequence(
            _series_item(uid, members, "ReferencedInstanceSequence") for uid, members in own.items()
        )
    elif "ReferencedSeriesSequence" in data:
        del data.ReferencedSeriesSequence
    if studies:
        data.StudiesContainingOtherReferencedInstancesSequence = DicomSequence(
            _study_item(uid, series, "ReferencedInstanceSequence") for uid, series in studies.items()
        )


def as_evidence(data: Dataset, instances: Iterable[Instance], study_uid: str) -> None:
    """Write the evidence sequences of a report or a key object selection."""
    studies = _grouped(instances)
    own = studies.pop(study_uid, {})
    for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        if name in data:
            delattr(data, name)
    if own:
        data.CurrentRequestedProcedureEvidenceSequence = DicomSequence(
            [_study_item(study_uid, own, "ReferencedSOPSequence")]
        )
    if studies:
        data.PertinentOtherEvidenceSequence = DicomSequence(
            _study_item(uid, series, "ReferencedSOPSequence") for uid, series in studies.items()
        )


def _grouped(instances: Iterable[Instance]) -> dict[str, dict[str, list[Instance]]]:
    """Each object once, by study and series, in the order in which they come."""
    studies: dict[str, dict[str, dict[str, Instance]]] = {}
    for instance in instances:
        series = studies.setdefault(instance.study_uid, {}).setdefault(instance.series_uid, {})
        series.setdefault(instance.sop_uid, instance)
    return {
        study: {uid: list(members.values()) for uid, members in series.items()}
        for study, series in studies.items()
    }


def _study_item(uid: str, series: dict[str, list[Instance]], keyword: str) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = uid
    item.ReferencedSeriesSequence = DicomSequence(
        _series_item(series_uid, members, keyword) for series_uid, members in series.items()
    )
    return item


def _series_item(uid: str, members: Sequence[Instance], keyword: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    references = []
    for instance in members:
        reference = Dataset()
        reference.ReferencedSOPClassUID = instance.sop_class
        reference.ReferencedSOPInstanceUID = instance.sop_uid
        references.append(reference)
    setattr(item, keyword, DicomSequence(references))
    return item


def _coded(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item

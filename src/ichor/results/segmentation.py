"""The segmentation: one binary segment a region, on the planes of the source's own slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.valuerep import format_number_as_ds

from ichor.findings import Region
from ichor.labels import LABELS
from ichor.notices import Notice, notice
from ichor.reporting.words import SUBTYPE_OF, names_subtype
from ichor.results.case import Case
from ichor.results.codes import code, label_code, site_code
from ichor.results.identity import Identity
from ichor.results.references import refer_to_series, source_image
from ichor.uids import hashed_uid

__all__ = ["algorithm", "segment_label", "segmentation", "segmentation_notices", "tracking_uid"]

_CT = "1.2.840.10008.5.1.4.1.1.2"
_EVEN_MM = 0.01
"""Gaps between slices that differ by less are even."""
_COLOURS = {label.name: label.colour for label in LABELS}


def segment_label(number: int, region: Region) -> str:
    """Name a region for a list of segments: ``Region 1: Subdural``."""
    return f"Region {number}: {SUBTYPE_OF[region.label].display if names_subtype(region) else 'type undetermined'}"


def tracking_uid(identity: Identity, number: int) -> str:
    """Return the UID that follows a region through segmentation and report."""
    return identity.uid("region", number)


def segmentation(case: Case, sop_uid: str) -> Dataset:
    """Make the segmentation of a case that has regions.

    Parameters
    ----------
    case
        With a mask that is not empty, on slices whose coordinates and spacing are known.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    from highdicom.seg import Segmentation

    mask = case.mask
    slices = [int(k) for k in np.flatnonzero(mask.any(axis=(1, 2)))]
    planes = _planes(case, slices)
    made = Segmentation(
        source_images=planes,
        pixel_array=mask[slices],
        segmentation_type="BINARY",
        segment_descriptions=list(_segments(case)),
        series_instance_uid=case.identity.uid("series", "seg"),
        series_number=1,
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer="ichor",
        manufacturer_model_name="ichor",
        software_versions="ichor",
        device_serial_number="0",
        content_label="HEMORRHAGE",
        content_description="Regions of suspected hemorrhage",
        pixel_measures=_measures(case),
    )
    _refer_to_originals(made, case, dict(zip((p.SOPInstanceUID for p in planes), slices, strict=True)))
    return made


def segmentation_notices(case: Case) -> list[Notice]:
    """Say what a segmentation of a case gives that the source does not."""
    stands_for = []
    if not _frame_of_reference(case):
        stands_for.append(("FrameOfReferenceUID", "one made from the series UID"))
    if not np.isfinite(case.thickness).all():
        stands_for.append(("SliceThickness", "the distance between slices"))
    return [
        notice(
            "header_repaired",
            f"In the source's header, {name} is missing; in the DICOM results, {other} stands for it.",
        )
        for name, other in stands_for
    ]


def algorithm(case: Case) -> Any:
    """Identify the model, as segments have it."""
    from highdicom import AlgorithmIdentificationSequence

    identity = case.identity
    return AlgorithmIdentificationSequence(
        name=f"ichor, model {identity.bundle_name}"[:64],
        family=code("algorithm"),
        version=identity.bundle_version,
        source="ichor",
        parameters={"bundle sha256": identity.bundle_sha256},
    )


def _segments(case: Case) -> Iterable[Any]:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    for number, region in enumerate(case.findings.regions, start=1):
        red, green, blue = (int(_COLOURS[region.label][k : k + 2], 16) for k in (1, 3, 5))
        label = segment_label(number, region)
        named = region.label if names_subtype(region) else "any"
        yield SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=code("category"),
            segmented_property_type=label_code(named),
            anatomic_regions=[code(site_code(named))],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm(case),
            tracking_uid=tracking_uid(case.identity, number),
            tracking_id=label,
            display_color=CIELabColor.from_rgb(red, green, blue),
        )


def _planes(case: Case, slices: list[int]) -> list[Dataset]:
    """Headers of single slices with what a segmentation takes from its sources, and nothing of the patient.

    The exam's geometry has been through all that reading mends: orientations that differ by rounding, places held
    twice, frames of a multi-frame object. The true references are put in afterwards.
    """
    geometry, identity = case.exam.geometry, case.identity
    orientation = _decimals([*geometry.row_direction, *geometry.column_direction])
    planes = []
    for k in slices:
        plane = Dataset()
        plane.SOPClassUID = _CT
        plane.SOPInstanceUID = identity.uid("plane", k)
        plane.StudyInstanceUID, plane.SeriesInstanceUID = identity.study_uid, identity.series_uid
        plane.Modality = "CT"
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
            setattr(plane, keyword, None)
        for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
            setattr(plane, keyword, None)
        plane.FrameOfReferenceUID = _frame_of_reference(case) or hashed_uid(
            f"{identity.series_uid}|frame of reference"
        )
        plane.ImageOrientationPatient = orientation
        plane.ImagePositionPatient = _decimals(geometry.positions[k])
        plane.PixelSpacing = _decimals(geometry.spacing)
        plane.SliceThickness = _decimals([case.thickness_or_step[k]])[0]
        plane.Rows, plane.Columns = case.exam.volume.shape[1:]
        if str(case.originals.header.get("LossyImageCompression", "")) == "01":
            plane.LossyImageCompression = "01"
        planes.append(plane)
    return planes


def _measures(case: Case) -> Any:
    """Pixel measures of all frames: where slices differ in thickness, that of the thinnest.

    Measures of each frame's own would be valid, but OHIF 3.13 opens no segmentation that has them.
    """
    from highdicom import PixelMeasuresSequence

    geometry = case.exam.geometry
    gaps = geometry.gaps
    even = len(gaps) > 0 and float(np.ptp(gaps)) < _EVEN_MM
    return PixelMeasuresSequence(
        pixel_spacing=geometry.spacing,
        slice_thickness=float(case.thickness_or_step.min()),
        spacing_between_slices=float(np.median(gaps)) if even else None,
    )


def _refer_to_originals(made: Dataset, case: Case, slice_of: dict[str, int]) -> None:
    """Put the source's own references in place of those to the planes."""
    instances = case.originals.instances
    for frame in made.PerFrameFunctionalGroupsSequence:
        derivation = frame.DerivationImageSequence[0]
        k = slice_of[derivation.SourceImageSequence[0].ReferencedSOPInstanceUID]
        derivation.SourceImageSequence = DicomSequence([source_image(instances[k])])
    refer_to_series(made, [instances[k] for k in slice_of.values()], case.identity.study_uid)
    if "SourceImageSequence" in made:
        del made.SourceImageSequence
    organization = case.identity.uid("dimension organization")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _frame_of_reference(case: Case) -> str:
    return str(case.originals.header.get("FrameOfReferenceUID", "") or "").strip("\0 ")


def _decimals(values: Iterable[float] | NDArray[np.float64]) -> list[str]:
    """Write numbers as DICOM's decimal strings, in at most 16 characters."""
    return [format_number_as_ds(float(v) + 0.0) for v in values]

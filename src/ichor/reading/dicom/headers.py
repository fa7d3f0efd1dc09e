"""DICOM headers: the few facts of each slice that reading needs, taken without trusting any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.reading.dicom.dataset import READ_ERRORS, open_dataset, quiet_pydicom, unreadable
from ichor.reading.dicom.elements import FUNCTIONAL_GROUPS, Elements, items
from ichor.reading.dicom.words import folded
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits

__all__ = ["OWN_MAKER", "SliceHeader", "read_headers"]

_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "ImageType",
    "BodyPartExamined",
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "FilterType",
    "SeriesNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "SeriesDate",
    "SeriesTime",
    "FrameOfReferenceUID",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "Manufacturer",
    "ManufacturerModelName",
    "KVP",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceLocation",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PixelSpacing",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "LossyImageCompression",
    *FUNCTIONAL_GROUPS,
]


OWN_MAKER = "ichor"
"""Manufacturer and model that ichor writes into its results."""


@dataclass(frozen=True)
class SliceHeader:
    """What is known of one slice: a file, or a frame of one.

    Attributes
    ----------
    file
        Where its pixels are.
    frame
        0-based frame, or None for a single-frame object.
    n_frames
        Frames of the object.
    study_uid, series_uid, sop_uid, sop_class, patient
        As stored; ``patient`` is only ever compared.
    frame_of_reference
        UID of the coordinate system that positions are given in; empty where absent.
    modality, image_type, body_part, label, description, kernel, contrast
        In capitals without accents; ``label`` is the series description, ``description`` joins series, study
        and protocol.
    acquisition, acquired, voltage
        What else parts acquisitions: their number (with stack and phase), date and time, and kV; only compared.
        Empty or None where absent.
    position, orientation, spacing
        ``(3,)``, ``(6,)``, ``(2,)`` or None where absent or not to be used.
    thickness, step, location, number
        Or None; ``step`` is the distance between slices that the header states.
    has_rescale
        Slope or intercept, or the word HU as their unit, is there.
    rows, columns, samples, bits_allocated, bits_stored
        0 where absent.
    photometric, transfer_syntax
        Their names.
    lossy
        Stored with lossy compression.
    facts
        Manufacturer, model, kernel, tube voltage: to be shown.
    series_number
        Empty where absent.
    """

    file: InputFile
    frame: int | None
    n_frames: int
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    frame_of_reference: str
    patient: str
    modality: str
    image_type: tuple[str, ...]
    body_part: str
    label: str
    description: str
    kernel: str
    contrast: str
    acquisition: str
    acquired: str
    voltage: float | None
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: NDArray[np.float64] | None
    thickness: float | None
    step: float | None
    location: float | None
    number: int | None
    has_rescale: bool
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    photometric: str
    transfer_syntax: str
    lossy: bool
    facts: dict[str, str]
    series_number: str = ""

    @property
    def is_own_result(self) -> bool:
        """Whether it is a result that ichor made, such as an archive gives back with its study."""
        return (
            self.modality != "CT" and self.facts.get("manufacturer") == self.facts.get("model") == OWN_MAKER
        )


def read_headers(file: InputFile, limits: Limits) -> list[SliceHeader]:
    """Read the header of one file: one entry a slice, several for a multi-frame CT.

    Raises
    ------
    RefusedInput
        ``unreadable``, or ``limit_exceeded``.
    """
    data = open_dataset(file, limits, tags=_TAGS)
    try:
        with quiet_pydicom():
            return _headers_of(data, file, limits)
    except RecursionError:
        raise limits.refuse(file.name, "sequence_depth", "sequences nested too deeply to be read") from None
    except READ_ERRORS as error:
        raise unreadable(file.name, f"a header that cannot be parsed ({type(error).__name__})") from None


def _headers_of(data: Dataset, file: InputFile, limits: Limits) -> list[SliceHeader]:
    whole = Elements(data)
    frames = whole.integer("NumberOfFrames")
    frames = 1 if frames is None else frames
    if frames < 1:
        raise unreadable(file.name, f"{frames} frames", "at least one")
    if frames > limits.frames:
        raise limits.refuse(file.name, "frames", f"{frames:,} frames")
    rows, columns = whole.integer("Rows") or 0, whole.integer("Columns") or 0
    if rows < 0 or columns < 0 or rows * columns > limits.pixels:
        raise limits.refuse(file.name, "pixels", f"{rows} x {columns} pixels")
    header = _object_header(data, whole, file, frames)
    if frames == 1:
        return [header]
    n_groups = len(items(data, "PerFrameFunctionalGroupsSequence"))
    headers = [_frame_header(header, Elements(data, k), k) for k in range(min(frames, n_groups))]
    if n_groups < frames:
        # What has no group of its own is told apart by its number alone: thousands of such frames cost nothing.
        bare = _frame_header(header, Elements(data, n_groups), n_groups)
        headers += [replace(bare, frame=k, number=k + 1) for k in range(n_groups, frames)]
    if len({None if h.position is None else tuple(h.position) for h in headers}) == 1:
        # A position that all frames share says nothing of where each lies: only their number tells them apart.
        return [replace(h, position=None, location=None) for h in headers]
    return headers


def _object_header(data: Dataset, whole: Elements, file: InputFile, frames: int) -> SliceHeader:
    """Header of the object, complete for a plain one; of several frames, what holds for the first."""
    meta = getattr(data, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID", None) if meta is not None else None
    kernel = whole.text("ConvolutionKernel") or whole.text("FilterType")
    voltage, series_number = whole.number("KVP"), whole.integer("SeriesNumber")
    facts = {
        "manufacturer": whole.text("Manufacturer"),
        "model": whole.text("ManufacturerModelName"),
        "kernel": kernel,
        "tube voltage": f"{voltage:g} kV" if voltage else "",
        "transfer syntax": getattr(syntax, "name", "") if syntax else "",
    }
    described = (whole.text(k) for k in ("SeriesDescription", "StudyDescription", "ProtocolName"))
    scaled = whole.number("RescaleSlope") is not None or whole.number("RescaleIntercept") is not None
    return SliceHeader(
        file=file,
        frame=None,
        n_frames=frames,
        study_uid=whole.text("StudyInstanceUID"),
        series_uid=whole.text("SeriesInstanceUID"),
        sop_uid=whole.text("SOPInstanceUID"),
        sop_class=whole.text("SOPClassUID"),
        frame_of_reference=whole.text("FrameOfReferenceUID"),
        patient=whole.text("PatientID"),
        modality=whole.text("Modality").upper(),
        image_type=_kinds(whole.text("FrameType") or whole.text("ImageType")),
        body_part=folded(whole.text("BodyPartExamined") or whole.meanings("AnatomicRegionSequence")),
        label=folded(whole.text("SeriesDescription")),
        description=folded(" ".join(described)),
        kernel=kernel.upper(),
        contrast=folded(_agents(whole)),
        acquisition=_acquisition(whole),
        acquired=_acquired(whole),
        voltage=voltage,
        position=whole.numbers("ImagePositionPatient", 3),
        orientation=_orientation(whole.numbers("ImageOrientationPatient", 6)),
        spacing=_spacing(whole),
        thickness=_above_zero(whole.number("SliceThickness")),
        step=_above_zero(whole.number("SpacingBetweenSlices")),
        location=whole.number("SliceLocation"),
        number=whole.integer("InstanceNumber"),
        has_rescale=scaled or whole.text("RescaleType").upper() == "HU",
        rows=whole.integer("Rows") or 0,
        columns=whole.integer("Columns") or 0,
        samples=whole.integer("SamplesPerPixel") or 1,
        bits_allocated=whole.integer("BitsAllocated") or 0,
        bits_stored=whole.integer("BitsStored") or 0,
        photometric=whole.text("PhotometricInterpretation").upper(),
        transfer_syntax=str(syntax or ""),
        lossy=whole.text("LossyImageCompression") == "01",
        facts={k: shown for k, v in facts.items() if (shown := _printable(v))},
        series_number="" if series_number is None else str(series_number),
    )


def _frame_header(header: SliceHeader, frame: Elements, k: int) -> SliceHeader:
    """Complete the header of one frame of several from what holds for it."""
    return replace(
        header,
        frame=k,
        position=frame.numbers("ImagePositionPatient", 3, groups_only=True),
        orientation=_orientation(frame.numbers("ImageOrientationPatient", 6)),
        spacing=_spacing(frame),
        thickness=_above_zero(frame.number("SliceThickness")),
        step=_above_zero(frame.number("SpacingBetweenSlices")),
        location=None,
        number=frame.integer("InStackPositionNumber") or k + 1,
        image_type=_kinds(frame.text("FrameType") or frame.text("ImageType")),
        kernel=(frame.text("ConvolutionKernel") or frame.text("FilterType")).upper(),
        contrast=folded(_agents(frame)),
        acquisition=_acquisition(frame),
        acquired=_acquired(frame),
        voltage=frame.number("KVP"),
        body_part=folded(frame.text("BodyPartExamined") or frame.meanings("AnatomicRegionSequence")),
    )


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in text.split("\\"))


def _agents(elements: Elements) -> str:
    """Contrast agents named; none where the functional groups say that none was given."""
    if elements.text("ContrastBolusAgentAdministered").upper() == "NO":
        return ""
    return elements.text("ContrastBolusAgent") or elements.meanings("ContrastBolusAgentSequence")


def _acquisition(elements: Elements) -> str:
    """Return the number of the acquisition, with the stack and the phase that the functional groups name."""
    number = elements.text("FrameAcquisitionNumber") or elements.text("AcquisitionNumber")
    phase = elements.text("TemporalPositionIndex") or elements.text("TemporalPositionIdentifier")
    stack = elements.text("StackID")
    named = (number, f"stack {stack}" if stack else "", f"phase {phase}" if phase else "")
    return _printable(" ".join(part for part in named if part))


def _acquired(elements: Elements) -> str:
    """Date and time of the acquisition, else of the series, as digits that sort; empty where there is no time."""
    whole = elements.text("FrameAcquisitionDateTime") or elements.text("AcquisitionDateTime")
    if len(whole) > 8:
        return whole
    for kind in ("Acquisition", "Series"):
        date, time = elements.text(f"{kind}Date"), elements.text(f"{kind}Time").replace(":", "")
        if time:
            return f"{date.replace('.', ''):0>8}{time}"
    return ""


def _printable(text: str) -> str:
    """Keep what comes before anything that is no text.

    A forged length makes an element reach into those behind it, which may name the patient.
    """
    return "".join(takewhile(str.isprintable, text.strip()))[:120]


def _spacing(elements: Elements) -> NDArray[np.float64] | None:
    """Pixel spacing; one value stands for both directions."""
    values = elements.numbers("PixelSpacing", 2)
    if values is None and (one := elements.numbers("PixelSpacing", 1)) is not None:
        values = np.repeat(one, 2)
    return values if values is not None and (values > 0.01).all() and (values < 20).all() else None


def _orientation(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return two unit vectors at a right angle, or None where the stored ones are no such thing."""
    if values is None:
        return None
    row, column = values[:3], values[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.02:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    return np.concatenate([row, column / np.linalg.norm(column)])


def _above_zero(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None

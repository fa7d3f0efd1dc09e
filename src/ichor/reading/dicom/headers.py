"""DICOM headers: the few facts of each slice that reading needs, taken without trusting any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.reading.dicom.dataset import READ_ERRORS, open_dataset, quiet_pydicom, unreadable
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.refusals import refusal

__all__ = ["SliceHeader", "read_headers"]

_ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
_LEGACY_ENHANCED = "1.2.840.10008.5.1.4.1.1.2.2"
_MULTI_FRAME = (_ENHANCED, _LEGACY_ENHANCED)
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
    "Manufacturer",
    "ManufacturerModelName",
    "KVP",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceLocation",
    "SliceThickness",
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
]


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
    modality, image_type, body_part, label, description, kernel, contrast
        Upper case; ``label`` is the series description, ``description`` joins series, study and protocol.
    position, orientation, spacing
        ``(3,)``, ``(6,)``, ``(2,)`` or None where absent or not to be used.
    thickness, location, number
        Or None.
    rows, columns, samples, bits_allocated, bits_stored
        0 where absent.
    photometric, transfer_syntax
        Their names.
    lossy
        Stored with lossy compression.
    facts
        Manufacturer, model, kernel, tube voltage: to be shown.
    """

    file: InputFile
    frame: int | None
    n_frames: int
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    patient: str
    modality: str
    image_type: tuple[str, ...]
    body_part: str
    label: str
    description: str
    kernel: str
    contrast: str
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: NDArray[np.float64] | None
    thickness: float | None
    location: float | None
    number: int | None
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    photometric: str
    transfer_syntax: str
    lossy: bool
    facts: dict[str, str]


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
            if _text(data, "SOPClassUID") in _MULTI_FRAME:
                data = open_dataset(file, limits)
            return _headers_of(data, file, limits)
    except RecursionError:
        raise limits.refuse(file.name, "sequence_depth", "sequences nested too deeply to be read") from None
    except MemoryError:
        raise refusal("limit_memory", file.name) from None
    except READ_ERRORS as error:
        raise unreadable(file.name, f"a header that cannot be parsed ({type(error).__name__})") from None


def _headers_of(data: Dataset, file: InputFile, limits: Limits) -> list[SliceHeader]:
    meta = getattr(data, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID", None) if meta is not None else None
    frames = _integer(data, "NumberOfFrames") or 1
    if frames < 1:
        raise unreadable(file.name, f"{frames} frames", "at least one")
    if frames > limits.frames:
        raise limits.refuse(file.name, "frames", f"{frames:,} frames")
    rows, columns = _integer(data, "Rows") or 0, _integer(data, "Columns") or 0
    if rows < 0 or columns < 0 or rows * columns > limits.pixels:
        raise limits.refuse(file.name, "pixels", f"{rows} x {columns} pixels")
    kernel = _text(data, "ConvolutionKernel")
    facts = {
        "manufacturer": _text(data, "Manufacturer"),
        "model": _text(data, "ManufacturerModelName"),
        "kernel": kernel,
        "tube voltage": f"{kvp:g} kV" if (kvp := _number(data, "KVP")) else "",
        "transfer syntax": getattr(syntax, "name", "") if syntax else "",
    }
    header = SliceHeader(
        file=file,
        frame=None,
        n_frames=frames,
        study_uid=_text(data, "StudyInstanceUID"),
        series_uid=_text(data, "SeriesInstanceUID"),
        sop_uid=_text(data, "SOPInstanceUID"),
        sop_class=_text(data, "SOPClassUID"),
        patient=_text(data, "PatientID"),
        modality=_text(data, "Modality").upper(),
        image_type=tuple(part.strip().upper() for part in _text(data, "ImageType").split("\\")),
        body_part=_text(data, "BodyPartExamined").upper(),
        label=_text(data, "SeriesDescription").upper(),
        description=" ".join(
            _text(data, k) for k in ("SeriesDescription", "StudyDescription", "ProtocolName")
        ).upper(),
        kernel=kernel.upper(),
        contrast=_text(data, "ContrastBolusAgent").upper(),
        position=_floats(data, "ImagePositionPatient", 3),
        orientation=_orientation(_floats(data, "ImageOrientationPatient", 6)),
        spacing=_positive(_floats(data, "PixelSpacing", 2)),
        thickness=_above_zero(_number(data, "SliceThickness")),
        location=_number(data, "SliceLocation"),
        number=_integer(data, "InstanceNumber"),
        rows=rows,
        columns=columns,
        samples=_integer(data, "SamplesPerPixel") or 1,
        bits_allocated=_integer(data, "BitsAllocated") or 0,
        bits_stored=_integer(data, "BitsStored") or 0,
        photometric=_text(data, "PhotometricInterpretation").upper(),
        transfer_syntax=str(syntax or ""),
        lossy=_text(data, "LossyImageCompression") == "01",
        facts={k: shown for k, v in facts.items() if (shown := _printable(v))},
    )
    if header.sop_class in _MULTI_FRAME:
        return [_frame(header, data, k) for k in range(frames)]
    if frames > 1:
        # Frames of one plain object share its position, so that only their number tells them apart.
        return [replace(header, frame=k, number=k + 1, position=None, location=None) for k in range(frames)]
    return [header]


def _frame(header: SliceHeader, data: Dataset, k: int) -> SliceHeader:
    """Complete one frame's header from the functional groups of an enhanced object."""

    def group(name: str) -> Dataset:
        for holder in (
            _item(data, "PerFrameFunctionalGroupsSequence", k),
            _item(data, "SharedFunctionalGroupsSequence"),
        ):
            found = _item(holder, name)
            if found is not None:
                return found
        return Dataset()

    measures, frame_type = (
        group("PixelMeasuresSequence"),
        _text(group("CTImageFrameTypeSequence"), "FrameType"),
    )
    kernel = header.kernel or _text(group("CTReconstructionSequence"), "ConvolutionKernel").upper()
    agents = header.contrast or _text(data, "ContrastBolusAgentSequence").upper()
    return replace(
        header,
        frame=k,
        position=_floats(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=_orientation(_floats(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)),
        spacing=_positive(_floats(measures, "PixelSpacing", 2)),
        thickness=_above_zero(_number(measures, "SliceThickness")),
        number=k + 1,
        image_type=tuple(p.strip().upper() for p in frame_type.split("\\"))
        if frame_type
        else header.image_type,
        kernel=kernel,
        contrast=agents,
        body_part=header.body_part or _text(group("FrameAnatomySequence"), "AnatomicRegionSequence").upper(),
    )


def _item(holder: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    sequence = holder.get(keyword) if holder is not None else None
    return sequence[index] if sequence is not None and len(sequence) > index else None


def _text(data: Dataset, keyword: str) -> str:
    try:
        value: Any = data.get(keyword)
    except READ_ERRORS:
        return ""
    if value is None:
        return ""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return str(value).strip("\0 ")
    if keyword.endswith("Sequence"):
        return " ".join(_text(item, "CodeMeaning") for item in value)
    return "\\".join(str(v) for v in value)


def _printable(text: str) -> str:
    """Keep what comes before anything that is no text.

    A forged length makes an element reach into those behind it, which may name the patient.
    """
    return "".join(takewhile(str.isprintable, text.strip()))[:120]


def _floats(data: Dataset, keyword: str, n: int) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(v) for v in data.get(keyword)], dtype=np.float64)
    except READ_ERRORS:
        return None
    return (
        values if values.shape == (n,) and np.isfinite(values).all() and np.abs(values).max() < 1e6 else None
    )


def _number(data: Dataset, keyword: str) -> float | None:
    try:
        value = float(data.get(keyword))
    except READ_ERRORS:
        return None
    return value if np.isfinite(value) and abs(value) < 1e6 else None


def _integer(data: Dataset, keyword: str) -> int | None:
    try:
        return int(data.get(keyword))
    except READ_ERRORS:
        return None


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


def _positive(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return values if values is not None and (values > 0.01).all() and (values < 20).all() else None


def _above_zero(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None

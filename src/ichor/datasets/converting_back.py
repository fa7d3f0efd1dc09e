"""Pictures back to a DICOM series: CT with the rescale that returns their HU, or secondary capture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from ichor.datasets.items import PICTURE_NAMES
from ichor.datasets.rendering import EXAM_FILE
from ichor.errors import UsageError
from ichor.preparing.windows import Window, from_grey
from ichor.uids import hashed_uid

__all__ = ["AssumedGeometry", "merge_windows", "picture_folders", "write_series"]

_GREY_ENDS = (0, 255)


@dataclass(frozen=True)
class AssumedGeometry:
    """What to take for pictures without an ``exam.json``.

    Attributes
    ----------
    window
        What they show.
    spacing_mm
        Between pixels.
    step_mm
        Between slices, which follow each other by their names, upward.
    """

    window: Window
    spacing_mm: float
    step_mm: float


def picture_folders(paths: Sequence[Path]) -> list[Path]:
    """Return every folder at or below some paths that holds pictures.

    Raises
    ------
    UsageError
        Where there is none.
    """
    found = []
    for path in paths:
        inside = [path, *sorted(p for p in path.rglob("*") if p.is_dir())] if path.is_dir() else []
        holding = [p for p in inside if _pictures(p)]
        if not holding:
            raise UsageError(f"{path}: found no folder with pictures; expected PNG files; check the path")
        found += holding
    return found


def write_series(
    folder: Path, output: Path, kind: Literal["ct", "sc"] = "ct", assumed: AssumedGeometry | None = None
) -> Path:
    """Write one exam's pictures as a DICOM series.

    Parameters
    ----------
    folder
        Of pictures, with the ``exam.json`` of :func:`ichor.datasets.rendering.write_pictures` or without.
    output
        A folder for the series is made in it.
    kind
        ``ct``: CT images in HU, as far as the windows let through. ``sc``: secondary captures of the greys.
    assumed
        For pictures without ``exam.json``.

    Returns
    -------
    pathlib.Path
        The series' folder, with one file a slice.

    Raises
    ------
    UsageError
        Where pictures are missing, cannot be read, or what they show is not known.
    """
    record = _record(folder, assumed)
    origin = record["series_uid"] or str(folder.resolve())
    series = hashed_uid(f"{origin}/{kind}")
    study = record["study_uid"] or hashed_uid(f"{origin}/study")
    target = output / series
    target.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(record["slices"], start=1):
        greys = {name: _grey(folder / file) for name, file in entry["files"].items()}
        written = _header(study, series, number, kind)
        if kind == "ct":
            written.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
            _place(written, record, entry)
            windows = {name: Window(*values) for name, values in record["windows"].items()}
            _set_hu(
                written, merge_windows(greys, windows, rgb=record["rgb"]), min(windows.values(), key=_width)
            )
        else:
            written.ImageType = ["DERIVED", "SECONDARY"]
            written.ConversionType = "WSD"
            _set_grey(written, next(iter(greys.values())))
        written.save_as(target / f"{number:04d}.dcm", enforce_file_format=True)
    return target


def merge_windows(
    greys: dict[str, NDArray[np.uint8]], windows: dict[str, Window], *, rgb: bool = False
) -> NDArray[np.int16]:
    """Return HU from one slice in some windows: each pixel from the narrowest that does not clip it.

    Parameters
    ----------
    greys
        ``(rows, columns)`` by window; where ``rgb``, one ``(rows, columns, 3)`` in the windows' order.
    windows
        By the same names.
    rgb
        Whether the windows are channels.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)``; within half a grey step of the window used.
    """
    if rgb:
        (channels,) = greys.values()
        greys = {name: channels[..., k] for k, name in enumerate(windows)}
    widest_first = sorted(greys, key=lambda name: -windows[name].width)
    hu = from_grey(greys[widest_first[0]], windows[widest_first[0]])
    for name in widest_first[1:]:
        clear = ~np.isin(greys[name], _GREY_ENDS)
        hu = np.where(clear, from_grey(greys[name], windows[name]), hu)
    return np.asarray(hu, np.int16)


def _header(study: str, series: str, number: int, kind: Literal["ct", "sc"]) -> Dataset:
    """Return what every image of a series holds, besides what it shows."""
    written = Dataset()
    written.file_meta = FileMetaDataset()
    written.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written.SOPClassUID = CTImageStorage if kind == "ct" else SecondaryCaptureImageStorage
    written.SOPInstanceUID = hashed_uid(f"{series}/{number}")
    written.file_meta.MediaStorageSOPClassUID = written.SOPClassUID
    written.file_meta.MediaStorageSOPInstanceUID = written.SOPInstanceUID
    written.StudyInstanceUID, written.SeriesInstanceUID = study, series
    written.FrameOfReferenceUID = hashed_uid(f"{study}/frame")
    written.Modality = "CT" if kind == "ct" else "OT"
    # Required of every image, and known of none.
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
    ):
        setattr(written, keyword, "")
    written.AccessionNumber = written.ReferringPhysicianName = written.StudyID = ""
    written.SeriesNumber, written.InstanceNumber = "1", str(number)
    written.SeriesDescription = "Pictures, as CT" if kind == "ct" else "Pictures"
    written.PatientIdentityRemoved = "YES"
    written.DeidentificationMethod = "No patient data were in the pictures' record"
    return written


def _width(window: Window) -> float:
    return window.width


def _set_hu(written: Dataset, hu: NDArray[np.int16], window: Window) -> None:
    written.RescaleIntercept, written.RescaleSlope, written.RescaleType = "-1024", "1", "HU"
    written.WindowCenter, written.WindowWidth = f"{window.level:g}", f"{window.width:g}"
    _pixels(written, np.clip(hu.astype(np.int32) + 1024, 0, 65535).astype("<u2"), 16)


def _set_grey(written: Dataset, grey: NDArray[np.uint8]) -> None:
    _pixels(written, grey, 8)


def _pixels(written: Dataset, pixels: NDArray[Any], bits: int) -> None:
    colour = pixels.ndim == 3
    written.SamplesPerPixel = 3 if colour else 1
    written.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        written.PlanarConfiguration = 0
    written.Rows, written.Columns = (int(n) for n in pixels.shape[:2])
    written.BitsAllocated = written.BitsStored = bits
    written.HighBit, written.PixelRepresentation = bits - 1, 0
    data = np.ascontiguousarray(pixels).tobytes()
    written.PixelData = data + b"\0" * (len(data) % 2)
    written["PixelData"].VR = "OW" if bits == 16 else "OB"


def _place(written: Dataset, record: dict[str, Any], entry: dict[str, Any]) -> None:
    written.ImageOrientationPatient = [
        f"{v:.8g}" for v in (*record["row_direction"], *record["column_direction"])
    ]
    written.ImagePositionPatient = [f"{v:.8g}" for v in entry["position"]]
    written.PixelSpacing = [f"{v:.8g}" for v in record["spacing"]]
    written.SliceThickness = f"{entry['thickness']:.6g}" if entry["thickness"] else ""
    written.KVP, written.AcquisitionNumber = "", ""
    written.PositionReferenceIndicator = ""


_KEYS = (
    "windows",
    "rgb",
    "row_direction",
    "column_direction",
    "spacing",
    "study_uid",
    "series_uid",
    "slices",
)


def _record(folder: Path, assumed: AssumedGeometry | None) -> dict[str, Any]:
    paths = sorted(folder.glob("*.json"))
    if paths:
        parts = [_read_record(path) for path in paths]
        record = parts[0]
        for path, part in zip(paths, parts, strict=True):
            if any(part[key] != record[key] for key in _KEYS[:-1]):
                raise UsageError(
                    f"{path}: found another look or series than its neighbours; expected the same"
                )
        normal = np.cross(record["row_direction"], record["column_direction"])
        slices = [entry for part in parts for entry in part["slices"]]
        upward = sorted(
            slices, key=lambda entry: float(np.dot(entry["position"], normal * np.sign(normal[2] or 1)))
        )
        return record | {"slices": upward}
    if assumed is None:
        raise UsageError(
            f"{folder}: found no {EXAM_FILE}; expected the record that ichor data convert writes; without it, "
            "give --window, --spacing and --step"
        )
    pictures = _pictures(folder)
    return {
        "windows": {"plain": (assumed.window.level, assumed.window.width)},
        "rgb": False,
        "row_direction": [1, 0, 0],
        "column_direction": [0, 1, 0],
        "spacing": [assumed.spacing_mm] * 2,
        "study_uid": "",
        "series_uid": "",
        "slices": [
            {
                "files": {"plain": p.name},
                "position": [0, 0, k * assumed.step_mm],
                "thickness": assumed.step_mm,
            }
            for k, p in enumerate(pictures)
        ],
    }


def _read_record(path: Path) -> dict[str, Any]:
    wrote = "expected what ichor data convert wrote"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = [str(file) for entry in record["slices"] for file in entry["files"].values()]
        absent = [key for key in _KEYS if key not in record]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: found no record of pictures ({type(error).__name__}); {wrote}") from None
    if absent:
        raise UsageError(f"{path}: found no {absent[0]}; {wrote}")
    missing = [file for file in files if Path(file).name != file or not (path.parent / file).is_file()]
    if missing:
        raise UsageError(
            f"{path}: found {len(missing)} pictures missing, first {missing[0]}; {wrote}; convert again"
        )
    return record


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_NAMES)


def _grey(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image if image.mode in ("L", "RGB") else image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"{path}: found no picture ({type(error).__name__}); expected PNG; convert again"
        ) from None

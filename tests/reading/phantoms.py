"""Synthetic CT series of a head whose Hounsfield units are known at every point of the patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.context import ReadContext
from ichor.reading.dicom import read_dicom
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits

AIR, BRAIN, BONE, BEAD = -1000, 32, 900, 1500
BEAD_CENTRE = np.array([30.0, -40.0, 20.0])
ORDINARY_LIMITS = Limits()
SECRETS = ("Doe^Jane", "PID-4711", "19610203", "Secret Hospital")


def head_hu(points: np.ndarray) -> np.ndarray:
    """HU at patient points ``(..., 3)`` mm: brain in a shell of bone, one off-centre bead, air around."""
    r = np.sqrt(((points / [70.0, 90.0, 80.0]) ** 2).sum(axis=-1))
    hu = np.where(r < 0.85, BRAIN, np.where(r < 1, BONE, AIR))
    return np.where(np.linalg.norm(points - BEAD_CENTRE, axis=-1) < 12, BEAD, hu)


@dataclass(frozen=True)
class Plan:
    """How a synthetic series is laid out."""

    n: int = 22
    step: float = 6.5
    row: tuple[float, float, float] = (1, 0, 0)
    column: tuple[float, float, float] = (0, 1, 0)
    shear: tuple[float, float, float] = (0, 0, 0)
    """mm that each slice's origin is moved against the one before, besides the step along the normal."""
    shape: tuple[int, int] = (64, 72)
    spacing: tuple[float, float] = (3.4, 3.0)


def positions(plan: Plan) -> np.ndarray:
    """``(n, 3)`` centre of the first voxel of each slice, towards the vertex."""
    row, column = np.array(plan.row, float), np.array(plan.column, float)
    normal = np.cross(row, column)
    normal = -normal if normal[2] < 0 else normal
    k = (np.arange(plan.n) - (plan.n - 1) / 2)[:, None]
    corner = (plan.shape[0] - 1) / 2 * plan.spacing[0] * column + (plan.shape[1] - 1) / 2 * plan.spacing[
        1
    ] * row
    return k * (plan.step * normal + np.array(plan.shear, float)) - corner


def slice_points(plan: Plan, position: np.ndarray) -> np.ndarray:
    """``(rows, columns, 3)`` patient coordinates of a slice's voxels."""
    i, j = np.mgrid[: plan.shape[0], : plan.shape[1]]
    return (
        position
        + i[..., None] * plan.spacing[0] * np.array(plan.column, float)
        + j[..., None] * plan.spacing[1] * np.array(plan.row, float)
    )


def base_dataset(series: str, study: str, *, sop_class: str = CTImageStorage) -> Dataset:
    """A data set with everything but geometry and pixels, and a patient whose name must never show."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.SOPClassUID = sop_class
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.PatientName, data.PatientID, data.PatientBirthDate, data.InstitutionName = SECRETS
    data.StudyDate = "20200102"
    data.Modality = "CT"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.BodyPartExamined = "HEAD"
    data.SeriesDescription, data.ConvolutionKernel = "Head 5.0", "H31s"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    return data


def store_hu(data: Dataset, hu: np.ndarray, slope: float = 1, intercept: float = -1024) -> None:
    """Write HU as pixels with a rescale."""
    values = np.rint((hu - intercept) / slope)
    data.Rows, data.Columns = hu.shape[-2:]
    kind = np.int16 if data.PixelRepresentation else np.uint16
    data.PixelData = values.astype(kind).tobytes()
    data.RescaleSlope, data.RescaleIntercept = slope, intercept


def head_series(plan: Plan = Plan(), *, series: str = "", study: str = "") -> list[Dataset]:
    """One data set a slice, towards the vertex."""
    series, study = series or generate_uid(), study or generate_uid()
    out = []
    for k, position in enumerate(positions(plan)):
        data = base_dataset(series, study)
        data.ImagePositionPatient = [float(v) for v in position]
        data.ImageOrientationPatient = [float(v) for v in (*plan.row, *plan.column)]
        data.PixelSpacing = [float(v) for v in plan.spacing]
        data.SliceThickness, data.InstanceNumber = plan.step, k + 1
        store_hu(data, head_hu(slice_points(plan, position)))
        out.append(data)
    return out


def enhanced(
    plan: Plan = Plan(), *, order: Sequence[int] | None = None, slopes: Sequence[float] = (1.0,)
) -> Dataset:
    """The same head as one enhanced multi-frame object; ``order`` permutes its frames."""
    data = base_dataset(generate_uid(), generate_uid(), sop_class=EnhancedCTImageStorage)
    del data.ConvolutionKernel
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(plan.spacing), plan.step
    orientation.ImageOrientationPatient = [float(v) for v in (*plan.row, *plan.column)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    where = positions(plan)
    groups, pixels = [], []
    for f, k in enumerate(order if order is not None else range(plan.n)):
        group, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [float(v) for v in where[k]]
        slope = slopes[f % len(slopes)]
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, -1024, "HU"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [scale]
        groups.append(group)
        pixels.append(np.rint((head_hu(slice_points(plan, where[k])) + 1024) / slope).astype(np.int16))
    data.PerFrameFunctionalGroupsSequence = groups
    data.NumberOfFrames = len(groups)
    data.Rows, data.Columns = plan.shape
    data.PixelData = np.stack(pixels).tobytes()
    return data


def write(folder: Path, datasets: Iterable[Dataset], prefix: str = "") -> Path:
    """Write data sets under names that tell nothing of their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, data in enumerate(datasets):
        data.save_as(folder / f"{prefix}{k * 7919 % 1009:04d}-{k}", enforce_file_format=True)
    return folder


def read(
    path: Path,
    *,
    series: str | None = None,
    limits: Limits = ORDINARY_LIMITS,
    single_file: bool | None = None,
) -> list[Exam | RefusedInput]:
    """Read a folder, or one file, as the command does."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    single = path.is_file() if single_file is None else single_file
    context = ReadContext.begin(path.name, limits, series=series, single_file=single)
    return list(read_dicom([InputFile(p, str(p.relative_to(path.parent))) for p in files], context))


def read_one(path: Path, **options: object) -> Exam:
    """Read what must be one exam."""
    (result,) = read(path, **options)  # type: ignore[arg-type]
    if isinstance(result, RefusedInput):
        raise result
    return result


def refusal(path: Path, **options: object) -> RefusedInput:
    """Read what must be one refusal."""
    (result,) = read(path, **options)  # type: ignore[arg-type]
    assert isinstance(result, RefusedInput), f"read as an exam with {[n.code for n in result.notices]}"
    return result


def codes(result: Exam | RefusedInput) -> set[str]:
    """Codes of the notices."""
    return {n.code for n in result.notices}


def expected_volume(exam: Exam) -> np.ndarray:
    """The phantom's HU where the exam's geometry says its voxels lie."""
    grid = np.stack(np.meshgrid(*map(np.arange, exam.volume.shape), indexing="ij"), axis=-1)
    return head_hu(exam.geometry.voxel_to_patient(grid))

"""Make the example exam of ``ichor demo``: a head averaged from normal exams, with a simulated bleed.

Usage: python scripts/make_demo_exam.py DATA [OUT [MEAN.mha]]   (MEAN keeps the mean for another try)

Twelve normal adult exams of CT-ICH (Hssayeni et al., Data 2020, 5(1):14; CC BY 4.0), each also mirrored, are
registered to their evolving mean and averaged: no patient's exam is in the result, nor one's shape. Into the
mean go the noise of a 5 mm slice and a hematoma of known volume in the left basal ganglia, with a rim of
oedema. Written: ``demo.zip`` (DICOM, JPEG-LS lossless), ``truth.json`` (volume and outline of the bleed) and
``PROVENANCE.md``. Needs SimpleITK (pip install SimpleITK), which ichor itself does not. Takes some minutes.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless
from scipy import ndimage

from ichor.datasets.ct_ich import CtIch
from ichor.exam import hashed_uid
from ichor.preparing import GridSpec, plan_grid

PATIENTS = ("098", "055", "057", "096", "099", "102", "103", "109", "111", "115", "117", "124")
"""Normal adults without fracture, lying straight, chosen by eye; the first gives the frame, not the shape."""
GRID = GridSpec(352, 288, 0.06, 5.0, border=16)
PIXEL_MM, STEP_MM, SIDE = 0.45, 5.0, 480
FIRST_MM = 32.0
"""Below this height the mean is blurred beyond use: necks bend, jaws open."""
SLICES, AIR_SLICES = 22, 6
VERTEX = 20
"""From this slice on the mean is hollow (heads end at different heights): the calvaria is closed by hand."""
NOISE_HU = 4.0
BLEED_ML = 22.0
BLEED_HU, OEDEMA_HU = 66.0, 24.0
SEED = 7
SYNTHETIC = "ichor demo: simulated, averaged from CT-ICH (Hssayeni et al. 2020, CC BY 4.0), no patient"


def main(data: Path, out: Path, kept: Path | None) -> None:
    """Make the exam and write it."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    if kept is not None and kept.is_file():
        mean = sitk.ReadImage(str(kept))
    else:
        mean = average([i for patient in PATIENTS for i in load(CtIch(data / "ct-ich"), patient)])
        if kept is not None:
            sitk.WriteImage(mean, str(kept))
    volume = resample(mean)
    volume, mask = bleed(close_vertex(crispen(volume)))
    volume = noise(volume)
    out.mkdir(parents=True, exist_ok=True)
    write(volume, mask, out)


def load(dataset: CtIch, patient: str) -> list[sitk.Image]:
    """One exam on the head's own grid, and its mirror image."""
    exam = dataset.load(patient).exam
    transform = plan_grid(exam.volume, exam.geometry, GRID)
    hu = np.clip(transform.to_grid(exam.volume), -1000, 1500)
    # Air above the vertex, so that registration has the whole of it to hold on to.
    hu = np.concatenate([hu, np.full((AIR_SLICES, *hu.shape[1:]), -1000.0)])
    images = []
    for array in (hu, hu[:, :, ::-1]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
        image.SetSpacing((transform.pixel_mm, transform.pixel_mm, STEP_MM))
        image.SetOrigin((-transform.pixel_mm * 144, -transform.pixel_mm * 176, 0.0))
        images.append(image)
    return images


def average(images: list[sitk.Image]) -> sitk.Image:
    """Mean of all images in their common frame: affine, then two rounds of demons to the mean of the last."""
    fixed = images[0]
    moved = [images[0], *(affine(fixed, image) for image in images[1:])]
    mean = mean_of(moved)
    for smoothing in (2.0, 1.3):
        moved = [demons(mean, image, smoothing) for image in moved]
        mean = mean_of(moved)
        print("round done", flush=True)
    return mean


def mean_of(images: list[sitk.Image]) -> sitk.Image:
    """Trimmed mean a voxel: the highest and lowest sixth do not count."""
    stack = np.sort(np.stack([sitk.GetArrayViewFromImage(i) for i in images]), axis=0)
    cut = len(images) // 6
    mean = sitk.GetImageFromArray(stack[cut : len(images) - cut].mean(axis=0))
    mean.CopyInformation(images[0])
    return mean


def looks(image: sitk.Image) -> sitk.Image:
    """Show what registration compares: soft tissue and bone on one scale, at half the resolution."""
    clipped = sitk.IntensityWindowing(image, -100, 300, 0, 100)
    return sitk.SmoothingRecursiveGaussian(clipped, 1.2)[::2, ::2, :]


def affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Image:
    """Bring one image to another's frame by translation, rotation, scale and shear."""
    a, b = looks(fixed), looks(moving)
    start = sitk.CenteredTransformInitializer(
        a, b, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescentLineSearch(1.0, 40)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start)
    return sitk.Resample(moving, fixed, method.Execute(a, b), sitk.sitkLinear, -1000.0)


def demons(fixed: sitk.Image, moving: sitk.Image, smoothing: float) -> sitk.Image:
    """Warp one image onto another; the field is found at half the resolution and applied at the whole."""
    method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    method.SetNumberOfIterations(25)
    method.SetStandardDeviations(smoothing)
    field = method.Execute(looks(fixed), looks(moving))
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    return sitk.Resample(moving, fixed, transform, sitk.sitkLinear, -1000.0)


def resample(mean: sitk.Image) -> NDArray[np.float32]:
    """Bring the mean to the exam's own grid."""
    frame = sitk.Image(SIDE, SIDE, SLICES, sitk.sitkFloat32)
    frame.SetSpacing((PIXEL_MM, PIXEL_MM, STEP_MM))
    frame.SetOrigin((-PIXEL_MM * SIDE / 2, -PIXEL_MM * SIDE / 2, FIRST_MM))
    return sitk.GetArrayFromImage(sitk.Resample(mean, frame, sitk.Transform(), sitk.sitkBSpline, -1000.0))


def crispen(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo some of the blur of averaging in soft tissue, and make air air."""
    # Smoothed among soft tissue only: bone must not cast a dark rim on the brain beside it.
    soft = ((volume > -30) & (volume < 90)).astype(np.float32)
    weight = ndimage.gaussian_filter(soft, (0, 2.2, 2.2))
    smooth = ndimage.gaussian_filter(volume * soft, (0, 2.2, 2.2)) / np.maximum(weight, 1e-3)
    sharp = volume + 1.1 * soft * (volume - smooth)
    head = ndimage.binary_opening(ndimage.gaussian_filter(volume, (0, 1, 1)) > -350, np.ones((1, 7, 7)))
    labels, _ = ndimage.label(head)
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    near = np.stack([ndimage.binary_dilation(ndimage.binary_fill_holes(s), iterations=2) for s in largest])
    return np.where(near, np.clip(sharp, -1000, 1600), -1000).astype(np.float32)


def close_vertex(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill the topmost slices: the last brain, then bone, as a 5 mm slice through the vertex shows."""
    out = volume.copy()
    for k in range(VERTEX, len(volume)):
        outline = np.pad(volume[k] > -300, 60)
        outline = ndimage.binary_fill_holes(ndimage.binary_closing(outline, iterations=50))[60:-60, 60:-60]
        depth = ndimage.distance_transform_edt(outline) * PIXEL_MM
        floor = (
            np.where(depth > 12, 34.0, 0.0)
            if k == VERTEX
            else np.where(depth > 5, 420 + 15 * np.minimum(depth, 14), 0)
        )
        soft = ndimage.gaussian_filter(np.maximum(volume[k], np.where(outline, floor, -1000)), 1.5)
        out[k] = np.where(volume[k] < floor, soft, volume[k])
        out[k][~outline] = -1000
    return out


def bleed(volume: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Put a lobulated hematoma of known volume into the left basal ganglia."""
    rng = np.random.default_rng(SEED)
    n, rows, columns = volume.shape
    brain = ndimage.gaussian_filter((volume > 0) & (volume < 80), (0, 3, 3), output=np.float32)
    areas = (brain > 0.5).sum(axis=(1, 2))
    level = int(np.argmax(areas[n // 4 : 3 * n // 4])) + n // 4 + 1
    z, y, x = np.mgrid[:n, :rows, :columns].astype(np.float32)
    inside = np.argwhere(brain[level] > 0.5)
    cy, cx = inside.mean(axis=0)
    wide = np.ptp(inside[:, 1]) * PIXEL_MM
    # The patient's left is on the picture's right.
    centre = np.array([level * STEP_MM, cy * PIXEL_MM - 4.0, cx * PIXEL_MM + 0.2 * wide])
    point = np.stack([z * STEP_MM, y * PIXEL_MM, x * PIXEL_MM], axis=-1) - centre
    rough = ndimage.gaussian_filter(rng.normal(size=volume.shape).astype(np.float32), (1.0, 14, 14))
    rough /= rough.std()
    lobes = [((0, 0, 0), (14, 17, 11)), ((3, 13, 3), (11, 11, 8)), ((-4, -10, 2), (10, 9, 9))]
    distance = np.min(
        [np.sqrt(sum(((point[..., a] - c[a]) / r[a]) ** 2 for a in range(3))) for c, r in lobes], axis=0
    )
    distance = distance * (1 + 0.09 * rough)
    voxel_ml = PIXEL_MM**2 * STEP_MM / 1000
    order = np.sort(distance.ravel())
    edge = float(order[int(BLEED_ML / voxel_ml)])
    mask = distance < edge
    alpha = ndimage.gaussian_filter(mask.astype(np.float32), (0.35, 1.3, 1.3))
    rim = ndimage.gaussian_filter((distance < edge * 1.3).astype(np.float32), (0.5, 4, 4)) * (1 - alpha)
    out = volume + 0.75 * rim * np.minimum(0, OEDEMA_HU - volume) * (volume < 60)
    texture = BLEED_HU + 3.0 * ndimage.gaussian_filter(rng.normal(size=volume.shape), (0.5, 6, 6)) * 6
    return (out + alpha * (texture - out)).astype(np.float32), mask


def noise(volume: NDArray[np.float32]) -> NDArray[np.int16]:
    """Add the grainy noise of a standard kernel; air outside stays even, so that it packs well."""
    rng = np.random.default_rng(SEED + 1)
    grain = ndimage.gaussian_filter(rng.normal(size=volume.shape), (0, 0.9, 0.9))
    grain -= 0.6 * ndimage.gaussian_filter(grain, (0, 2.5, 2.5))
    grain *= NOISE_HU / grain.std()
    noisy = np.where(volume > -995, volume + grain, -1000)
    return np.rint(np.clip(noisy, -1000, 2000)).astype(np.int16)


def write(volume: NDArray[np.int16], mask: NDArray[np.bool_], out: Path) -> None:
    """Write the DICOM series as a zip, the truth, and where it all comes from."""
    with zipfile.ZipFile(out / "demo.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, plane in enumerate(volume):
            buffer = io.BytesIO()
            dicom(plane, k).save_as(buffer, enforce_file_format=True)
            entry = zipfile.ZipInfo(f"demo/{k + 1:03d}.dcm", date_time=(2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED)
    voxel_ml = PIXEL_MM**2 * STEP_MM / 1000
    where = np.argwhere(mask)
    truth = {
        "label": "intraparenchymal",
        "volume_ml": round(float(mask.sum() * voxel_ml), 3),
        "slices": sorted({int(k) for k in where[:, 0]}),
        "first_voxel": where.min(axis=0).tolist(),
        "last_voxel": where.max(axis=0).tolist(),
        "centre_voxel": [round(float(v), 2) for v in where.mean(axis=0)],
    }
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    (out / "PROVENANCE.md").write_text(
        "# The example exam\n\n"
        "Made by `scripts/make_demo_exam.py`: the mean of twelve normal exams of CT-ICH and their mirror "
        "images, "
        "registered to each other, with a simulated hematoma. It is no patient's exam.\n\n"
        "Source: Hssayeni M. D. et al., Intracranial Hemorrhage Segmentation Using a Deep Convolutional "
        "Model, "
        "Data 2020, 5(1):14; PhysioNet ct-ich v1.2.0. Licence of source and result: CC BY 4.0.\n"
    )


def dicom(plane: NDArray[np.int16], k: int) -> FileDataset:
    """One CT image, JPEG-LS lossless."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = hashed_uid(f"ichor demo slice {k}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = (
        hashed_uid("ichor demo study"),
        hashed_uid("ichor demo series"),
    )
    image.FrameOfReferenceUID = hashed_uid("ichor demo frame")
    image.PatientName, image.PatientID = "ichor^demo", "ichor-demo"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = ""
    image.AccessionNumber = image.ReferringPhysicianName = image.StudyID = ""
    image.Modality, image.Manufacturer, image.BodyPartExamined = "CT", "ichor", "HEAD"
    image.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    image.SeriesDescription, image.ImageComments = "HEAD 5.0 simulated", SYNTHETIC
    image.SeriesNumber, image.InstanceNumber = 1, k + 1
    image.ImagePositionPatient = [-PIXEL_MM * SIDE / 2, -PIXEL_MM * SIDE / 2, k * STEP_MM]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [PIXEL_MM, PIXEL_MM], STEP_MM
    image.Rows, image.Columns = plane.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.RescaleSlope, image.RescaleIntercept = 1, -1024
    image.WindowCenter, image.WindowWidth = 40, 80
    image.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
    image.compress(JPEGLSLossless, generate_instance_uid=False)
    return image


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    default = Path(__file__).parents[1] / "src" / "ichor" / "demo"
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else default,
        Path(sys.argv[3]) if len(sys.argv) > 3 else None,
    )

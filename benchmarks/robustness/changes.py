"""The same exam as another scanner, protocol or archive would have sent it: the changes that are measured.

Each change takes an exam and gives another, with the place of each of its slices in the first one.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import gdcm
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import fft, ndimage

import ichor
from ichor.exam import AIR_HU, Exam, Geometry
from ichor.preparing.head import head_boxes, robust_box
from ichor.preparing.windows import Window, from_grey

Volume = NDArray[np.int16]
BRAIN = Window(40, 80)
NOISE_PEAK = 0.25
"""Of the noise that is added, cycles per mm: its power spectrum is a ramp cut off by a Gaussian."""


@dataclass(frozen=True)
class Change:
    """A change of an exam.

    Attributes
    ----------
    name
        For the table.
    how
        In a sentence.
    make
        Gives the changed exam, and ``(n,)`` for each slice of the first exam the slice that now stands for it.
    """

    name: str
    how: str
    make: Callable[[Exam], tuple[Exam, NDArray[np.intp]]]


def _same(change: Callable[[Exam], Exam]) -> Callable[[Exam], tuple[Exam, NDArray[np.intp]]]:
    return lambda exam: (change(exam), np.arange(exam.n_slices))


def _with(exam: Exam, volume: NDArray[np.floating] | Volume, geometry: Geometry | None = None) -> Exam:
    if volume.dtype != np.int16:
        volume = np.clip(np.rint(volume), AIR_HU, 4000)
    whole = np.ascontiguousarray(volume, np.int16)
    return replace(exam, volume=whole, geometry=geometry or exam.geometry)


def planes(volume: Volume, change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Volume:
    """Change each slice by itself; air lies around it."""
    changed = [change(plane.astype(np.float32)) for plane in volume]
    return np.clip(np.rint(np.stack(changed)), AIR_HU, 4000).astype(np.int16)


# -- place and slices ----------------------------------------------------------------------------------


def mirrored(exam: Exam) -> Exam:
    """Left and right changed: the mirror image of the patient."""
    return _with(exam, exam.volume[:, :, ::-1])


def upside_down(exam: Exam) -> Exam:
    """Rows the other way round, while the geometry says otherwise."""
    return _with(exam, exam.volume[:, ::-1])


def stack_reversed(exam: Exam) -> Exam:
    """Slices the other way round, while the geometry says otherwise; :func:`_backwards` carries scores back."""
    return _with(exam, exam.volume[::-1])


def _backwards(exam: Exam) -> tuple[Exam, NDArray[np.intp]]:
    return stack_reversed(exam), np.arange(exam.n_slices)[::-1]


def stored_reversed(exam: Exam) -> Exam:
    """All three axes stored the other way round as the affine states, written as NIfTI and read by ichor."""
    affine = exam.geometry.affine()
    flip = np.eye(4)
    shape = exam.volume.shape[::-1]  # columns, rows, slices
    for axis in range(3):
        flip[axis, axis], flip[axis, 3] = -1, shape[axis] - 1
    lps_to_ras = np.diag([-1.0, -1, 1, 1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.nii"
        array = np.ascontiguousarray(exam.volume.transpose(2, 1, 0)[::-1, ::-1, ::-1])
        nibabel.save(nibabel.Nifti1Image(array, lps_to_ras @ affine @ flip), path)
        read = ichor.read(path)
    if not isinstance(read, Exam):
        raise TypeError("expected an exam")
    known = replace(read.geometry, spacing_known=exam.geometry.spacing_known)
    return replace(read, geometry=known)


def rotated(degrees: float) -> Callable[[Exam], Exam]:
    """In the plane of the slices, about the middle."""

    def change(exam: Exam) -> Exam:
        def turn(plane: NDArray[np.float32]) -> NDArray[np.floating]:
            image = Image.fromarray(plane).rotate(
                degrees, resample=Image.Resampling.BILINEAR, fillcolor=AIR_HU
            )
            return np.asarray(image)

        return _with(exam, planes(exam.volume, turn))

    return change


def thinner(step: float) -> Callable[[Exam], tuple[Exam, NDArray[np.intp]]]:
    """Slices in between, interpolated: as many as a thin exam has, without its detail and its noise."""

    def change(exam: Exam) -> tuple[Exam, NDArray[np.intp]]:
        z = exam.geometry.distances
        n = round(float(z[-1] - z[0]) / step) + 1
        at = np.interp(np.linspace(z[0], z[-1], n), z, np.arange(len(z)))
        below = np.minimum(at.astype(int), len(z) - 2)
        share = (at - below).astype(np.float32)[:, None, None]
        volume = np.empty((n, *exam.volume.shape[1:]), np.int16)
        for k in range(n):
            pair = exam.volume[below[k] : below[k] + 2].astype(np.float32)
            volume[k] = np.rint(pair[0] + share[k] * (pair[1] - pair[0]))
        lines = exam.geometry.positions
        positions = np.stack([np.interp(at, np.arange(len(z)), lines[:, a]) for a in range(3)], axis=1)
        geometry = replace(exam.geometry, positions=positions, thickness=np.full(n, step))
        nearest = np.abs(at[None, :] - np.arange(len(z))[:, None]).argmin(axis=1)
        return _with(exam, volume, geometry), nearest

    return change


def thicker(exam: Exam) -> tuple[Exam, NDArray[np.intp]]:
    """Two slices averaged to one of twice the thickness; a last one without a partner stays out."""
    n = exam.n_slices // 2
    volume = exam.volume[: 2 * n].reshape(n, 2, *exam.volume.shape[1:]).mean(axis=1)
    positions = exam.geometry.positions[: 2 * n].reshape(n, 2, 3).mean(axis=1)
    thickness = np.full(n, 2 * exam.geometry.slice_step)
    geometry = replace(exam.geometry, positions=positions, thickness=thickness)
    return _with(exam, volume, geometry), np.minimum(np.arange(exam.n_slices) // 2, n - 1)


def cropped(margin_mm: float) -> Callable[[Exam], Exam]:
    """Cut to the box of the head, as training finds it, with so much left (or, below 0, cut off) on each side."""

    def change(exam: Exam) -> Exam:
        box = robust_box(*head_boxes(exam.volume))
        if box is None:
            return exam
        pad = np.array(margin_mm) / np.array(exam.geometry.spacing)
        rows, columns = exam.volume.shape[1:]
        r0, c0 = np.maximum(np.rint(box[:2] - pad), 0).astype(int)
        r1, c1 = np.minimum(np.rint(box[2:] + pad), [rows, columns]).astype(int)
        g = exam.geometry
        moved = r0 * g.spacing[0] * g.column_direction + c0 * g.spacing[1] * g.row_direction
        return _with(exam, exam.volume[:, r0:r1, c0:c1], replace(g, positions=g.positions + moved))

    return change


# -- noise and sharpness -------------------------------------------------------------------------------


def noise_sd(volume: Volume, spacing: tuple[float, float]) -> float:
    """Noise of brain in HU: robust SD of what is finer than 3 mm, median over the middle slices."""
    n = len(volume)
    found = []
    for plane in volume[n // 3 : max(2 * n // 3, n // 3 + 1)]:
        hu = np.clip(plane.astype(np.float32), -50, 120)
        smooth = ndimage.gaussian_filter(hu, [3.0 / s / 2 for s in spacing])
        brain = ndimage.binary_erosion((smooth > 20) & (smooth < 50), iterations=round(3 / spacing[0]))
        if brain.sum() > 500:
            rest = (hu - smooth)[brain]
            found.append(1.4826 * float(np.median(np.abs(rest - np.median(rest)))))
    return float(np.median(found)) if found else float("nan")


def _frequencies(shape: tuple[int, int], spacing: tuple[float, float]) -> NDArray[np.float32]:
    """Cycles per mm of each term of ``rfft2``."""
    f = np.hypot(np.fft.fftfreq(shape[0], spacing[0])[:, None], np.fft.rfftfreq(shape[1], spacing[1])[None])
    return np.asarray(f, np.float32)


def half_dose(exam: Exam) -> Exam:
    """Add noise of CT's spectrum, as strong as what is there: the SD grows by the square root of 2."""
    spacing = exam.geometry.spacing
    sd = noise_sd(exam.volume, spacing)
    rng = np.random.default_rng(zlib.crc32(exam.source.input.encode()))
    f = _frequencies(exam.volume.shape[1:], spacing)
    amplitude = np.sqrt(f * np.exp(-((f / NOISE_PEAK) ** 2) / 2))
    noise = rng.standard_normal(exam.volume.shape, np.float32)
    for plane in noise:
        plane[...] = fft.irfft2(fft.rfft2(plane) * amplitude, s=plane.shape)
    noise *= 10 / noise.std()
    # Scaled so that the same measure finds as much of it in a flat brain as the exam has already.
    noise *= sd / noise_sd(np.rint(35 + noise[:6]).astype(np.int16), spacing)
    return _with(exam, exam.volume + noise)


def filtered(response: Callable[[NDArray[np.floating]], NDArray[np.floating]]) -> Callable[[Exam], Exam]:
    """Another reconstruction kernel: the ratio of both frequency responses; the noise goes through it as well."""

    def change(exam: Exam) -> Exam:
        ratio = response(_frequencies(exam.volume.shape[1:], exam.geometry.spacing))
        return _with(exam, planes(exam.volume, lambda p: fft.irfft2(fft.rfft2(p) * ratio, s=p.shape)))

    return change


def soft(f: NDArray[np.floating]) -> NDArray[np.floating]:
    """Half of the response left at 0.4 cycles per mm."""
    return np.asarray(0.5 ** ((f / 0.4) ** 2))


def sharp(f: NDArray[np.floating]) -> NDArray[np.floating]:
    """Twice the response from 0.4 to 0.6 cycles per mm, nothing beyond what was resolved."""
    return np.asarray((1 + 7 * f**2) * np.exp(-((f / 0.65) ** 4)))


# -- archives ------------------------------------------------------------------------------------------


def jpeg_windowed(exam: Exam) -> Exam:
    """As pictures in the brain window (level 40, width 80), JPEG of quality 70, read back as HU 0 to 80."""

    def change(plane: NDArray[np.float32]) -> NDArray[np.floating]:
        file = io.BytesIO()
        Image.fromarray(np.rint(BRAIN.apply(plane) * 255).astype(np.uint8)).save(file, "JPEG", quality=70)
        return from_grey(np.asarray(Image.open(file)), BRAIN).astype(np.float32)

    return _with(exam, planes(exam.volume, change))


def jpeg_dicom(exam: Exam) -> Exam:
    """DICOM's lossy JPEG (Extended, 12 bits, quality 70) by GDCM, there and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"

        def change(plane: NDArray[np.float32]) -> NDArray[np.floating]:
            _write_dicom(plane, path)
            _transcode(path, gdcm.TransferSyntax.JPEGExtendedProcess2_4)
            _transcode(path, gdcm.TransferSyntax.ExplicitVRLittleEndian)
            return pydicom.dcmread(path).pixel_array.astype(np.float32) + AIR_HU

        return _with(exam, planes(exam.volume, change))


def _write_dicom(plane: NDArray[np.float32], path: Path) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = np.clip(np.rint(plane) - AIR_HU, 0, 4095).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


def _transcode(path: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    codec = gdcm.JPEGCodec()
    codec.SetLossless(False)
    codec.SetQuality(70)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    if not reader.Read():
        raise RuntimeError("GDCM cannot read the slice")
    change.SetInput(reader.GetImage())
    if syntax == gdcm.TransferSyntax.JPEGExtendedProcess2_4:
        change.SetUserCodec(codec)
    if not change.Change():
        raise RuntimeError("GDCM cannot change the transfer syntax")
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    if not writer.Write():
        raise RuntimeError("GDCM cannot write the slice")


def shifted(hu: float) -> Callable[[Exam], Exam]:
    """Add some HU to every voxel: a scanner that is off."""
    return lambda exam: _with(exam, exam.volume + hu)


CHANGES = (
    Change("as it is", "nothing is changed", _same(lambda exam: exam)),
    Change("left and right mirrored", "the patient's mirror image", _same(mirrored)),
    Change(
        "stored reversed",
        "all axes reversed and the affine with them, as NIfTI, read by ichor",
        _same(stored_reversed),
    ),
    Change(
        "upside down, mislabelled", "rows reversed while the geometry says they are not", _same(upside_down)
    ),
    Change("stack reversed, mislabelled", "slices in the wrong order, base for vertex", _backwards),
    Change("rotated by +15 degrees", "in the plane of the slices", _same(rotated(15))),
    Change("rotated by -15 degrees", "in the plane of the slices", _same(rotated(-15))),
    Change("0.6 mm slices", "interpolated along the stack: no new detail, less noise", thinner(0.6)),
    Change("2.5 mm slices", "interpolated along the stack", thinner(2.5)),
    Change("10 mm slices", "pairs averaged: thicker than any that was trained on", thicker),
    Change("half the dose", "noise of CT's spectrum added; its SD grows by 1.41", _same(half_dose)),
    Change(
        "sharp kernel",
        "twice the response from 0.4 to 0.6 cycles per mm, noise included",
        _same(filtered(sharp)),
    ),
    Change("soft kernel", "half of the response left at 0.4 cycles per mm", _same(filtered(soft))),
    Change("JPEG, brain window", "8 bits at level 40, width 80, quality 70", _same(jpeg_windowed)),
    Change("JPEG, DICOM lossy", "JPEG Extended, 12 bits, quality 70 (GDCM)", _same(jpeg_dicom)),
    Change("cropped to the head", "field of view cut to the box of the head", _same(cropped(0))),
    Change("cropped into the head", "and 10 mm more on each side", _same(cropped(-10))),
    Change("HU + 5", "every voxel", _same(shifted(5))),
    Change("HU - 5", "every voxel", _same(shifted(-5))),
)
"""In the order of the table; the first is what the others are compared with."""

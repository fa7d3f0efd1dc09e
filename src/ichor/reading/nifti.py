"""NIfTI volumes in Hounsfield units, and the way of a mask back to the file's own axes."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import AIR_HU, Exam, Geometry, Source
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.hounsfield import no_hounsfield_reason
from ichor.reading.files import InputFile, announce
from ichor.reading.geometry_notices import AXIAL_COSINE, MIN_COVERAGE_MM, MIN_SLICES, geometry_notices
from ichor.reading.limits import Limits

__all__ = ["is_nifti", "read_nifti", "to_nifti_space"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""NIfTI counts x to the patient's right and y to the front as negative (RAS); DICOM the other way."""
_LEAST_MM, _MOST_MM = 1e-3, 1e6
_LEAST_ANGLE = 0.05
"""Volume of the parallelepiped of the axes' unit vectors: below it, they lie in one plane."""
_MOST_SKEW = 0.02
"""Cosine between rows and columns of a slice."""
_MOST_UNEVEN = 3.0
"""A volume that was cut in thick coronal or sagittal slices shows in axial ones as pixels this long."""
_MOST_HU = 30_000
_RATIO_FLOOR = 1 << 20
"""Below this many unpacked bytes no ratio is suspicious."""


def is_nifti(name: str) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(file: InputFile, context: ReadContext) -> Exam:
    """Read one volume.

    The axis closest to the patient's long axis becomes the slices, sorted towards the vertex; of the other
    two, the one closest to front-back becomes the rows. A volume stored sagittally or coronally is turned so.

    Raises
    ------
    RefusedInput
        ``unreadable``, ``limit_exceeded``, ``no_hounsfield`` or ``too_few_slices``.
    """
    announce(file)
    began = time.perf_counter()
    image, shape = _open(file, context.limits)
    affine = _affine(image, file.name)
    axes, flips = _axes(affine)
    volume, slope = _volume(image, shape, axes, file.name)
    volume = np.ascontiguousarray(volume[tuple(slice(None, None, -1 if flip else 1) for flip in flips)])
    geometry = _geometry(affine, shape, axes, flips, file.name)
    reason = no_hounsfield_reason(volume, slope)
    if reason:
        raise RefusedInput(
            file.name,
            "no_hounsfield",
            found=reason,
            expected="Hounsfield units (air near -1000, bone above 300)",
            remedy="convert the original CT without windowing or normalising it",
        )
    coverage = float(geometry.distances[-1] - geometry.distances[0] + geometry.slice_step)
    if len(volume) < MIN_SLICES or coverage < MIN_COVERAGE_MM:
        raise RefusedInput(
            file.name,
            "too_few_slices",
            found=f"{len(volume)} slices over {coverage:.0f} mm",
            expected=f"at least {MIN_SLICES} slices over {MIN_COVERAGE_MM:.0f} mm",
            remedy="give the whole volume",
        )
    source = Source(
        input=file.name,
        format="nifti",
        nifti={"affine": affine, "shape": tuple(image.shape), "axes": axes, "flips": flips},
    )
    notices = _notices(image, geometry)
    return Exam(volume, geometry, source, notices, time.perf_counter() - began)


def _open(file: InputFile, limits: Limits) -> tuple[Any, tuple[int, int, int]]:
    """Read the header, and refuse what is no volume within the limits before any voxel is read."""
    # Here, not above: a DICOM study must not wait for this import.
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    size = file.path.stat().st_size
    if size > limits.file_bytes:
        raise limits.refuse(file.name, "file_bytes", f"{size:,} bytes")
    try:
        with _quiet():
            kind = next((k for k in (Nifti1Image, Nifti2Image) if k.path_maybe_image(file.path)[0]), None)
            if kind is None:
                raise _unreadable(file.name, "a file without a NIfTI header")
            image: Any = kind.from_filename(file.path)
    except _read_errors() as error:
        raise _unreadable(file.name, f"a header that cannot be read ({type(error).__name__})") from None
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 3 or min(shape) < 1 or any(n > 1 for n in shape[3:]):
        raise _unreadable(file.name, f"an array of {' x '.join(map(str, shape))}", "one 3-D volume")
    if image.get_data_dtype().kind not in "iuf":
        raise _unreadable(file.name, "voxels that are no numbers (colours, complex)", "a volume of HU")
    voxels = math.prod(shape)
    if voxels > limits.voxels:
        raise limits.refuse(file.name, "voxels", f"{voxels:,} voxels")
    if max(shape) > limits.frames:
        raise limits.refuse(file.name, "frames", f"an axis of {max(shape):,}")
    unpacked = voxels * image.get_data_dtype().itemsize
    if unpacked > limits.file_bytes:
        raise limits.refuse(file.name, "file_bytes", f"{unpacked:,} bytes of voxels")
    if unpacked > max(_RATIO_FLOOR, limits.archive_ratio * size):
        raise limits.refuse(file.name, "archive_ratio", f"{unpacked:,} bytes of voxels in {size:,} bytes")
    return image, (shape[0], shape[1], shape[2])


def _affine(image: Any, name: str) -> NDArray[np.float64]:
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or np.abs(affine).max() > _MOST_MM or spacing.min() < _LEAST_MM:
        raise _unreadable(name, "an affine that gives no volume", "one that says where voxels lie")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < _LEAST_ANGLE:
        raise _unreadable(name, "an affine whose axes lie in one plane", "one that says where voxels lie")
    return affine


def _volume(
    image: Any, shape: tuple[int, int, int], axes: tuple[int, int, int], name: str
) -> tuple[NDArray[np.int16], float]:
    """Voxels as int16 HU in the order of ``axes``, and HU for one stored step.

    Scaled slice by slice: the whole in floating point would take several times the room.
    """
    try:
        with _quiet():
            proxy = image.dataobj
            slope, inter = float(proxy.slope), float(proxy.inter)
            stored = np.asarray(proxy.get_unscaled()).reshape(shape).transpose(axes)
            if not (np.isfinite(slope) and np.isfinite(inter) and abs(inter) < _MOST_HU):
                raise _unreadable(
                    name, f"a scale of {slope:g} and {inter:g}", "a slope and an intercept to HU"
                )
            volume = np.empty(stored.shape, np.int16)
            for k, plane in enumerate(stored):
                hu = np.nan_to_num(plane.astype(np.float64) * slope + inter, nan=AIR_HU)
                volume[k] = np.rint(np.clip(hu, AIR_HU, _MOST_HU))
    except _read_errors() as error:
        raise _unreadable(name, f"voxels that cannot be read ({type(error).__name__})") from None
    # The steps of floating-point numbers are their own.
    return volume, slope if stored.dtype.kind in "iu" else 1.0


def _notices(image: Any, geometry: Geometry) -> tuple[Notice, ...]:
    out = []
    if int(image.header["qform_code"]) == 0 and int(image.header["sform_code"]) == 0:
        text = "The file says nothing of its orientation; the usual one for NIfTI was assumed."
        out.append(notice("orientation_missing", text))
    return (*out, *geometry_notices(geometry))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks on a doubtful header out of logs and standard error."""
    logger = logging.getLogger("nibabel.global")
    was = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was


def _read_errors() -> tuple[type[Exception], ...]:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    own = (ImageFileError, HeaderDataError, WrapStructError)
    return (
        *own,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        MemoryError,
        zlib.error,
    )


def _axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which file axis gives slices, rows and columns, and which of them must be flipped."""
    lps = _TO_LPS @ affine[:3, :3]
    directions = lps / np.linalg.norm(lps, axis=0)
    slices = int(np.abs(directions[2]).argmax())
    rest = [a for a in range(3) if a != slices]
    rows = max(rest, key=lambda a: abs(directions[1, a]))
    columns = next(a for a in rest if a != rows)
    axes = (slices, rows, columns)
    flips = (bool(directions[2, slices] < 0), bool(directions[1, rows] < 0), bool(directions[0, columns] < 0))
    return axes, flips


def _geometry(
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
    axes: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
    name: str,
) -> Geometry:
    lps = _TO_LPS @ affine[:3, :3]
    origin = _TO_LPS @ affine[:3, 3]
    steps = []
    for axis, flip in zip(axes, flips, strict=True):
        step = lps[:, axis]
        if flip:
            origin = origin + step * (shape[axis] - 1)
            step = -step
        steps.append(step)
    along, down, right = steps
    spacing = (float(np.linalg.norm(down)), float(np.linalg.norm(right)))
    row_direction = right / spacing[1]
    if abs(row_direction @ down) / spacing[0] > _MOST_SKEW:
        raise _unreadable(
            name, "axial slices whose rows and columns are not at a right angle", "a right angle"
        )
    column_direction = down - (down @ row_direction) * row_direction
    if abs(np.cross(row_direction, column_direction / np.linalg.norm(column_direction))[2]) < AXIAL_COSINE:
        raise _not_axial(name, "slices more than 45 degrees from axial")
    if max(spacing) > _MOST_UNEVEN * min(spacing):
        raise _not_axial(name, f"axial slices of {spacing[0]:.2f} x {spacing[1]:.2f} mm pixels (thick cuts)")
    n = shape[axes[0]]
    return Geometry(
        positions=origin + np.arange(n)[:, None] * along,
        row_direction=row_direction,
        column_direction=column_direction / np.linalg.norm(column_direction),
        spacing=spacing,
        thickness=np.full(n, np.nan if n > 1 else np.linalg.norm(along)),
    )


def to_nifti_space(mask: NDArray[np.uint8], exam: Exam) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Bring a mask to NIfTI's order of axes.

    Parameters
    ----------
    mask
        ``(n, rows, columns)`` on the exam's slices.
    exam
        For a NIfTI exam, the result has the file's own shape and affine; for any other, axes (column, row,
        slice) and the affine of its geometry, with x and y negated from DICOM's to NIfTI's sense.

    Returns
    -------
    array, affine
        ``(x, y, z)`` uint8 (with the file's further axes of length 1) and ``(4, 4)``.
    """
    if exam.source.nifti is not None:
        meta = exam.source.nifti
        undone = mask[tuple(slice(None, None, -1 if flip else 1) for flip in meta["flips"])]
        array = np.ascontiguousarray(undone.transpose(np.argsort(meta["axes"])))
        return array.reshape(meta["shape"]), np.asarray(meta["affine"])
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.ascontiguousarray(mask.transpose(2, 1, 0)), to_ras @ exam.geometry.affine()


def _not_axial(name: str, found: str) -> RefusedInput:
    return RefusedInput(
        name,
        "orientation_not_axial",
        found=found,
        expected="axial slices, or a volume that can be cut so",
        remedy="convert the axial series of the study",
    )


def _unreadable(name: str, found: str, expected: str = "a NIfTI file") -> RefusedInput:
    return RefusedInput(name, "unreadable", found=found, expected=expected, remedy="convert the study again")

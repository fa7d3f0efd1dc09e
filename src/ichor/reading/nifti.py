"""NIfTI volumes in Hounsfield units, and the way of a mask back to the file's own axes."""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import AIR_HU, Exam, Geometry, Source
from ichor.notices import Notice, notice
from ichor.reading.files import InputFile
from ichor.reading.hounsfield import no_hounsfield_reason
from ichor.reading.limits import Limits
from ichor.reading.stack import MIN_COVERAGE_MM, MIN_SLICES

__all__ = ["is_nifti", "read_nifti", "to_nifti_space"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""NIfTI counts x to the patient's right and y to the front as negative (RAS); DICOM the other way."""
_OBLIQUE_COSINE = 0.985


def is_nifti(name: str) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(file: InputFile, limits: Limits) -> Exam:
    """Read one volume.

    The axis closest to the patient's long axis becomes the slices, sorted towards the vertex; of the other
    two, the one closest to front-back becomes the rows. A volume stored sagittally or coronally is turned so.

    Raises
    ------
    RefusedInput
        ``unreadable``, ``limit_exceeded``, ``no_hounsfield`` or ``too_few_slices``.
    """
    began = time.perf_counter()
    data, affine, header_notices = _load(file, limits)
    axes, flips = _axes(affine)
    # To (slices, rows, columns), rows to the back, columns to the left, slices upward.
    turned = np.transpose(data, axes)
    turned = turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    geometry = _geometry(affine, data.shape, axes, flips)
    volume = np.rint(np.clip(np.nan_to_num(turned, nan=AIR_HU, posinf=30_000, neginf=AIR_HU), AIR_HU, 30_000))
    volume = np.ascontiguousarray(volume, dtype=np.int16)
    reason = no_hounsfield_reason(volume, 1.0)
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
    notices = [*header_notices]
    if geometry.tilt_degrees > 0.5:
        notices.append(
            notice(
                "gantry_tilt",
                f"The slices are sheared by {geometry.tilt_degrees:.1f} degrees; this was corrected for.",
            )
        )
    if geometry.normal[2] < _OBLIQUE_COSINE:
        angle = np.degrees(np.arccos(np.clip(geometry.normal[2], -1, 1)))
        notices.append(notice("oblique", f"The slices are oblique: {angle:.0f} degrees from axial."))
    if geometry.slice_step > 7:
        notices.append(notice("slices_thick", f"The slices are {geometry.slice_step:.1f} mm apart."))
    source = Source(
        input=file.name,
        format="nifti",
        nifti={"affine": affine, "shape": data.shape, "axes": axes, "flips": flips},
    )
    return Exam(volume, geometry, source, tuple(notices), time.perf_counter() - began)


def _load(file: InputFile, limits: Limits) -> tuple[NDArray[np.float32], NDArray[np.float64], list[Notice]]:
    # Here, not above: a DICOM study must not wait for this import.
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image: Any = nib.load(file.path)
        shape = tuple(int(n) for n in image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or min(shape) < 1:
            raise _unreadable(
                file.name, f"an array of shape {' x '.join(map(str, image.shape))}", "one 3-D volume"
            )
        if int(np.prod(shape, dtype=np.int64)) > limits.voxels:
            raise limits.refuse(file.name, "voxels", f"{int(np.prod(shape, dtype=np.int64)):,} voxels")
        if max(shape) > limits.frames:
            raise limits.refuse(file.name, "frames", f"an axis of {max(shape):,}")
        affine = np.asarray(image.affine, dtype=np.float64)
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (
        ImageFileError,
        HeaderDataError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        zlib.error,
        ArithmeticError,
    ) as e:
        raise _unreadable(
            file.name, f"a volume that cannot be read ({type(e).__name__})", "a NIfTI file"
        ) from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise _unreadable(file.name, "an affine that gives no volume", "one that says where voxels lie")
    notices = []
    header = image.header
    if "qform_code" in header and int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        notices.append(
            notice(
                "orientation_missing",
                "The file says nothing of its orientation; the usual one for NIfTI was assumed.",
            )
        )
    return data, affine, notices


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
    column_direction = down - (down @ row_direction) * row_direction
    n = shape[axes[0]]
    return Geometry(
        positions=origin + np.arange(n)[:, None] * along,
        row_direction=row_direction,
        column_direction=column_direction / np.linalg.norm(column_direction),
        spacing=spacing,
        thickness=np.full(n, np.nan),
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
        ``(x, y, z)`` uint8 and ``(4, 4)``.
    """
    if exam.source.nifti is not None:
        meta = exam.source.nifti
        undone = mask[tuple(slice(None, None, -1) if flip else slice(None) for flip in meta["flips"])]
        return np.ascontiguousarray(np.transpose(undone, np.argsort(meta["axes"]))), np.asarray(
            meta["affine"]
        )
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.ascontiguousarray(mask.transpose(2, 1, 0)), to_ras @ exam.geometry.affine()


def _unreadable(name: str, found: str, expected: str) -> RefusedInput:
    return RefusedInput(name, "unreadable", found=found, expected=expected, remedy="convert the study again")

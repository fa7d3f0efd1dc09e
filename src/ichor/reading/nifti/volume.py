"""NIfTI volumes in Hounsfield units, and the way of a mask back to the file's own axes."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.exam import AIR_HU, Exam, Geometry, Source
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.hounsfield import no_hounsfield_reason
from ichor.reading.files import announce
from ichor.reading.geometry_notices import AXIAL_COSINE, MIN_COVERAGE_MM, MIN_SLICES, geometry_notices
from ichor.reading.nifti.files import NiftiFile
from ichor.reading.nifti.header import NiftiHeader, read_header, read_voxels, unreadable
from ichor.reading.refusals import refusal

__all__ = ["read_nifti", "to_nifti_space"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""NIfTI counts x to the patient's right and y to the front as negative (RAS); DICOM the other way."""
_MOST_SKEW = 0.02
"""Cosine between rows and columns of a slice."""
_MOST_UNEVEN = 3.0
"""A volume that was cut in thick coronal or sagittal slices shows in axial ones as pixels this long."""
_MOST_HU = 30_000
_OFFSETS = (1024, 1000, 32768)
"""What is customarily added to HU to store them without a sign."""
_BRAIN_HU = (10.0, 60.0)
"""Where the middle of what is near the brain's values must lie, to tell one offset from another."""
_LEAST_BRAIN = 0.02


def read_nifti(file: NiftiFile, context: ReadContext) -> Exam:
    """Read one volume.

    The axis closest to the patient's long axis becomes the slices, sorted towards the vertex; of the other
    two, the one closest to front-back becomes the rows. A volume stored sagittally or coronally is turned so.

    Parameters
    ----------
    file
        From :func:`ichor.reading.nifti.pair_up`.
    context
        Of the reading: sizes are checked before a voxel is read.

    Raises
    ------
    RefusedInput
        ``unreadable``, ``limit_exceeded``, ``limit_memory``, ``no_hounsfield``, ``orientation_not_axial`` or
        ``too_few_slices``.
    """
    began = time.perf_counter()
    announce(file.header)
    name = file.name
    header = read_header(file, context)
    axes, flips = _axes(header.affine)
    geometry = _geometry(header, axes, flips, name)
    try:
        stored = read_voxels(file, header, context).transpose(axes)
        volume, scale, assumed = _to_hounsfield(stored, header, file)
    except MemoryError:
        raise refusal("limit_memory", name) from None
    volume = np.ascontiguousarray(volume[tuple(slice(None, None, -1 if flip else 1) for flip in flips)])
    reason = no_hounsfield_reason(volume, scale)
    if reason:
        raise RefusedInput(
            name,
            "no_hounsfield",
            found=reason,
            expected="Hounsfield units (air near -1000, bone above 300)",
            remedy="convert the original CT without windowing or normalising it",
        )
    coverage = float(geometry.distances[-1] - geometry.distances[0] + geometry.slice_step)
    if len(volume) < MIN_SLICES or coverage < MIN_COVERAGE_MM:
        raise RefusedInput(
            name,
            "too_few_slices",
            found=f"{len(volume)} slices over {coverage:.0f} mm",
            expected=f"at least {MIN_SLICES} slices over {MIN_COVERAGE_MM:.0f} mm",
            remedy="give the whole volume",
        )
    source = Source(
        input=name,
        format="nifti",
        nifti={"affine": header.affine, "shape": header.shape, "axes": axes, "flips": flips},
    )
    notices = (*assumed, *_notices(header, geometry))
    return Exam(volume, geometry, source, notices, time.perf_counter() - began)


def _to_hounsfield(
    stored: NDArray[np.generic], header: NiftiHeader, file: NiftiFile
) -> tuple[NDArray[np.int16], float, tuple[Notice, ...]]:
    """Voxels as int16 HU, HU for one stored step, and a notice where the scale was assumed.

    Scaled slice by slice: the whole in floating point would take several times the room.
    """
    intercept = header.intercept
    notices: tuple[Notice, ...] = ()
    if header.unscaled:
        offset = _stored_offset(stored)
        if offset:
            intercept = -float(offset)
            text = f"No value is negative and no rescale is given: intercept {intercept:g} was assumed."
            notices = (notice("rescale_assumed", text),)
    volume = np.empty(stored.shape, np.int16)
    for k, plane in enumerate(stored):
        announce(file.header)
        hu = np.nan_to_num(plane.astype(np.float64) * header.slope + intercept, nan=AIR_HU)
        volume[k] = np.rint(np.clip(hu, AIR_HU, _MOST_HU))
    # The steps of floating-point numbers are their own.
    return volume, header.slope if stored.dtype.kind in "iu" else 1.0, notices


def _stored_offset(stored: NDArray[np.generic]) -> int:
    """Find what was added to HU to store them without a sign; 0 where nothing was, or nothing that is customary.

    Air, brain and bone must all lie where they belong. Between the offsets 1024 and 1000 the brain decides.
    """
    sample = stored[:: max(1, len(stored) // 16), ::4, ::4].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size or sample.min() < 0:
        return 0
    for offset in _OFFSETS:
        hu = sample - offset
        brain = hu[(hu > _BRAIN_HU[0] - 30) & (hu < _BRAIN_HU[1] + 30)]
        air, bone = np.percentile(hu, [1, 99.8])
        if air > -300 or bone < 100 or len(brain) < _LEAST_BRAIN * len(hu):
            continue
        if _BRAIN_HU[0] <= float(np.median(brain)) <= _BRAIN_HU[1]:
            return offset
    return 0


def _notices(header: NiftiHeader, geometry: Geometry) -> tuple[Notice, ...]:
    out = []
    if not header.oriented:
        text = "The file says nothing of its orientation; the usual one for NIfTI was assumed."
        out.append(notice("orientation_missing", text))
    if header.contradicted:
        text = (
            "The file says twice where its axes point (qform, sform), and differently: sides are not known."
        )
        out.append(notice("orientation_missing", text))
    return (*out, *geometry_notices(geometry))


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
    header: NiftiHeader,
    axes: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
    name: str,
) -> Geometry:
    affine, shape = header.affine, header.shape
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
        raise unreadable(
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
        orientation_known=header.oriented and not header.contradicted,
        thickness=np.full(n, np.nan if n > 1 else np.linalg.norm(along)),
    )


def to_nifti_space(mask: NDArray[np.uint8], exam: Exam) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Bring a mask to NIfTI's order of axes.

    Parameters
    ----------
    mask
        ``(n, rows, columns)`` on the exam's slices.
    exam
        For a NIfTI exam, the result has the file's own shape and its affine, in millimetres; for any other, axes
        (column, row, slice) and the affine of its geometry, with x and y negated from DICOM's to NIfTI's sense.

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

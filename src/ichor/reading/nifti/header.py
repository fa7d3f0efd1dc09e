"""NIfTI headers, checked before a voxel is read, and the voxels, read where the header says and no further."""

from __future__ import annotations

import contextlib
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.files import announce
from ichor.reading.gzipped import open_plain, start_of
from ichor.reading.nifti.files import HEADER_BYTES, NiftiFile

__all__ = ["NiftiHeader", "read_header", "read_voxels", "unreadable"]

_LEAST_MM, _MOST_MM = 1e-3, 1e6
_LEAST_ANGLE = 0.05
"""Volume of the parallelepiped of the axes' unit vectors: below it, they lie in one plane."""
_RATIO_FLOOR = 1 << 20
"""Below this many unpacked bytes no ratio is suspicious."""
_UNITS = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres in a unit, by its code: metre, millimetre, micrometre."""
_PLAUSIBLE_MM = (0.05, 30.0)
"""Between voxels of a head. A unit that leads elsewhere is not meant where millimetres do not."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class NiftiHeader:
    """What reading needs of a header.

    Attributes
    ----------
    shape
        As stored; three axes, and any number of further ones of length 1.
    dtype
        Of the voxels, in the file's byte order.
    affine
        ``(4, 4)`` from voxel to RAS, in millimetres whatever the file's unit.
    oriented
        Whether the file says where its axes point.
    contradicted
        Whether it says so twice, and differently.
    slope, intercept
        From stored values to HU.
    unscaled
        Whether the file gives no other scale than 1 and 0.
    offset
        Bytes before the first voxel.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64]
    oriented: bool
    contradicted: bool
    slope: float
    intercept: float
    unscaled: bool
    offset: int


def read_header(file: NiftiFile, context: ReadContext) -> NiftiHeader:
    """Read a header, and refuse what is no volume within the limits.

    Raises
    ------
    RefusedInput
        ``unreadable`` or ``limit_exceeded``.
    """
    limits, name = context.limits, file.name
    size = sum(f.path.stat().st_size for f in (file.header, file.voxels) if f is not None)
    if size > limits.file_bytes:
        raise limits.refuse(name, "file_bytes", f"{size:,} bytes")
    try:
        with _quiet():
            header = _parsed(start_of(file.header.path, HEADER_BYTES), name)
            shape = tuple(int(n) for n in header.get_data_shape())
            dtype = header.get_data_dtype()
            affine = np.array(header.get_best_affine(), dtype=np.float64)
            offset = int(header["vox_offset"])
            slope, intercept, unscaled = _scale(header, name)
    except _read_errors() as error:
        raise unreadable(name, f"a header that cannot be read ({type(error).__name__})") from None
    if header.is_single or file.voxels is None:
        offset = _offset_in_one_file(file, header, offset, size)
    _check_size(shape, dtype, offset, size, file, context)
    affine[:3] *= _unit(header, affine)
    _check_affine(affine, name)
    return NiftiHeader(
        shape=shape,
        dtype=dtype,
        affine=affine,
        oriented=int(header["qform_code"]) != 0 or int(header["sform_code"]) != 0,
        contradicted=_contradicts_itself(header),
        slope=slope,
        intercept=intercept,
        unscaled=unscaled,
        offset=offset,
    )


def _contradicts_itself(header: Any) -> bool:
    """Return whether an axis points one way by the quaternion, and the other by the matrix."""
    if not (int(header["qform_code"]) and int(header["sform_code"])):
        return False
    try:
        quaternion, matrix = header.get_qform()[:3, :3], header.get_sform()[:3, :3]
    except _read_errors():
        return False  # a quaternion that is none: the matrix goes before it anyway
    agreement = (quaternion * matrix).sum(axis=0)
    return bool(np.isfinite(agreement).all() and (agreement < 0).any())


def read_voxels(file: NiftiFile, header: NiftiHeader, context: ReadContext) -> NDArray[np.generic]:
    """Read stored values, ``(x, y, z)`` in the file's own order.

    Raises
    ------
    RefusedInput
        ``unreadable``, or ``limit_exceeded`` where the time is over.
    """
    shape = header.shape[:3]
    holder = file.voxels or file.header
    voxels = np.empty(math.prod(shape), header.dtype)
    target = voxels.view(np.uint8).data
    try:
        with open_plain(holder.path) as stream:
            _skip(stream, header.offset, file, context)
            while target:
                context.check_time()
                announce(file.header)
                n = stream.readinto(target[:_CHUNK])  # type: ignore[attr-defined]
                if not n:
                    raise EOFError
                target = target[n:]
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file.name, f"voxels that cannot be read ({type(error).__name__})") from None
    return voxels.reshape(shape, order="F")


def unreadable(name: str, found: str, expected: str = "a NIfTI file") -> RefusedInput:
    """Make the refusal of a file that is no volume."""
    return RefusedInput(name, "unreadable", found=found, expected=expected, remedy="convert the study again")


def _parsed(raw: bytes, name: str) -> Any:
    # Here, not above: a DICOM study must not wait for this import.
    from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
    from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader

    if len(raw) < 348:
        raise unreadable(name, "a file without a NIfTI header")
    sizes = {struct.unpack(order + "l", raw[:4])[0] for order in ("<", ">")}
    kind: Any
    if 540 in sizes and raw[4:7] in (b"n+2", b"ni2") and len(raw) >= 540:
        kind, length = (Nifti2Header if raw[4:7] == b"n+2" else Nifti2PairHeader), 540
    elif 348 in sizes and raw[344:347] in (b"n+1", b"ni1"):
        kind, length = (Nifti1Header if raw[344:347] == b"n+1" else Nifti1PairHeader), 348
    elif 348 in sizes:
        raise unreadable(
            name,
            "a header of the older Analyze format, which does not say which side is left",
            "NIfTI, which does",
        )
    else:
        raise unreadable(name, "a file without a NIfTI header")
    return kind(raw[:length], check=True)


def _scale(header: Any, name: str) -> tuple[float, float, bool]:
    """Slope and intercept, and whether the file gives none; what is not finite or a slope of 0 is none given."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0, True
    if not math.isfinite(intercept) or abs(intercept) > 1e5:
        raise unreadable(name, f"a scale of {slope:g} and {intercept:g}", "a slope and an intercept to HU")
    return slope, intercept, (slope, intercept) == (1.0, 0.0)


def _offset_in_one_file(file: NiftiFile, header: Any, offset: int, size: int) -> int:
    """Where voxels begin behind their own header.

    Raises
    ------
    RefusedInput
        Where the header is that of a pair, and this file holds nothing else.
    """
    least = int(header.sizeof_hdr)
    if header.is_single:
        if offset < least:
            raise unreadable(file.name, f"voxels that begin at byte {offset}, within the header")
        return offset
    if size <= least + 4 or file.name.lower().endswith((".hdr", ".hdr.gz")):
        raise unreadable(
            file.name,
            "the header of a pair, without the file of its voxels (.img) beside it",
            "both files of the pair, in one folder",
        )
    # Some writers give a whole file the magic of a pair.
    return max(offset, least + 4)


def _check_size(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    offset: int,
    size: int,
    file: NiftiFile,
    context: ReadContext,
) -> None:
    limits, name = context.limits, file.name
    if len(shape) < 3 or min(shape) < 1 or any(n > 1 for n in shape[3:]):
        raise unreadable(name, f"an array of {' x '.join(map(str, shape))}", "one 3-D volume")
    if dtype.kind not in "iuf":
        raise unreadable(name, "voxels that are no numbers (colours, complex)", "a volume of HU")
    voxels = math.prod(shape)
    if voxels > limits.voxels:
        raise limits.refuse(name, "voxels", f"{voxels:,} voxels")
    if max(shape) > limits.frames:
        raise limits.refuse(name, "frames", f"an axis of {max(shape):,}")
    unpacked = voxels * dtype.itemsize
    if unpacked > limits.file_bytes:
        raise limits.refuse(name, "file_bytes", f"{unpacked:,} bytes of voxels")
    if offset < 0 or offset + unpacked > limits.file_bytes:
        raise limits.refuse(name, "file_bytes", f"voxels that begin at byte {offset:,}")
    if offset + unpacked > max(_RATIO_FLOOR, limits.archive_ratio * size):
        raise limits.refuse(name, "archive_ratio", f"{unpacked:,} bytes of voxels in {size:,} bytes")


def _unit(header: Any, affine: NDArray[np.float64]) -> float:
    """Millimetres in the file's unit of length; a unit that no head fits is taken as unset."""
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    as_stated, as_mm = (
        bool((spacing * u >= _PLAUSIBLE_MM[0]).all() and (spacing * u <= _PLAUSIBLE_MM[1]).all())
        for u in (unit, 1.0)
    )
    return 1.0 if as_mm and not as_stated else unit


def _check_affine(affine: NDArray[np.float64], name: str) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or np.abs(affine).max() > _MOST_MM or spacing.min() < _LEAST_MM:
        raise unreadable(name, "an affine that gives no volume", "one that says where voxels lie")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < _LEAST_ANGLE:
        raise unreadable(name, "an affine whose axes lie in one plane", "one that says where voxels lie")


def _skip(stream: IO[bytes], n: int, file: NiftiFile, context: ReadContext) -> None:
    """Go to the first voxel; packed bytes have to be unpacked for it, and what is skipped is not kept."""
    if stream.seekable():
        stream.seek(n)
        return
    while n:
        context.check_time()
        announce(file.header)
        piece = stream.read(min(n, _CHUNK))
        if not piece:
            raise EOFError
        n -= len(piece)


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
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    return (HeaderDataError, WrapStructError, OSError, ValueError, TypeError, LookupError, ArithmeticError)

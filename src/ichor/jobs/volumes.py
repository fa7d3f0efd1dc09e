"""NIfTI files of which one slice can be read without the others.

The file is an ordinary ``.nii.gz`` of one gzip member. Before each slice the compressor is flushed so that the
stream can be entered there; the places stand in a small file beside it. Asking for a picture of one slice then costs
that slice, not the volume.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_plane", "write_volume"]

_LEVEL = 1
"""CT noise packs little better at higher levels, and several times slower."""
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_NIFTI_HEADER = 352


def write_volume(
    path: Path, planes: Iterable[NDArray[Any]], n: int, affine: NDArray[np.float64], about: str
) -> None:
    """Write a volume slice by slice.

    Parameters
    ----------
    path
        Ends in ``.nii.gz``; the places go to ``.places.json`` beside it.
    planes
        ``n`` arrays ``(rows, columns)`` of one type, int16 or uint8.
    n
        Their number.
    affine
        ``(4, 4)`` from (column, row, slice) to RAS millimetres.
    about
        NIfTI's description, at most 79 characters.
    """
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    places: list[int] = []
    crc = length = 0
    shape: tuple[int, ...] = (0, 0)
    kind = "uint8"
    with path.open("wb") as file:
        file.write(_GZIP_HEADER)
        for plane in planes:
            if not places:
                shape, kind = plane.shape, plane.dtype.name
                head = _header(plane, n, affine, about)
                crc, length = zlib.crc32(head), len(head)
                file.write(packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH))
            places.append(file.tell())
            raw = np.ascontiguousarray(plane).tobytes()
            crc, length = zlib.crc32(raw, crc), length + len(raw)
            file.write(packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH))
        file.write(packer.flush(zlib.Z_FINISH) + struct.pack("<LL", crc, length & 0xFFFFFFFF))
    beside = {"places": places, "shape": list(shape), "type": kind}
    _places(path).write_text(json.dumps(beside), encoding="utf-8")


def read_plane(path: Path, index: int) -> NDArray[Any]:
    """Read one slice.

    Parameters
    ----------
    path
        What :func:`write_volume` wrote.
    index
        Of the slice.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)``.

    Raises
    ------
    IndexError
        Where there is no such slice.
    """
    beside = json.loads(_places(path).read_text(encoding="utf-8"))
    if not 0 <= index < len(beside["places"]):
        raise IndexError(index)
    rows, columns = beside["shape"]
    kind = np.dtype(beside["type"])
    left = rows * columns * kind.itemsize
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    parts = []
    with path.open("rb") as file:
        file.seek(beside["places"][index])
        while left > 0 and (chunk := file.read(1 << 18)):
            part = unpacker.decompress(chunk, left)
            parts.append(part)
            left -= len(part)
    return np.frombuffer(b"".join(parts), kind).reshape(rows, columns)


def _header(plane: NDArray[Any], n: int, affine: NDArray[np.float64], about: str) -> bytes:
    # Late: the web process asks for planes only, and nibabel is slow to load.
    import nibabel

    make: Any = nibabel.Nifti1Header
    header = make(endianness="<")
    header.set_data_dtype(plane.dtype)
    header.set_data_shape((plane.shape[1], plane.shape[0], n))
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_zooms([float(v) for v in np.linalg.norm(affine[:3, :3], axis=0)])
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["descrip"] = about.encode()[:79]
    header["vox_offset"] = _NIFTI_HEADER
    header["magic"] = b"n+1"
    return bytes(header.structarr.tobytes()) + b"\0\0\0\0"


def _places(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".places.json")

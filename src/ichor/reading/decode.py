"""Stored pixel values of DICOM slices, from every transfer syntax that the core's decoders know.

pydicom chooses among gdcm (JPEG lossless and lossy), pyjpegls (JPEG-LS) and openjpeg (JPEG 2000); where it
declines 12-bit or retired JPEG processes, gdcm is asked directly.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from ichor.reading.headers import READ_ERRORS, SliceHeader, quiet_pydicom, unreadable
from ichor.reading.limits import Limits

__all__ = ["Stored", "decode"]

_NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", ""}
_RLE = "1.2.840.10008.1.2.5"
_SYNTAX_ROOT = "1.2.840.10008.1.2.4."


@dataclass(frozen=True)
class Stored:
    """One slice as stored.

    Attributes
    ----------
    values
        ``(rows, columns)`` integer.
    dataset
        The file's whole header.
    """

    values: NDArray[np.integer]
    dataset: Dataset


def decode(header: SliceHeader, limits: Limits) -> Stored:
    """Decode the pixels of a slice.

    Raises
    ------
    RefusedInput
        ``unreadable``: no pixels, a size that the data do not bear out, a stream that no decoder takes.
    """
    name = header.file.name
    try:
        with quiet_pydicom():
            data = pydicom.dcmread(header.file.path, force=True)
            if "PixelData" not in data:
                raise unreadable(name, "no pixel data")
            _check_size(header, data, limits)
            values = _pixels(header, data)
    except READ_ERRORS as error:
        raise unreadable(name, f"pixels that cannot be decoded ({type(error).__name__})") from None
    if values.shape != (header.rows, header.columns):
        raise unreadable(name, f"pixels of shape {values.shape}", f"{header.rows} x {header.columns} grey pixels")
    return Stored(_unused_bits(values, data), data)


def _pixels(header: SliceHeader, data: Dataset) -> NDArray[np.integer]:
    if not header.transfer_syntax:
        # No file meta information (a bare data set): pydicom has guessed the encoding while parsing.
        data.file_meta = pydicom.dataset.FileMetaDataset()
        little, implicit = data.original_encoding[1], data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian
            if implicit
            else pydicom.uid.ExplicitVRLittleEndian
            if little
            else pydicom.uid.ExplicitVRBigEndian
        )
    index = header.frame if header.n_frames > 1 else None
    try:
        values = pixel_array(data, index=index) if index is not None else pixel_array(data)
    except READ_ERRORS:
        if not header.transfer_syntax.startswith(_SYNTAX_ROOT + "5"):
            raise
        values = _gdcm(header.file.path, header)
    if header.n_frames > 1 and values.ndim == 3:
        values = values[header.frame or 0]
    elif values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("="))
    return np.asarray(values)


def _gdcm(path: Path, header: SliceHeader) -> NDArray[np.integer]:
    """Decode a whole file with gdcm, for JPEG processes that pydicom does not hand to it."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("gdcm cannot read the file")
    image = reader.GetImage()
    kinds = {"UINT8": "u1", "INT8": "i1", "UINT12": "<u2", "INT12": "<i2", "UINT16": "<u2", "INT16": "<i2"}
    kind = np.dtype(kinds[image.GetPixelFormat().GetScalarTypeAsString()])
    expected = header.rows * header.columns * header.n_frames * kind.itemsize
    if image.GetBufferLength() != expected:
        raise ValueError("gdcm found another size")
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    values = np.frombuffer(buffer, kind)
    shape = (header.n_frames, header.rows, header.columns) if header.n_frames > 1 else (header.rows, header.columns)
    return values.reshape(shape)


def _check_size(header: SliceHeader, data: Dataset, limits: Limits) -> None:
    """Compare what the header declares with what there is, before anything is allocated."""
    name = header.file.name
    if not header.rows or not header.columns or header.samples != 1:
        found = f"{header.rows} x {header.columns} pixels of {header.samples} samples"
        raise unreadable(name, found, "a grey image")
    if header.bits_allocated not in (8, 16, 32):
        raise unreadable(name, f"{header.bits_allocated} bits allocated", "8, 16 or 32")
    if header.rows * header.columns > limits.pixels:
        raise limits.refuse(name, "pixels", f"{header.rows} x {header.columns} pixels")
    raw = data.PixelData
    size = header.rows * header.columns * header.n_frames * header.bits_allocated // 8
    if header.transfer_syntax in _NATIVE:
        if len(raw) < size:
            raise unreadable(name, f"{len(raw):,} bytes of pixels", f"{size:,} for the declared size")
        return
    if header.transfer_syntax == _RLE:
        return
    stream = _stream_size(raw)
    if stream is not None and stream != (header.rows, header.columns):
        raise unreadable(
            name, f"a compressed image of {stream[0]} x {stream[1]}", f"{header.rows} x {header.columns} as declared"
        )


def _stream_size(raw: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG or JPEG 2000 stream declares itself; None where no header is found."""
    head = raw[: 1 << 16]
    start = head.find(b"\xff\x4f\xff\x51")
    if start >= 0 and len(head) >= start + 24:
        width, height, x0, y0 = struct.unpack(">LLLL", head[start + 8 : start + 24])
        return height - y0, width - x0
    start = head.find(b"\xff\xd8\xff")
    if start < 0:
        return None
    # A frame header: SOF0-15 without the tables (C4, C8, CC), or JPEG-LS's F7.
    for match in re.finditer(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]\x00", head[start:]):
        at = start + match.start()
        if len(head) >= at + 9:
            rows, columns = struct.unpack(">HH", head[at + 5 : at + 9])
            return rows, columns
    return None


def _unused_bits(values: NDArray[np.integer], data: Dataset) -> NDArray[np.integer]:
    """Clear what lies above the stored bits (overlays, rubbish), keeping the sign."""
    stored = int(data.get("BitsStored", 0) or 0)
    width = values.dtype.itemsize * 8
    if not 0 < stored < width:
        return values
    shift = width - stored
    shifted = np.left_shift(values, shift).astype(values.dtype)
    return np.right_shift(shifted, shift)

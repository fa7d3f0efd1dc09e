"""Stored pixel values of DICOM slices, from every transfer syntax that the core's decoders know.

The decoders are pydicom's plugins: gdcm for the JPEG family (baseline, extended, progressive, lossless) and
JPEG 2000, pyjpegls for JPEG-LS, pydicom itself for RLE, and whatever is installed for the rest. They hold
Python's global lock, so threads gain nothing; each stream is checked against the header before a decoder
sees it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from ichor.errors import RefusedInput
from ichor.reading.dicom.dataset import READ_ERRORS, open_dataset, quiet_pydicom, unreadable
from ichor.reading.dicom.elements import Elements
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.streams import plain_jpeg, stream_fault
from ichor.reading.dicom.wavelets import bare_stream, is_wavelet
from ichor.reading.files import announce
from ichor.reading.limits import Limits
from ichor.reading.muting import native_stderr_muted
from ichor.reading.refusals import refusal

__all__ = ["LOSSY_SYNTAXES", "Stored", "decode", "decode_file"]

_NATIVE = {
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
}
_JPEG_ROOT = "1.2.840.10008.1.2.4."
LOSSY_SYNTAXES = {_JPEG_ROOT + tail for tail in ("50", "51", "52", "53", "54", "55", "56")}
"""JPEG by cosine transform: never lossless."""


@dataclass(frozen=True)
class Stored:
    """One slice as stored.

    Attributes
    ----------
    raw
        ``(rows, columns)`` integer, every allocated bit.
    dataset
        The file's whole header.
    """

    raw: NDArray[np.integer]
    dataset: Dataset


def decode(header: SliceHeader, limits: Limits) -> Stored:
    """Decode the pixels of one slice.

    Raises
    ------
    RefusedInput
        ``unreadable``: no pixels, a size that the data do not bear out, a stream that no decoder takes; or
        ``limit_exceeded``.
    """
    result = next(decode_file([header], limits))
    if isinstance(result, RefusedInput):
        raise result
    return result


def decode_file(headers: Sequence[SliceHeader], limits: Limits) -> Iterator[Stored | RefusedInput]:
    """Decode slices of one file, which is parsed once.

    Parameters
    ----------
    headers
        Of slices that share their file; frames in any order.
    limits
        What may be spent.

    Yields
    ------
    Stored or RefusedInput
        One for each header, in order. Once one frame is broken, so are those after it.
    """
    first = headers[0]
    name = first.file.name
    done = 0
    try:
        data = open_dataset(first.file, limits, pixels=True)
        with quiet_pydicom():
            _write_plainly(data, first)
            syntax = _transfer_syntax(data)
            _check_pixels(first, data, syntax, limits)
            plugin = _prepare(data, syntax)
        several = first.n_frames > 1
        indices = [h.frame or 0 for h in headers] if several else None
        # All allocated bits: which of them count is found from the values.
        frames = iter_pixels(data, indices=indices, decoding_plugin=plugin, correct_unused_bits=False)
        for header in headers:
            announce(header.file, pixels=True)
            with quiet_pydicom(), _mute_native_decoders(syntax):
                values = next(frames, None)
            stored = Stored(_checked(values, header), data)
            done += 1
            yield stored
    except RefusedInput as refused:
        yield from [refused] * (len(headers) - done)
    except MemoryError:
        yield from [refusal("limit_memory", name)] * (len(headers) - done)
    except RecursionError:
        deep = limits.refuse(name, "sequence_depth", "sequences nested too deeply to be read")
        yield from [deep] * (len(headers) - done)
    except READ_ERRORS as error:
        broken = unreadable(name, f"pixels that cannot be decoded ({type(error).__name__})")
        yield from [broken] * (len(headers) - done)


def _transfer_syntax(data: Dataset) -> UID:
    meta = getattr(data, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return UID(str(meta.TransferSyntaxUID))
    # A bare data set: pydicom has guessed the encoding while parsing.
    implicit, little = data.original_encoding
    data.file_meta = FileMetaDataset() if meta is None else meta
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    data.file_meta.TransferSyntaxUID = syntax
    return syntax


def _write_plainly(data: Dataset, header: SliceHeader) -> None:
    """Give the decoders the numbers that were read: whole ones, under their own representation, none absent.

    pydicom takes no ``512,0`` and no text for a count, and decodes nothing where one that is taken for granted (one
    sample a pixel, unsigned, all bits) is absent. What the values then show goes before the sign and the bits.
    """
    signed = Elements(data).integer("PixelRepresentation")
    numbers = {
        "Rows": header.rows,
        "Columns": header.columns,
        "SamplesPerPixel": header.samples,
        "BitsAllocated": header.bits_allocated,
        "BitsStored": header.bits_stored
        if 0 < header.bits_stored <= header.bits_allocated
        else header.bits_allocated,
        "PixelRepresentation": signed if signed in (0, 1) else 0,
    }
    for keyword, number in numbers.items():
        if 0 <= number < 1 << 16:
            data.add_new(tag_for_keyword(keyword) or 0, "US", number)
    if header.n_frames > 1:
        data.NumberOfFrames = header.n_frames
    if not header.photometric:
        data.PhotometricInterpretation = "MONOCHROME2"


def _prepare(data: Dataset, syntax: UID) -> str:
    """Choose the decoder; an empty name leaves the choice to pydicom."""
    if syntax in LOSSY_SYNTAXES and (syntax != JPEGBaseline8Bit or int(data.BitsAllocated) != 8):
        # pydicom declines 12-bit and retired JPEG processes; gdcm finds the process and the precision in the
        # stream, so that the name of the one syntax without such a check serves for all.
        data.file_meta.TransferSyntaxUID = JPEGLossless
        return "gdcm"
    if syntax in JPEGLSTransferSyntaxes:
        return "pyjpegls"
    if syntax.startswith(_JPEG_ROOT) and syntax[len(_JPEG_ROOT) :] in ("50", "57", "70", "90", "91"):
        return "gdcm"
    return ""


def _mute_native_decoders(syntax: UID) -> contextlib.AbstractContextManager[None]:
    """Keep what the C libraries print on a doubtful stream off standard error."""
    if syntax in _NATIVE or syntax == RLELossless:
        return contextlib.nullcontext()
    return native_stderr_muted()


def _check_pixels(header: SliceHeader, data: Dataset, syntax: UID, limits: Limits) -> None:
    """Compare what the header declares with what there is, before anything is allocated or decoded."""
    name = header.file.name
    if "PixelData" not in data:
        raise unreadable(name, "no pixel data")
    if not header.rows or not header.columns or header.samples != 1:
        found = f"{header.rows} x {header.columns} pixels of {header.samples} samples"
        raise unreadable(name, found, "a grey image")
    if header.bits_allocated not in (8, 16, 32):
        raise unreadable(name, f"{header.bits_allocated} bits allocated", "8, 16 or 32")
    if header.rows * header.columns > limits.pixels:
        raise limits.refuse(name, "pixels", f"{header.rows} x {header.columns} pixels")
    raw = data.PixelData
    if syntax in _NATIVE:
        size = header.rows * header.columns * header.n_frames * header.bits_allocated // 8
        if len(raw) < size:
            raise unreadable(name, f"{len(raw):,} bytes of pixels", f"{size:,} for the declared size")
        return
    frames = list(generate_frames(raw, number_of_frames=header.n_frames))
    for frame in frames:
        fault = stream_fault(frame, header.rows, header.columns, header.bits_allocated, syntax)
        if fault:
            raise unreadable(name, fault, f"one grey image of {header.rows} x {header.columns} as declared")
    if len(frames) < header.n_frames:
        raise unreadable(name, f"{len(frames)} compressed frames", f"{header.n_frames} as declared")
    plain = frames[: header.n_frames]
    if syntax in LOSSY_SYNTAXES or syntax in (JPEGLossless, JPEGLosslessSV1):
        plain = [plain_jpeg(frame) for frame in plain]
    elif is_wavelet(syntax):
        plain = [bare_stream(frame) or frame for frame in plain]
    # The decoder gets what was checked, and nothing else: by offsets of its own it would find other frames.
    data.PixelData = encapsulate(plain)
    for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        data.pop(table, None)


def _checked(values: NDArray[np.integer] | None, header: SliceHeader) -> NDArray[np.integer]:
    """Whole numbers in native byte order and of the declared shape."""
    if values is None:
        raise unreadable(header.file.name, "fewer frames than declared")
    values = np.asarray(values)
    if values.shape != (header.rows, header.columns) or values.dtype.kind not in "iu":
        raise unreadable(
            header.file.name,
            f"pixels of shape {values.shape}",
            f"{header.rows} x {header.columns} grey pixels",
        )
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))

"""Opening DICOM files without trusting them: bounded reads, inflation and nesting, and no chatter."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from ichor.errors import RefusedInput
from ichor.reading.dicom.bounds import (
    BoundedBytes,
    BoundedFile,
    Count,
    Deflated,
    bound_conversion,
    too_many_items,
)
from ichor.reading.files import InputFile, announce
from ichor.reading.limits import Limits
from ichor.reading.refusals import refusal

__all__ = ["READ_ERRORS", "is_dicom", "open_dataset", "quiet_pydicom", "unreadable"]

READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    MemoryError,
    TypeError,
    ValueError,
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    struct.error,
    zlib.error,
)
"""What pydicom and the decoders raise on broken files; their texts may quote values and are not passed on."""

_PREAMBLE = 128
_PIXEL_GROUP = 0x7FE0
_CHUNK = 1 << 20


class _Quiet:
    """Counts who reads at the moment: warnings and pydicom's settings belong to the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.readers = 0
        self.undo = contextlib.ExitStack()


_quiet = _Quiet()


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's remarks, which quote values of the header, out of logs, and its conversions within bounds.

    May be nested and entered from several threads: the first one in sets, the last one out restores.
    """
    with _quiet.lock:
        _quiet.readers += 1
        if _quiet.readers == 1:
            logger = logging.getLogger("pydicom")
            _quiet.undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _quiet.undo.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
            mode = config.settings.reading_validation_mode
            _quiet.undo.callback(setattr, config.settings, "reading_validation_mode", mode)
            config.settings.reading_validation_mode = config.IGNORE
            _quiet.undo.callback(bound_conversion())
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.readers -= 1
            if _quiet.readers == 0:
                _quiet.undo.close()


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its first bytes, with or without the 128-byte preamble."""
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE + 12)
    except OSError:
        return False
    if start[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    if len(start) < 16:
        return False
    group, element = struct.unpack("<HH", start[:4])
    if group not in (0x0002, 0x0008) or element > 0x0070:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or bool(struct.unpack("<L", start[4:8])[0] < 1024)


def unreadable(name: str, found: str, expected: str = "a DICOM image") -> RefusedInput:
    """Make the refusal for a file that cannot be decoded."""
    return RefusedInput(
        name, "unreadable", found=found, expected=expected, remedy="send the image again from its source"
    )


def open_dataset(
    file: InputFile, limits: Limits, *, tags: Sequence[str] | None = None, pixels: bool = False
) -> Dataset:
    """Parse one file.

    Parameters
    ----------
    file
        To be parsed.
    limits
        What may be spent.
    tags
        Keywords to keep; None for all.
    pixels
        Whether to go on to the pixel data.

    Raises
    ------
    RefusedInput
        ``unreadable`` or ``limit_exceeded``.
    """
    announce(file, pixels=pixels)
    count = Count()
    try:
        size = file.path.stat().st_size
        if size > limits.file_bytes:
            raise limits.refuse(file.name, "file_bytes", f"{size:,} bytes")
        with quiet_pydicom(), BoundedFile(file.path, count) as stream:
            data: Dataset
            wanted: list[Any] | None = list(tags) if tags is not None else None
            try:
                data = pydicom.dcmread(
                    stream, stop_before_pixels=not pixels, specific_tags=wanted, force=True
                )
            except Deflated as deflated:
                most = min(limits.file_bytes, size * limits.archive_ratio)
                meta = _meta_information(stream)
                if sum(len(piece) for piece in _inflated(stream, deflated.position, most)) > most:
                    found = f"{size:,} bytes that unpack to more than {most:,}"
                    raise limits.refuse(file.name, "archive_ratio", found) from None
                unpacked = BoundedBytes(b"".join(_inflated(stream, deflated.position, most)), count)
                data = _parse_inflated(meta, unpacked, tags, pixels)
            if _deeper_than(data, limits.sequence_depth):
                raise limits.refuse(
                    file.name, "sequence_depth", f"more than {limits.sequence_depth} nested sequences"
                )
    except RecursionError:
        raise limits.refuse(file.name, "sequence_depth", "sequences nested too deeply to be read") from None
    except MemoryError:
        raise refusal("limit_memory", file.name) from None
    except READ_ERRORS as error:
        if count.exceeded:
            raise unreadable(file.name, "more elements than any image has") from None
        if isinstance(error.__context__, RecursionError):  # pydicom turns it into another one
            found = "sequences nested too deeply to be read"
            raise limits.refuse(file.name, "sequence_depth", found) from None
        raise unreadable(file.name, f"a file that cannot be parsed ({type(error).__name__})") from None
    if count.exceeded or too_many_items(data):  # pydicom goes on over some errors
        raise unreadable(file.name, "more elements than any image has")
    return data


def _meta_information(stream: BoundedFile) -> FileMetaDataset:
    """Meta information of a deflated file, as of what it unpacks to."""
    stream.seek(0)
    read_preamble(stream, force=True)
    meta = FileMetaDataset(
        read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _inflated(stream: BoundedFile, position: int, most: int) -> Iterator[bytes]:
    """Unpack a data set piece by piece, until it is longer than ``most``."""
    stream.seek(position)
    inflater, n = zlib.decompressobj(-zlib.MAX_WBITS), 0
    packed = stream.read(_CHUNK)
    while packed and not inflater.eof and n <= most:
        piece = inflater.decompress(packed, _CHUNK)
        n += len(piece)
        yield piece
        packed = inflater.unconsumed_tail or stream.read(_CHUNK)


def _parse_inflated(
    meta: FileMetaDataset, stream: BoundedBytes, tags: Sequence[str] | None, pixels: bool
) -> Dataset:
    data = read_dataset(
        stream,
        False,
        True,
        stop_when=None if pixels else (lambda tag, vr, length: tag.group >= _PIXEL_GROUP),
        specific_tags=None if tags is None else [pydicom.tag.Tag(tag) for tag in tags],
    )
    data.file_meta = meta
    data.set_original_encoding(False, True, "iso8859")
    return data


def _deeper_than(data: Dataset, limit: int) -> bool:
    """Return whether sequences nest deeper, without recursion and without parsing what is not parsed yet."""
    level = [data]
    for _ in range(limit + 1):
        level = [
            item
            for holder in level
            for element in holder.values()
            if isinstance(element.value, DicomSequence)
            for item in element.value
        ]
        if not level:
            return False
    return True

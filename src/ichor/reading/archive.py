"""Zip archives, unpacked with suspicion: into a private folder, under names of our own, within the limits."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile
from ichor.reading.forms import OFFICE
from ichor.reading.limits import Limits
from ichor.reading.unpacking import Unpacker, cannot_unpack, is_junk, unsafe

__all__ = ["is_zip", "unpack"]

_CHUNK = 1 << 20
_DIRECTORY_BYTES = 512
"""Bytes of the archive's directory that one entry may take; an ordinary one takes about 100."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The only two whose unpacking stops where it is told to; bzip2 and LZMA fill memory first."""
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


class _Crowded(Exception):
    """The directory is larger than that of any archive within the limits."""


class _Bounded(io.BufferedReader):
    """A file that hands out no piece larger than a directory within the limits.

    ``zipfile`` reads and parses the directory at once, before anyone can count its entries.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._most = max(_CHUNK, limits.files * _DIRECTORY_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise _Crowded
        return super().read(size)


def is_zip(path: Path) -> bool:
    """Tell from its first bytes whether a file is a zip archive."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def unpack(path: Path, folder: Path, context: ReadContext) -> list[InputFile]:
    """Unpack an archive.

    Sizes are counted while unpacking; what the archive says of itself is not believed.

    Parameters
    ----------
    path
        The archive.
    folder
        Private and empty; files get numbers for names there, and keep their extension.
    context
        Of the reading; messages name the archive as its source.

    Returns
    -------
    list of InputFile
        Named ``archive.zip:entry``.

    Raises
    ------
    RefusedInput
        ``unsafe_archive``, ``limit_exceeded`` or ``unreadable``.
    """
    name, limits = context.source, context.limits
    unpacker = Unpacker(folder, path.stat().st_size, context)
    try:
        with _Bounded(path, limits) as stream, zipfile.ZipFile(stream) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not is_junk(e.filename)]
            _check_entries(entries, unpacker, name)
            for entry in entries:
                with archive.open(entry) as source:
                    unpacker.write(entry.filename, source.read)
    except _Crowded:
        raise limits.refuse(name, "files", "a directory of very many entries") from None
    except _READ_ERRORS as error:
        raise RefusedInput(
            name,
            "unreadable",
            found=f"an archive that cannot be unpacked ({type(error).__name__})",
            expected="a zip file",
            remedy="pack the study again, or give its folder",
        ) from None
    return unpacker.files


def _check_entries(entries: list[zipfile.ZipInfo], unpacker: Unpacker, name: str) -> None:
    """Refuse what an honest archive of a study does not have, before anything is unpacked."""
    unpacker.check_count(len(entries))
    if any(entry.filename == "[Content_Types].xml" for entry in entries):
        what = "DICOM, NIfTI, or a picture of a slice"
        raise RefusedInput(name, "no_image", found=OFFICE.what, expected=what, remedy=OFFICE.remedy)
    spans = sorted((e.header_offset, e.header_offset + e.compress_size) for e in entries)
    # An entry of no bytes still has a header of its own.
    if any(start < max(end, first + 1) for (first, end), (start, _) in pairwise(spans)):
        raise unsafe(name, "entries that share their bytes", "entries of their own bytes")
    for entry in entries:
        unpacker.check_name(entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise unsafe(name, "an entry that is a link", "files")
        if entry.flag_bits & 0x1:
            raise cannot_unpack(name, "an encrypted entry", "an archive without a password")
        if entry.compress_type not in _METHODS:
            raise cannot_unpack(
                name, f"an entry packed by method {entry.compress_type}", "the ordinary one (deflate)"
            )

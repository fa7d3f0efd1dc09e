"""Tar archives, plain or packed by gzip, and single files packed by gzip: unpacked as zip archives are."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import IO

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile
from ichor.reading.gzipped import is_gzip, open_plain, start_of
from ichor.reading.nifti import nifti_part
from ichor.reading.unpacking import Unpacker, is_junk, unsafe

__all__ = ["gunzip", "is_tar", "untar"]

_NAMES = (".tar", ".tgz", ".tar.gz")
_MOST_PIECE = 1 << 20
"""Bytes read at once: a name or a header that claims more is none."""
_READ_ERRORS = (
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RecursionError,
    UnicodeError,
    ValueError,
)


class _Forward(io.RawIOBase):
    """A stream that goes forwards only, and hands out no piece larger than an honest header or chunk.

    ``tarfile`` reads a name of any length at once, and skips by seeking.
    """

    def __init__(self, stream: IO[bytes], context: ReadContext) -> None:
        super().__init__()
        self._stream = stream
        self._context = context
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece."""
        if size is None or not 0 <= size <= _MOST_PIECE:
            raise tarfile.ReadError("a piece too large")
        piece = self._stream.read(size)
        self._at += len(piece)
        if self._at > self._context.limits.total_bytes:
            raise self._context.refuse("total_bytes", f"more than {self._at:,} bytes unpacked")
        return piece

    def tell(self) -> int:
        """Position in what is unpacked."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go forwards."""
        if whence != io.SEEK_SET or offset < self._at:
            raise tarfile.ReadError("a step backwards")
        while self._at < offset:
            self._context.check_time()
            if not self.read(min(_MOST_PIECE, offset - self._at)):
                break
        return self._at


def is_tar(path: Path) -> bool:
    """Tell from its first bytes, unpacked where they are packed, or by its name, whether a file is a tar archive."""
    head = start_of(path, 512)
    named = path.name.lower().endswith(_NAMES)
    return head[257:262] == b"ustar" or (named and len(head) == 512)


def untar(path: Path, folder: Path, context: ReadContext) -> list[InputFile]:
    """Unpack a tar archive.

    Parameters
    ----------
    path
        The archive.
    folder
        Private and empty.
    context
        Of the reading; messages name the archive as its source.

    Returns
    -------
    list of InputFile
        Named ``archive.tar:entry``.

    Raises
    ------
    RefusedInput
        ``unsafe_archive``, ``limit_exceeded`` or ``unreadable``.
    """
    name = context.source
    unpacker = Unpacker(folder, path.stat().st_size, context)
    n = 0
    try:
        with open_plain(path) as stream, tarfile.TarFile(fileobj=_Forward(stream, context)) as archive:
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]
                n += 1
                unpacker.check_count(n)
                if entry.isdir() or is_junk(entry.name):
                    continue
                unpacker.check_name(entry.name)
                if not entry.isfile():
                    raise unsafe(name, "an entry that is a link or a device", "files")
                source = archive.extractfile(entry)
                if source is not None:
                    unpacker.write(entry.name, source.read)
    except _READ_ERRORS as error:
        raise _broken(name, error, "a tar archive") from None
    return unpacker.files


def gunzip(files: list[InputFile], folder: Path, context: ReadContext) -> list[InputFile]:
    """Unpack those of some files that are packed by gzip one by one; what is broken stays as it is.

    Parameters
    ----------
    files
        Of one input; those that are packed keep their names.
    folder
        Private and empty.
    context
        Of the reading.

    Raises
    ------
    RefusedInput
        ``limit_exceeded``.
    """
    unpacker = Unpacker(folder, sum(f.path.stat().st_size for f in files), context)
    out = []
    for file in files:
        with file.path.open("rb") as stream:
            packed = is_gzip(stream.read(3))
        if not packed or nifti_part(file) is not None or is_tar(file.path):
            out.append(file)
            continue
        try:
            with open_plain(file.path) as stream:
                out.append(unpacker.write(file.name.removesuffix(".gz"), stream.read, file.name))
        except _READ_ERRORS:
            out.append(file)
    return out


def _broken(name: str, error: Exception, expected: str) -> RefusedInput:
    return RefusedInput(
        name,
        "unreadable",
        found=f"an archive that cannot be unpacked ({type(error).__name__})",
        expected=expected,
        remedy="pack the study again, or give its folder",
    )

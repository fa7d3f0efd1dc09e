"""Zip archives, unpacked with suspicion: into a private folder, under names of our own, within the limits."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile, announce, shown
from ichor.reading.limits import Limits

__all__ = ["is_zip", "unpack"]

_CHUNK = 1 << 20
_RATIO_FLOOR = 1 << 20
"""Below this many unpacked bytes no ratio is suspicious: a black slice packs well."""
_DIRECTORY_BYTES = 512
"""Bytes of the archive's directory that one entry may take; an ordinary one takes about 100."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The only two whose unpacking stops where it is told to; bzip2 and LZMA fill memory first."""
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_EXTENSIONS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".zip")
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
    packed = path.stat().st_size
    if packed > limits.total_bytes:
        raise limits.refuse(name, "total_bytes", f"an archive of {packed:,} bytes")
    try:
        with _Bounded(path, limits) as stream, zipfile.ZipFile(stream) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not _is_junk(e.filename)]
            _check_entries(entries, name, limits)
            total = 0
            files = []
            for number, entry in enumerate(entries):
                context.check_time()
                announce(InputFile(path, name))
                target = folder / f"{number:06d}{_extension(entry.filename)}"
                with archive.open(entry) as source, target.open("wb") as sink:
                    while chunk := source.read(_CHUNK):
                        total += sink.write(chunk)
                        _check_size(sink.tell(), total, packed, name, limits)
                        context.check_time()
                files.append(InputFile(target, f"{name}:{shown(entry.filename)}"))
            return files
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


def _check_entries(entries: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    """Refuse what an honest archive of a study does not have, before anything is unpacked."""
    if len(entries) > limits.files:
        raise limits.refuse(name, "files", f"{len(entries):,} entries")
    spans = sorted((e.header_offset, e.header_offset + e.compress_size) for e in entries)
    # An entry of no bytes still has a header of its own.
    if any(start < max(end, first + 1) for (first, end), (start, _) in pairwise(spans)):
        raise _unsafe(name, "entries that share their bytes", "entries of their own bytes")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise _unsafe(name, "an entry that leaves the archive's folder", "entries within it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _unsafe(name, "an entry that is a link", "files")
        if len(path.parts) - 1 > limits.depth:
            raise limits.refuse(name, "depth", f"an entry in folders {len(path.parts) - 1} deep")
        if entry.flag_bits & 0x1:
            raise _cannot_unpack(name, "an encrypted entry", "an archive without a password")
        if entry.compress_type not in _METHODS:
            raise _cannot_unpack(
                name, f"an entry packed by method {entry.compress_type}", "the ordinary one (deflate)"
            )


def _check_size(size: int, total: int, packed: int, name: str, limits: Limits) -> None:
    """Refuse what has grown too large: this entry so far, and all of them."""
    if size > limits.file_bytes:
        raise limits.refuse(name, "file_bytes", f"an entry of more than {limits.file_bytes:,} bytes")
    if total > limits.total_bytes:
        raise limits.refuse(name, "total_bytes", f"more than {limits.total_bytes:,} bytes unpacked")
    if total > _RATIO_FLOOR and total > limits.archive_ratio * packed:
        raise limits.refuse(name, "archive_ratio", f"more than {limits.archive_ratio} times its packed size")


def _unsafe(name: str, found: str, expected: str) -> RefusedInput:
    return RefusedInput(
        name,
        "unsafe_archive",
        found=found,
        expected=expected,
        remedy="do not open it; ask its sender for another",
    )


def _cannot_unpack(name: str, found: str, expected: str) -> RefusedInput:
    return RefusedInput(
        name, "unreadable", found=found, expected=expected, remedy="unpack it, and give the folder"
    )


def _is_junk(filename: str) -> bool:
    parts = PurePosixPath(filename.replace("\\", "/")).parts
    return any(part in _JUNK or part.startswith("._") for part in parts)


def _extension(filename: str) -> str:
    return next((known for known in _EXTENSIONS if filename.lower().endswith(known)), "")

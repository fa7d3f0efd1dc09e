"""Zip archives, unpacked with suspicion: into a private folder, under names of our own, within the limits."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ichor.errors import RefusedInput
from ichor.reading.files import InputFile
from ichor.reading.limits import Deadline, Limits

__all__ = ["is_zip", "unpack"]

_CHUNK = 1 << 20
_RATIO_FLOOR = 1 << 20
"""Below this many unpacked bytes no ratio is suspicious: a black slice packs well."""
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


def is_zip(path: Path) -> bool:
    """Tell from its first bytes whether a file is a zip archive."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def unpack(path: Path, name: str, folder: Path, limits: Limits, deadline: Deadline) -> list[InputFile]:
    """Unpack an archive.

    Sizes are counted while unpacking; what the archive says of itself is not believed.

    Parameters
    ----------
    path, name
        The archive, and how messages name it.
    folder
        Private and empty; files get numbers for names there, and keep their extension.
    limits, deadline
        What may be spent.

    Returns
    -------
    list of InputFile
        Named ``archive.zip:entry``.

    Raises
    ------
    RefusedInput
        ``unsafe_archive``, ``limit_exceeded`` or ``unreadable``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not _is_junk(e.filename)]
            _check_entries(entries, name, limits)
            packed = path.stat().st_size
            total = 0
            files = []
            for number, entry in enumerate(entries):
                deadline.check()
                target = folder / f"{number:06d}{_extension(entry.filename)}"
                total = _extract(archive, entry, target, total, packed, name, limits)
                files.append(InputFile(target, f"{name}:{entry.filename}"))
            return files
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise RefusedInput(
            name,
            "unreadable",
            found=f"an archive that cannot be unpacked ({type(error).__name__})",
            expected="a zip file",
            remedy="pack the study again, without encryption, with ordinary compression",
        ) from None


def _check_entries(entries: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    """Refuse what an honest archive of a study does not have, before anything is unpacked."""
    if len(entries) > limits.files:
        raise limits.refuse(name, "files", f"{len(entries):,} entries")
    spans = sorted((e.header_offset, e.header_offset + e.compress_size) for e in entries)
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        if start < end:
            raise _unsafe(name, "entries that share their bytes", "entries of their own bytes")
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0] or "\0" in entry.filename:
            raise _unsafe(name, "an entry that leaves the archive's folder", "entries within it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _unsafe(name, "an entry that is a link", "files")
        if len(parts.parts) > limits.depth:
            raise limits.refuse(name, "depth", f"an entry {len(parts.parts)} folders deep")
        if entry.flag_bits & 0x1:
            raise RefusedInput(
                name,
                "unreadable",
                found="an encrypted entry",
                expected="an archive without a password",
                remedy="unpack it, and give the folder",
            )


def _extract(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    target: Path,
    total: int,
    packed: int,
    name: str,
    limits: Limits,
) -> int:
    """Write one entry, counting; return the bytes unpacked so far."""
    size = 0
    with archive.open(entry) as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            total += len(chunk)
            if size > limits.file_bytes:
                raise limits.refuse(name, "file_bytes", f"an entry of more than {limits.file_bytes:,} bytes")
            if total > limits.total_bytes:
                raise limits.refuse(name, "total_bytes", f"more than {limits.total_bytes:,} bytes unpacked")
            if total > _RATIO_FLOOR and total > limits.archive_ratio * packed:
                raise limits.refuse(name, "archive_ratio", f"{total // max(packed, 1)} times its packed size")
            sink.write(chunk)
    return total


def _unsafe(name: str, found: str, expected: str) -> RefusedInput:
    return RefusedInput(
        name, "unsafe_archive", found=found, expected=expected, remedy="do not open it; ask its sender for another"
    )


def _is_junk(filename: str) -> bool:
    parts = PurePosixPath(filename.replace("\\", "/")).parts
    return any(part in _JUNK or part.startswith("._") for part in parts)


def _extension(filename: str) -> str:
    lower = filename.lower()
    for known in (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".zip"):
        if lower.endswith(known):
            return known
    return ""

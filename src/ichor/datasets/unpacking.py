"""Publishers' archives unpacked: within their folder, and going on after a kill."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ichor.errors import UsageError
from ichor.progress import Progress

__all__ = ["check_name", "unpack_into"]

_RATIO = 1000
"""Unpacked over packed bytes of one entry; tables of labels reach 60, and nothing here reaches this."""
_RATIO_FLOOR = 100_000_000
_EVERY = 200
_BLOCK = 1 << 20
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")


def check_name(name: str, source: str) -> PurePosixPath:
    """Refuse a name of an archive's entry, or of a publisher's list, that leads out of its folder.

    Raises
    ------
    UsageError
        Where it does.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or not path.parts:
        raise UsageError(
            f"{source}: found a name that leads out of its folder; expected names within it; do not use this file"
        )
    return path


def unpack_into(archive: Path, folder: Path, progress: Progress, strip: str = "") -> None:
    """Unpack a zip; what an earlier call unpacked whole is not unpacked again.

    Parameters
    ----------
    archive
        The zip.
    folder
        Where its files go.
    progress
        Called with how far it is.
    strip
        A folder to leave away where an entry's path begins with it; a folder within one of its own name is one.

    Raises
    ------
    UsageError
        Where the archive is broken, leads out of its folder, or does not fit on the disk.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [(e, _place(e, archive, strip)) for e in opened.infolist() if not _is_left_out(e)]
            for entry, _ in entries:
                _check(entry, archive)
            todo = [(e, folder / p) for e, p in entries if not _is_there(folder / p, e.file_size)]
            need, free = sum(e.file_size for e, _ in todo), shutil.disk_usage(folder).free
            if need > free:
                raise UsageError(
                    f"{folder}: found {free / 1e9:.1f} GB free; expected {need / 1e9:.1f} GB to unpack {archive.name}; "
                    "free some and run the command again: it goes on"
                )
            for number, (entry, path) in enumerate(todo):
                if number % _EVERY == 0:
                    progress(f"unpacking {archive.name}: {number:,} of {len(todo):,}", number / len(todo))
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f"{path.name}.part")
                with opened.open(entry) as source, temporary.open("wb") as sink:
                    shutil.copyfileobj(source, sink, _BLOCK)
                temporary.replace(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"{archive}: found a zip that cannot be unpacked ({type(error).__name__}); expected the publisher's; "
            "remove it and run the command again"
        ) from None


def _is_left_out(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename).parts
    return entry.is_dir() or any(part in _JUNK or part.startswith("._") for part in parts)


def _place(entry: zipfile.ZipInfo, archive: Path, strip: str) -> PurePosixPath:
    parts = check_name(entry.filename, str(archive)).parts
    if len(parts) > 1 and strip and parts[0] == strip:
        parts = parts[1:]
    if len(parts) > 2 and parts[0] == parts[1]:
        parts = parts[1:]
    return PurePosixPath(*parts)


def _check(entry: zipfile.ZipInfo, archive: Path) -> None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UsageError(f"{archive}: found an entry that is a link; expected files; do not use this file")
    if entry.file_size > max(_RATIO_FLOOR, _RATIO * entry.compress_size):
        raise UsageError(
            f"{archive}: found an entry that unpacks to {entry.file_size / max(1, entry.compress_size):,.0f} times its "
            f"size; expected at most {_RATIO:,}; do not use this file"
        )


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size

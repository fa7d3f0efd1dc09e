"""What an upload consists of: announced before its bytes come, kept beside them, removed with them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ichor.errors import IchorError
from ichor.jobs.storage import Storage, new_id
from ichor.reading.limits import Limits

__all__ = ["FileEntry", "PlannedUpload", "UploadRefused"]

_VOLUMES = (".nii.gz", ".nii")
_PAIRS = (".hdr.gz", ".hdr", ".img.gz", ".img")
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
_KEPT_SUFFIXES = (*_VOLUMES, *_PAIRS, *_ARCHIVES, *_PICTURES, ".gz", ".dcm")
"""By which reading knows what a file may be; whatever else a name says is not kept on disk."""
_ALONE = (*_VOLUMES, *_ARCHIVES, *_PICTURES, ".gz")
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_LEFT_OUT = "left out"
"""What systems leave beside files: taken, and not read."""
_NAME = "manifest.json"


class UploadRefused(IchorError):
    """An upload that will not be taken.

    Parameters
    ----------
    code
        ``limit_exceeded``, ``unsafe_path`` or ``empty``.
    message
        A sentence without the name of a file.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class FileEntry:
    """One file of an upload.

    Attributes
    ----------
    path
        As the sender named it, for the sender only; never part of a path here.
    size
        Bytes, as announced.
    place
        Where its bytes go, within the upload's folder.
    """

    path: str
    size: int
    place: str


@dataclass(frozen=True)
class PlannedUpload:
    """An upload.

    Attributes
    ----------
    id
        Random.
    files
        In the order in which they were announced.
    inputs
        What is handed to the reader, one after the other: a file, or a folder of several.
    alias
        What the user calls it.
    stack
        How its pictures lie in one exam (:class:`ichor.detecting.PictureStack`); None where each is its own.
    """

    id: str
    files: tuple[FileEntry, ...]
    inputs: tuple[str, ...]
    alias: str | None = None
    stack: dict[str, Any] | None = None

    @classmethod
    def plan(
        cls,
        files: Sequence[tuple[str, int]],
        limits: Limits,
        alias: str | None = None,
        stack: dict[str, Any] | None = None,
    ) -> PlannedUpload:
        """Decide where files go.

        An archive, a volume or a picture that lies in no folder is an input of its own, as is an archive within
        one; the two files of a NIfTI pair are one, under one name; the files of one folder of the top are one input,
        and loose files of other kinds (DICOM) together one.

        Parameters
        ----------
        files
            Path and bytes of each, as announced.
        limits
            What an input may have.
        alias
            What the user calls it.
        stack
            Takes all pictures as one input, in the order of their names as people number them.

        Raises
        ------
        UploadRefused
            For too many, too large or too deep files, and for names that leave their folder.
        """
        if not files:
            raise UploadRefused("empty", "Found no file; expected one or more.")
        if len(files) > limits.files:
            raise _beyond(limits, "files", f"{len(files):,} files")
        groups: dict[str, list[int]] = {}
        for number, (path, size) in enumerate(files):
            parts = _parts(path, limits)
            if size > limits.file_bytes:
                raise _beyond(limits, "file_bytes", f"a file of {size:,} bytes")
            pictured = stack is not None and path.lower().endswith(_PICTURES)
            groups.setdefault("stack" if pictured else _group(parts, number), []).append(number)
        rank = {number: k for k, number in enumerate(_in_order(files))} if stack else None
        total = sum(size for _, size in files)
        if total > limits.total_bytes:
            raise _beyond(limits, "total_bytes", f"{total:,} bytes")
        places: dict[int, str] = {}
        taken: set[str] = set()
        inputs = []
        for k, (group, members) in enumerate(groups.items()):
            names: dict[str, str] = {}
            for number in members:
                path = files[number][0]
                place_number = number if rank is None else rank[number]
                name = names.setdefault(_pair(path) or f"file {number}", f"{place_number:06d}")
                place = f"{k:06d}/{name}{_suffix(path)}"
                if place in taken:  # names that differ in capitals alone
                    place = f"{k:06d}/{number:06d}{_suffix(path)}"
                taken.add(place)
                places[number] = place
            if group != _LEFT_OUT or len(groups) == 1:
                inputs.append(places[members[0]] if len(members) == 1 else f"{k:06d}")
        entries = tuple(FileEntry(path, size, places[n]) for n, (path, size) in enumerate(files))
        return cls(new_id(), entries, tuple(inputs), alias, stack)

    def create(self, storage: Storage) -> None:
        """Make the upload's folder."""
        folder = storage.upload(self.id)
        folder.mkdir(mode=0o700)
        for place in sorted({PurePosixPath(f.place).parent for f in self.files}):
            (folder / place).mkdir(mode=0o700)
        data = {
            "files": [asdict(f) for f in self.files],
            "inputs": list(self.inputs),
            "alias": self.alias,
            "stack": self.stack,
        }
        temporary = folder / f"{_NAME}.part"
        temporary.write_text(json.dumps(data), encoding="utf-8")
        temporary.rename(folder / _NAME)

    @classmethod
    def load(cls, storage: Storage, upload: str) -> PlannedUpload | None:
        """Read the plan of an upload; None where there is none."""
        path = storage.upload(upload) / _NAME
        if not path.is_file():
            return None
        try:
            # Of a large series it is asked for with every part that comes.
            return cls._parsed(path, upload)
        except FileNotFoundError:  # completed or cancelled in between
            return None

    @classmethod
    @functools.lru_cache(maxsize=16)
    def _parsed(cls, path: Path, upload: str) -> PlannedUpload:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(FileEntry(**f) for f in data["files"])
        return cls(upload, files, tuple(data["inputs"]), data["alias"], data.get("stack"))

    @staticmethod
    def forget_names(storage: Storage, upload: str) -> None:
        """Remove the names that the sender gave, once nobody needs them to go on with the upload."""
        (storage.upload(upload) / _NAME).unlink(missing_ok=True)

    def received(self, storage: Storage) -> list[int]:
        """Bytes of each file that are there."""
        folder = storage.upload(self.id)
        return [_size(folder / f.place) for f in self.files]

    def file(self, storage: Storage, index: int) -> Path:
        """Where the bytes of one file go."""
        return storage.upload(self.id) / self.files[index].place


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _parts(path: str, limits: Limits) -> tuple[str, ...]:
    """Parts of a path as a browser or a script gives it."""
    plain = path.replace("\\", "/")
    parts = tuple(p for p in plain.split("/") if p not in ("", "."))
    if not parts or plain.startswith("/") or ".." in parts or "\0" in path or parts[0].endswith(":"):
        raise UploadRefused(
            "unsafe_path",
            "Found a file name that leaves its folder; expected a name, or a path within one folder.",
        )
    if len(parts) - 1 > limits.depth:
        raise _beyond(limits, "depth", f"a file in folders {len(parts) - 1} deep")
    return parts


def _in_order(files: Sequence[tuple[str, int]]) -> list[int]:
    """Order files by their names as people number them: 9 stands before 10. The names themselves are not kept."""

    def key(number: int) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", files[number][0].casefold())
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]

    return sorted(range(len(files)), key=key)


def _group(parts: tuple[str, ...], number: int) -> str:
    name = parts[-1].lower()
    if any(p in _JUNK or p.startswith("._") for p in parts):
        return _LEFT_OUT
    if pair := _pair("/".join(parts)):
        return f"pair {pair}" if len(parts) == 1 else f"folder {parts[0]}"
    if name.endswith(_ARCHIVES) or (len(parts) == 1 and name.endswith(_ALONE)):
        return f"file {number}"
    return f"folder {parts[0]}" if len(parts) > 1 else "loose"


def _pair(path: str) -> str:
    """Name that the two files of a NIfTI pair share; empty for a file of another kind."""
    suffix = next((s for s in _PAIRS if path.lower().endswith(s)), "")
    return path[: -len(suffix)] if suffix else ""


def _suffix(path: str) -> str:
    return next((known for known in _KEPT_SUFFIXES if path.lower().endswith(known)), "")


def _beyond(limits: Limits, name: str, found: str) -> UploadRefused:
    most = getattr(limits, name)
    return UploadRefused(
        "limit_exceeded",
        f"Found {found}; expected at most {most:,} ({name}); send less, or have the server's limit raised.",
    )

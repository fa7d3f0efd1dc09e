"""Units in S3 and what speaks like it, through pyarrow's file systems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ichor.bulk.folders import study_of
from ichor.bulk.grouping import Part
from ichor.bulk.tree import Listing, TreeSource
from ichor.bulk.units import Unit
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.object_stores import open_store
from ichor.reading.scratch import ScratchFolder

__all__ = ["StoreSource"]

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_VOLUMES = (".nii", ".nii.gz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
_OTHERS = (".txt", ".csv", ".json", ".xml", ".md", ".pdf", ".html")
_HEADER_BYTES = 256 << 10
"""Of the first object of a prefix, which names the study: one request."""
_CHUNK = 4 << 20


class StoreSource(TreeSource):
    """Studies below a prefix, where ``/`` parts folders.

    Every request costs time and money, so that less is read than on a disk: an object is known by its name, and of the
    DICOM objects of one folder the first tells the study of all. A folder of several studies still gives a row
    for each; a study in several folders is one where the first objects of these folders are of it.

    Parameters
    ----------
    address
        ``s3://bucket/prefix``; options of the file system after ``?``, such as ``endpoint_override``. Credentials come
        from the environment, as of any AWS client.
    limits
        For the headers that are read.

    Raises
    ------
    UsageError
        Where the address cannot be used, or names credentials.
    """

    def __init__(self, address: str, limits: Limits) -> None:
        super().__init__(address)
        self._fs, root = open_store(address, below="prefix")
        self._root = PurePosixPath(root)
        self._limits = limits

    def entries(self, folder: str) -> Listing:
        """List what lies right below a prefix."""
        from pyarrow import fs

        found = self._fs.get_file_info(fs.FileSelector(str(self._root / folder), recursive=False))
        files: list[tuple[str, int]] = []
        folders: list[str] = []
        for info in sorted(found, key=lambda info: info.base_name):
            name = f"{folder}/{info.base_name}" if folder else info.base_name
            if info.type == fs.FileType.Directory:
                folders.append(name)
            elif info.size:  # a mark of a folder has no bytes
                files.append((name, info.size))
        return files, folders

    def parts(self, folder: str, files: list[tuple[str, int]], has_folders: bool) -> Iterator[Part]:
        """Part the objects of a prefix by their names; the first DICOM object tells the study."""
        groups: dict[str, list[tuple[str, int]]] = {}
        for name, size in files:
            groups.setdefault(_kind(name), []).append((name, size))
        dicom, pictures = groups.get("dicom", []), groups.get("picture", [])
        alone = not (groups.get("archive") or groups.get("volume") or has_folders)
        if dicom:
            places = (folder or ".",) if alone else tuple(name for name, _ in dicom)
            yield Part(folder, self._study(dicom[0][0]) or f"folder {folder}", places, tuple(dicom))
        for one in (*groups.get("archive", []), *groups.get("volume", [])):
            yield Part(folder, "", (one[0],), (one,))
        if not (dicom or groups.get("volume")):
            for one in pictures:
                yield Part(folder, "", (one[0],), (one,))
        if not (dicom and alone):
            self._left_out["files that are no images"] += len(groups.get("other", []))

    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Download the objects of a unit, under names of our own: a key may be no name of a file."""
        names = [name for place in unit.places for name in self._objects(place)]
        paths = []
        for number, name in enumerate(names):
            plain = re.sub(r"[^\w.-]", "_", PurePosixPath(name).name).lstrip(".")
            path = folder / f"{number:06d}-{plain}"
            self._download(name, path)
            paths.append(path)
        # One DICOM object is read as a folder, as those of several are: a refusal knows its study then.
        return paths[0] if len(paths) == 1 and _kind(names[0]) != "dicom" else folder

    def _objects(self, place: str) -> list[str]:
        """Keys, below the root, of what a place holds."""
        from pyarrow import fs

        path = self._root if place == "." else self._root / place
        info = self._fs.get_file_info(str(path))
        if info.type == fs.FileType.File:
            return [place]
        found = self._fs.get_file_info(fs.FileSelector(str(path), recursive=True))
        return sorted(
            PurePosixPath(one.path).relative_to(self._root).as_posix()
            for one in found
            if one.type == fs.FileType.File and one.size
        )

    def _download(self, name: str, path: Path) -> None:
        with self._open(name) as source, path.open("wb") as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)

    def _study(self, name: str) -> str:
        """UID of the study of an object, from its first bytes."""
        with ScratchFolder() as scratch:
            path = scratch / "start"
            try:
                with self._open(name) as source:
                    path.write_bytes(source.read(_HEADER_BYTES))
            except OSError:  # one object that is archived or locked does not end the run: its row says so
                return ""
            return study_of(InputFile(path, name), self._limits)

    def _open(self, name: str) -> Any:
        return self._fs.open_input_stream(str(self._root / name))


def _kind(name: str) -> str:
    lower = name.lower()
    for kind, ends in (
        ("archive", _ARCHIVES),
        ("volume", _VOLUMES),
        ("picture", _PICTURES),
        ("other", _OTHERS),
    ):
        if lower.endswith(ends):
            return kind
    return "dicom"

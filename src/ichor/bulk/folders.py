"""Units in a folder of this machine, or of a disk that all machines see."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ichor.bulk.grouping import Part, unit_of
from ichor.bulk.tree import Listing, TreeSource
from ichor.bulk.units import Unit
from ichor.errors import RefusedInput, UsageError
from ichor.reading.dicom.dataset import open_dataset
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.sorting import SortedFiles, sort_files

__all__ = ["FolderSource", "parts_of", "study_of"]


class FolderSource(TreeSource):
    """Studies, archives, volumes and pictures below a folder, or a single file.

    Parameters
    ----------
    root
        The folder or file.
    skipped
        A folder that is not looked into: the output, should it lie within.
    limits
        For the headers that are read.

    Raises
    ------
    UsageError
        Where there is no such folder or file.
    """

    def __init__(self, root: Path, skipped: Path | None = None, limits: Limits | None = None) -> None:
        self.root = root.absolute()
        if not self.root.exists():
            raise UsageError(f"{root}: found no such folder or file; expected studies; check the path")
        super().__init__(str(self.root))
        self._skipped = skipped.resolve() if skipped else None
        self._limits = limits or Limits.from_environment()

    def discover(self) -> Iterator[Unit]:
        """Yield units as they are found, folder by folder in the order of their names."""
        if self.root.is_dir():
            yield from super().discover()
        else:
            size = self.root.stat().st_size
            yield unit_of(Part("", "", (".",), ((self.root.name, size),)))

    def parts(self, folder: str, files: list[tuple[str, int]], has_folders: bool) -> Iterator[Part]:
        """Part the files of a folder by what they hold."""
        paths = [InputFile(self.root / name, name) for name, _ in files]
        return parts_of(folder, sort_files(paths, []), dict(files), self._uid, self._left_out, has_folders)

    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Give the path of a unit; several places are linked or copied into one folder."""
        if len(unit.places) == 1:
            return self.root / unit.places[0]
        for place in unit.places:
            here = self.root / place
            files = sorted(p for p in here.iterdir() if p.is_file()) if here.is_dir() else [here]
            for file in files:
                target = folder / file.relative_to(self.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.hardlink_to(file)
                except OSError:  # another disk, or one without links
                    shutil.copyfile(file, target)
        return folder

    def entries(self, folder: str) -> Listing:
        """List a folder; links are not followed, as in reading."""
        files: list[tuple[str, int]] = []
        folders: list[str] = []
        with os.scandir(self.root / folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if self._skipped is None or Path(entry.path).resolve() != self._skipped:
                        folders.append(name)
                elif entry.name.startswith("._"):  # macOS leaves one beside each file
                    continue
                elif entry.is_file(follow_symlinks=False):
                    files.append((name, entry.stat(follow_symlinks=False).st_size))
                else:
                    self._left_out["links and special files"] += 1
        return files, folders

    def _uid(self, file: InputFile) -> str:
        return study_of(file, self._limits)


def study_of(file: InputFile, limits: Limits) -> str:
    """UID of the study that a DICOM file belongs to; as in reading, of its series where it names none; else empty."""
    with contextlib.suppress(RefusedInput):
        data = open_dataset(file, limits, tags=("StudyInstanceUID", "SeriesInstanceUID"))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            uid = str(data.get(keyword) or "").strip()
            if uid:
                return uid
    return ""


def parts_of(
    folder: str,
    files: SortedFiles,
    sizes: dict[str, int],
    uid_of: Callable[[InputFile], str],
    left_out: Counter[str],
    has_folders: bool,
) -> Iterator[Part]:
    """Part the files of one folder into studies, archives, volumes and pictures.

    Parameters
    ----------
    folder
        Below the root.
    files
        Its files by what they are, each named by its path below the root.
    sizes
        Bytes by that name.
    uid_of
        Gives the study's UID of a DICOM file.
    left_out
        Counts what is in no part.
    has_folders
        Whether there are folders within: the folder is then not read as a whole, which would take them in.
    """
    studies: dict[str, list[str]] = {}
    for file in files.dicom:
        uid = uid_of(file)
        studies.setdefault(uid, []).append(file.name)
    if len(studies) > 1 and "" in studies:  # headers that cannot be read: each says so in a row of its own
        for name in studies.pop(""):
            yield _single(folder, name, sizes)
    pictures = [file.name for file in files.pictures]
    beside = [*(f.name for f in files.other), *(pictures if files.dicom or files.volumes else [])]
    alone = len(studies) == 1 and not (files.volumes or files.archives or has_folders)
    for uid, names in studies.items():
        # A folder of one study is read as it is, with what else lies there: notices then name it.
        places = (folder or ".",) if alone else tuple(names)
        held = tuple((name, sizes[name]) for name in names)
        yield Part(folder, uid or f"folder {folder}", places, held)
    if not alone:
        left_out["files that are no images"] += len(beside) + len(files.forms)
    for volume in files.volumes:
        both = [volume.header, *([volume.voxels] if volume.voxels else [])]
        held = tuple((f.name, sizes[f.name]) for f in both)
        yield Part(folder, "", (volume.header.name,), held)
    for archive in files.archives:
        yield _single(folder, archive.name, sizes)
    if not (files.dicom or files.volumes):
        for name in pictures:
            yield _single(folder, name, sizes)


def _single(folder: str, name: str, sizes: dict[str, int]) -> Part:
    return Part(folder, "", (name,), ((name, sizes[name]),))

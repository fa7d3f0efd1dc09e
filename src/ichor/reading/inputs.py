"""From paths to exams and pictures: folders, files, archives, whatever they hold."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.notices import Notice, notice
from ichor.reading.archive import is_zip, unpack
from ichor.reading.context import ReadContext
from ichor.reading.dicom import is_dicom, read_dicom
from ichor.reading.files import InputFile, announce, shown
from ichor.reading.limits import Limits
from ichor.reading.nifti import is_nifti, read_nifti
from ichor.reading.picture import is_picture, read_pictures

__all__ = ["read", "read_all", "read_here"]

Result = Exam | Picture | RefusedInput


def read(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Exam | Picture:
    """Read the one exam or picture that a path holds.

    Parameters
    ----------
    path
        A folder of DICOM files, one DICOM file, a zip of either, a NIfTI volume, or a picture of a slice.
    series
        Series instance UID (as stored, or hashed) to take instead of the one that the rules choose.
    limits
        How much is read; by default :meth:`Limits.from_environment`.
    isolated
        Read in a process of its own, under a ceiling of memory and time: a file that ends a decoder, fills
        memory or never ends is refused, and this process goes on.

    Returns
    -------
    Exam or Picture
        What was read, with everything that was noticed in ``notices``.

    Raises
    ------
    RefusedInput
        Where it cannot be read as an exam or picture.
    UsageError
        Where the path holds several: :func:`read_all` gives each.
    """
    results = list(read_all(path, series=series, limits=limits, isolated=isolated))
    good = [r for r in results if not isinstance(r, RefusedInput)]
    if len(results) > 1:
        raise UsageError(
            f"{path}: found {len(results)} exams or pictures; expected one; use ichor.read_all to get each"
        )
    if not good:
        raise next(r for r in results if isinstance(r, RefusedInput))
    return good[0]


def read_all(
    *paths: str | os.PathLike[str],
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Iterator[Exam | Picture | RefusedInput]:
    """Read everything that some paths hold; what cannot be read is given as its refusal, the rest goes on.

    Parameters
    ----------
    *paths
        As in :func:`read`.
    series, limits, isolated
        As in :func:`read`; each path has the limits to itself.

    Yields
    ------
    Exam, Picture or RefusedInput
        One a study, volume or picture; a refusal for a path that held nothing.
    """
    bounds = limits or Limits.from_environment()
    for path in paths:
        if isolated:
            from ichor.reading.isolation import read_path

            yield from read_path(path, series, bounds)
        else:
            yield from read_here(Path(path), series, bounds)


def read_here(path: Path, series: str | None, limits: Limits) -> Iterator[Result]:
    """Read all that one path holds, in this process: :func:`read_all` of one path."""
    name = shown(os.fspath(path))
    context = ReadContext.begin(name, limits, series=series)
    for result in _read_input(path, name, context):
        given = time.monotonic()
        yield result
        context.deadline.pause(time.monotonic() - given)


def _read_input(path: Path, name: str, context: ReadContext) -> Iterator[Result]:
    limits = context.limits
    try:
        if path.is_dir():
            files, left_out = _walk(path, name, limits)
            yield from _read_files(_sort(files, left_out), context)
        elif not path.is_file():
            raise RefusedInput(
                name, "not_found", found="no such file or folder", expected="a study", remedy="check the path"
            )
        elif is_zip(path):
            with tempfile.TemporaryDirectory(prefix="ichor-") as folder:
                files = unpack(path, Path(folder), context)
                # What is read must not need the folder afterwards: read it all before it goes.
                yield from list(_read_files(_sort(files, []), context))
        else:
            with path.open("rb"):  # says why, where it cannot be opened
                pass
            yield from _read_files(_sort([InputFile(path, name)], []), context)
    except RefusedInput as refusal:
        yield refusal
    except OSError as error:
        yield RefusedInput(
            name,
            "not_found",
            found=f"a path that cannot be opened ({error.strerror or type(error).__name__})",
            expected="a readable one",
            remedy="check its permissions",
        )


def _walk(folder: Path, name: str, limits: Limits) -> tuple[list[InputFile], list[str]]:
    """All regular files of a folder in order of their paths, and in words what was left out.

    Links are not followed: what they lead to within the folder is read at its own place.
    """
    files: list[InputFile] = []
    total = strange = 0
    home = folder.resolve()
    for here, folders, names in os.walk(folder, followlinks=False):
        depth = len(Path(here).relative_to(folder).parts)
        if depth >= limits.depth and folders:
            raise limits.refuse(name, "depth", f"folders {depth + 1} deep")
        folders.sort()
        links = {p for p in (Path(here) / n for n in (*folders, *names)) if p.is_symlink()}
        strange += sum(not (p.exists() and p.resolve().is_relative_to(home)) for p in links)
        for file_name in sorted(names):
            file = Path(here) / file_name
            if file_name.startswith("._") or file in links:  # the former, macOS leaves beside each file
                continue
            if not file.is_file():
                strange += 1
                continue
            total += file.stat().st_size
            files.append(InputFile(file, shown(os.fspath(file))))
            if len(files) > limits.files:
                raise limits.refuse(name, "files", f"more than {limits.files:,} files")
            if total > limits.total_bytes:
                raise limits.refuse(name, "total_bytes", f"more than {limits.total_bytes:,} bytes")
    return files, [_counted(strange, "link or special file", "links or special files")] if strange else []


@dataclass
class _Sorted:
    """The files of one input by what they are."""

    dicom: list[InputFile] = field(default_factory=list)
    volumes: list[InputFile] = field(default_factory=list)
    pictures: list[InputFile] = field(default_factory=list)
    archives: list[InputFile] = field(default_factory=list)
    other: list[InputFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def single(self) -> bool:
        """Whether the input is one file, by its own name or alone in an archive."""
        groups = (self.dicom, self.volumes, self.pictures, self.archives, self.other)
        return sum(map(len, groups)) == 1 and not self.left_out

    def notices(self) -> tuple[Notice, ...]:
        """Say what of the input is in none of its results."""
        out = []
        if self.other:
            text = "1 file is no image" if len(self.other) == 1 else f"{len(self.other)} files are no images"
            out.append(notice("not_an_image", f"{text}; left out."))
        left_out = list(self.left_out)
        if self.archives:
            left_out.append(_counted(len(self.archives), "archive"))
        # Beside DICOM or volumes, pictures are logos and captures, not exams.
        if self.pictures and (self.dicom or self.volumes):
            left_out.append(_counted(len(self.pictures), "picture"))
        if left_out:
            out.append(notice("file_left_out", f"Left out: {', '.join(left_out)}."))
        return tuple(out)


def _sort(files: list[InputFile], left_out: list[str]) -> _Sorted:
    groups = _Sorted(left_out=left_out)
    closed = 0
    for file in files:
        announce(None)
        try:
            with file.path.open("rb") as stream:
                head = stream.read(8)
        except OSError:
            closed += 1
            continue
        if is_nifti(file.name):
            groups.volumes.append(file)
        elif is_dicom(file.path):
            groups.dicom.append(file)
        elif is_picture(file.name, head):
            groups.pictures.append(file)
        elif head.startswith(b"PK\x03\x04"):
            groups.archives.append(file)
        else:
            groups.other.append(file)
    if closed:
        groups.left_out.append(_counted(closed, "file that cannot be opened", "files that cannot be opened"))
    return groups


def _read_files(files: _Sorted, context: ReadContext) -> Iterator[Result]:
    notices = files.notices()
    found = 0
    for result in _results(files, replace(context, single_file=files.single)):
        found += 1
        yield _with_notices(result, notices)
    if not found:
        raise _nothing(context.source, files)


def _results(files: _Sorted, context: ReadContext) -> Iterator[Result]:
    if files.dicom:
        yield from read_dicom(files.dicom, context)
    for file in files.volumes:
        context.check_time()
        try:
            yield read_nifti(file, context)
        except RefusedInput as refusal:
            yield refusal
    if files.dicom or files.volumes:
        return
    for file in files.pictures:
        try:
            yield from read_pictures(file, context)
        except RefusedInput as refusal:
            context.check_time()
            yield refusal


def _with_notices(result: Result, notices: tuple[Notice, ...]) -> Result:
    if isinstance(result, RefusedInput):
        return result.with_context(notices=(*result.notices, *notices))
    return replace(result, notices=(*result.notices, *notices)) if notices else result


def _counted(n: int, one: str, many: str = "") -> str:
    return f"1 {one}" if n == 1 else f"{n} {many or one + 's'}"


def _nothing(name: str, files: _Sorted) -> RefusedInput:
    if files.archives:
        found, remedy = "archives within the input", "unpack them, or give each by its own name"
    elif files.single:
        found = "a file that is neither DICOM, NIfTI nor a picture"
        remedy = "give the study in one of these forms"
    elif files.other or files.left_out:
        counted = [_counted(len(files.other), "file that is no image", "files that are no images")]
        found, remedy = ", ".join((counted if files.other else []) + files.left_out), "check the path"
    else:
        found, remedy = "nothing in it", "check the path"
    return RefusedInput(
        name, "no_image", found=found, expected="DICOM, NIfTI, or a picture of a slice", remedy=remedy
    )

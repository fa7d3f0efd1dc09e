"""From paths to exams and pictures: folders, files, archives, whatever they hold."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.notices import Notice
from ichor.reading.archive import is_zip, unpack
from ichor.reading.context import ReadContext
from ichor.reading.dicom import is_dicom, read_dicom
from ichor.reading.files import InputFile, shown
from ichor.reading.gzipped import is_gzip
from ichor.reading.limits import Limits
from ichor.reading.nifti import nifti_part, partner_of, read_nifti
from ichor.reading.picture import read_pictures
from ichor.reading.scratch import ScratchFolder
from ichor.reading.sorting import SortedFiles, counted, nothing_to_read, sort_files
from ichor.reading.tarball import gunzip, is_tar, untar

__all__ = ["dicom_files", "read_here"]

Result = Exam | Picture | RefusedInput


def read_here(path: Path, series: str | None, limits: Limits) -> Iterator[Result]:
    """Read all that one path holds, in this process.

    Parameters
    ----------
    path, series, limits
        As :func:`ichor.reading.read_all` has them.

    Yields
    ------
    Exam, Picture or RefusedInput
        As :func:`ichor.reading.read_all` gives them.
    """
    name = shown(os.fspath(path))
    context = ReadContext.begin(name, limits, series=series)
    for result in _read_input(path, name, context):
        given = time.monotonic()
        yield result
        if isinstance(result, RefusedInput):
            context.deadline.pause(time.monotonic() - given)
        else:
            context.deadline.begin_again()
        del result  # not held while the next one is read


@contextlib.contextmanager
def dicom_files(path: Path, limits: Limits) -> Iterator[list[InputFile]]:
    """Give the DICOM files that one path holds, unpacked while the context lasts.

    Parameters
    ----------
    path, limits
        As :func:`ichor.reading.read_all` has them.

    Raises
    ------
    RefusedInput
        Where the path cannot be opened or is beyond the limits.
    """
    context = ReadContext.begin(shown(os.fspath(path)), limits)
    with _Scratch() as scratch:
        files, _ = _files(path, scratch, context)
        if any(_is_packed(file) for file in files):
            files = gunzip(files, scratch.folder(), context)
        yield [file for file in files if is_dicom(file.path)]


def _read_input(path: Path, name: str, context: ReadContext) -> Iterator[Result]:
    try:
        with _Scratch() as scratch:
            files, left_out = _files(path, scratch, context)
            if any(_is_packed(file) for file in files):
                files = gunzip(files, scratch.folder(), context)
            yield from _read_files(sort_files(files, left_out), context)
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


class _Scratch(contextlib.ExitStack):
    """Private folders that are made when they are needed, and go in the end."""

    def folder(self) -> Path:
        """Make a new one."""
        return self.enter_context(ScratchFolder())


def _files(path: Path, scratch: _Scratch, context: ReadContext) -> tuple[list[InputFile], list[str]]:
    """Files of one input, unpacked where it is an archive, and in words what was left out."""
    if path.is_dir():
        return _walk(path, context.source, context.limits)
    if not path.is_file():
        raise RefusedInput(
            context.source,
            "not_found",
            found="no such file or folder",
            expected="a study",
            remedy="check the path",
        )
    with path.open("rb"):  # says why, where it cannot be opened
        pass
    if is_zip(path):
        return unpack(path, scratch.folder(), context), []
    if is_tar(path):
        return untar(path, scratch.folder(), context), []
    file = InputFile(path, context.source)
    return [file, *partner_of(path, file.name)], []


def _is_packed(file: InputFile) -> bool:
    """Tell whether a file is packed by gzip; NIfTI is read as it is."""
    try:
        with file.path.open("rb") as stream:
            return is_gzip(stream.read(3)) and nifti_part(file) is None
    except OSError:
        return False


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
    return files, [counted(strange, "link or special file", "links or special files")] if strange else []


def _read_files(files: SortedFiles, context: ReadContext) -> Iterator[Result]:
    notices = files.notices()
    found = 0
    for result in _results(files, replace(context, single_file=files.single)):
        found += 1
        yield _with_notices(result, notices)
    if not found:
        raise nothing_to_read(context.source, files)


def _results(files: SortedFiles, context: ReadContext) -> Iterator[Result]:
    if files.dicom:
        yield from read_dicom(files.dicom, context)
    for volume in files.volumes:
        context.check_time()
        try:
            yield read_nifti(volume, context)
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

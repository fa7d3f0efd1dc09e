"""From paths to exams and pictures: folders, files, archives, whatever they hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.notices import notice
from ichor.reading.archive import is_zip, unpack
from ichor.reading.dicom import is_dicom, read_dicom
from ichor.reading.files import InputFile
from ichor.reading.limits import Deadline, Limits
from ichor.reading.nifti import is_nifti, read_nifti
from ichor.reading.picture import is_picture, read_pictures

__all__ = ["read", "read_all"]

Result = Exam | Picture | RefusedInput


def read(
    path: str | os.PathLike[str], *, series: str | None = None, limits: Limits | None = None
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
    results = list(read_all(path, series=series, limits=limits))
    good = [r for r in results if not isinstance(r, RefusedInput)]
    if len(results) > 1:
        raise UsageError(
            f"{path}: found {len(results)} exams or pictures; expected one; use ichor.read_all to get each"
        )
    if not good:
        raise next(r for r in results if isinstance(r, RefusedInput))
    return good[0]


def read_all(
    *paths: str | os.PathLike[str], series: str | None = None, limits: Limits | None = None
) -> Iterator[Exam | Picture | RefusedInput]:
    """Read everything that some paths hold; what cannot be read is given as its refusal, the rest goes on.

    Parameters
    ----------
    *paths
        As in :func:`read`.
    series, limits
        As in :func:`read`; each path has the limits to itself.

    Yields
    ------
    Exam, Picture or RefusedInput
        One a study, volume or picture; a refusal for a path that held nothing.
    """
    bounds = limits or Limits.from_environment()
    for path in paths:
        yield from _read_path(Path(path), series, bounds)


def _read_path(path: Path, series: str | None, limits: Limits) -> Iterator[Result]:
    name = os.fspath(path)
    deadline = Deadline(limits, name)
    try:
        if path.is_dir():
            yield from _read_files(_walk(path, name, limits), name, series, limits, deadline, single=False)
        elif not path.is_file():
            raise RefusedInput(
                name, "not_found", found="no such file or folder", expected="a study", remedy="check the path"
            )
        elif is_zip(path):
            with tempfile.TemporaryDirectory(prefix="ichor-") as folder:
                files = unpack(path, name, Path(folder), limits, deadline)
                # One file in a zip is that file named; what is read must not need the folder afterwards.
                yield from list(_read_files(files, name, series, limits, deadline, single=len(files) == 1))
        else:
            yield from _read_files([InputFile(path, name)], name, series, limits, deadline, single=True)
    except RefusedInput as refusal:
        yield refusal
    except OSError as error:
        yield RefusedInput(
            name,
            "not_found",
            found=f"a file that cannot be opened ({error.strerror or type(error).__name__})",
            expected="a readable one",
            remedy="check its permissions",
        )


def _walk(folder: Path, name: str, limits: Limits) -> list[InputFile]:
    """All regular files of a folder, in order of their paths; links are not followed out of it."""
    files: list[InputFile] = []
    total = 0
    home = folder.resolve()
    for here, folders, names in os.walk(folder, followlinks=False):
        depth = len(Path(here).relative_to(folder).parts)
        if depth >= limits.depth and folders:
            raise limits.refuse(name, "depth", f"folders {depth + 1} deep")
        folders.sort()
        for file_name in sorted(names):
            file = Path(here) / file_name
            if file_name.startswith("._") or not file.is_file():
                continue
            if file.is_symlink() and home not in file.resolve().parents:
                continue
            total += file.stat().st_size
            files.append(InputFile(file, os.fspath(file)))
            if len(files) > limits.files:
                raise limits.refuse(name, "files", f"more than {limits.files:,} files")
            if total > limits.total_bytes:
                raise limits.refuse(name, "total_bytes", f"more than {limits.total_bytes:,} bytes")
    return files


def _read_files(
    files: list[InputFile], name: str, series: str | None, limits: Limits, deadline: Deadline, *, single: bool
) -> Iterator[Result]:
    dicom, volumes, pictures, archives, other = _sort(files)
    found = 0
    if dicom:
        for result in read_dicom(
            dicom, source=name, series=series, limits=limits, deadline=deadline, single_file=single
        ):
            found += 1
            yield _with_junk(result, len(other)) if not single else result
    for file in volumes:
        deadline.check()
        found += 1
        yield _or_refusal(file, limits)
    # Beside DICOM or volumes, pictures are logos and captures, not exams.
    if pictures and not found:
        for file in pictures:
            deadline.check()
            try:
                pages = read_pictures(file, limits)
            except RefusedInput as refusal:
                pages = [refusal]
            found += len(pages)
            yield from pages
    if not found:
        raise _nothing(name, archives, other, single)


def _sort(
    files: list[InputFile],
) -> tuple[list[InputFile], list[InputFile], list[InputFile], list[InputFile], list[InputFile]]:
    groups: tuple[list[InputFile], ...] = ([], [], [], [], [])
    for file in files:
        if is_nifti(file.name):
            place = 1
        elif is_dicom(file.path):
            place = 0
        else:
            with file.path.open("rb") as stream:
                head = stream.read(8)
            place = 2 if is_picture(file.name, head) else 3 if head.startswith(b"PK\x03\x04") else 4
        groups[place].append(file)
    dicom, volumes, pictures, archives, other = groups
    return dicom, volumes, pictures, archives, other


def _or_refusal(file: InputFile, limits: Limits) -> Result:
    try:
        if file.path.stat().st_size > limits.file_bytes:
            raise limits.refuse(file.name, "file_bytes", f"{file.path.stat().st_size:,} bytes")
        return read_nifti(file, limits)
    except RefusedInput as refusal:
        return refusal


def _with_junk(result: Result, junk: int) -> Result:
    """Tell an exam that its folder also held files that are no images."""
    if not junk or not isinstance(result, Exam):
        return result
    text = "1 file is no image; it was left out." if junk == 1 else f"{junk} files are no images; left out."
    return replace(result, notices=(*result.notices, notice("not_an_image", text)))


def _nothing(name: str, archives: list[InputFile], other: list[InputFile], single: bool) -> RefusedInput:
    if archives:
        found, remedy = "archives within the input", "unpack them, or give each by its own name"
    elif single:
        found, remedy = (
            "a file that is neither DICOM, NIfTI nor a picture",
            "give the study in one of these forms",
        )
    elif other:
        found, remedy = f"{len(other)} files, none of them an image", "check the path"
    else:
        found, remedy = "nothing in it", "check the path"
    return RefusedInput(
        name, "no_image", found=found, expected="DICOM, NIfTI, or a picture of a slice", remedy=remedy
    )

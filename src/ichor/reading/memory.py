"""What is in memory, and no path: pydicom's data sets and open files, laid on a private place and read from there.

So there is one way of reading, with its limits and its isolation, whatever was given.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard, cast

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.reading.files import shown
from ichor.reading.limits import Limits
from ichor.reading.scratch import ScratchFolder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Readable", "is_path", "name_of", "on_disk", "renamed"]

Readable = str | os.PathLike[str] | BinaryIO | Sequence["Dataset"]
"""A path, a file opened in binary mode, or the data sets of one study."""
_CHUNK = 1 << 20


def is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Tell a path from what is in memory."""
    return isinstance(source, str | os.PathLike)


def name_of(source: Readable) -> str:
    """Name a source in results: a path as given, a file by its name, data sets as such."""
    if is_path(source):
        return shown(os.fspath(source))
    if isinstance(source, Sequence):
        return "data sets"
    name = getattr(source, "name", None)
    return shown(Path(name).name) if isinstance(name, str) and name else "file object"


@contextlib.contextmanager
def on_disk(source: Readable, limits: Limits) -> Iterator[Path]:
    """Give a path that holds what is in memory, while the context lasts.

    Parameters
    ----------
    source
        No path.
    limits
        How large a file may be, and how many there may be.

    Raises
    ------
    UsageError
        Where it is nothing that can be read: the message says what is taken.
    RefusedInput
        ``limit_exceeded``.
    """
    with ScratchFolder() as folder:
        if isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray):
            _write_datasets(source, folder, limits)
            yield folder
            return
        if not callable(getattr(source, "read", None)):
            raise UsageError(
                f"read: found a {type(source).__name__}; expected a path, a file opened in binary mode, or a list of "
                "pydicom data sets; of HU in memory make an exam: ichor.Exam.from_array(hu, spacing)"
            )
        # Its name says what its bytes may not: .nii, .nii.gz.
        name = name_of(source)
        path = folder / f"file{''.join(Path(name).suffixes[-2:])}"
        _copy(cast(BinaryIO, source), path, name, limits)
        yield path


def renamed(result: Exam | Picture | RefusedInput, place: Path, name: str) -> Exam | Picture | RefusedInput:
    """Name the input of a result as the user knows it, not by the place where it was laid."""
    if isinstance(result, RefusedInput):
        other = result.with_context()
        other.source = result.source.replace(os.fspath(place), name)
        return other
    source = replace(result.source, input=result.source.input.replace(os.fspath(place), name))
    return replace(result, source=source)


def _copy(stream: BinaryIO, path: Path, name: str, limits: Limits) -> None:
    total = 0
    with path.open("wb") as file:
        while chunk := stream.read(_CHUNK):
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise UsageError(f"{name}: found a file opened as text; expected binary; open it with 'rb'")
            total += len(chunk)
            if total > limits.file_bytes:
                raise limits.refuse(name, "file_bytes", f"more than {limits.file_bytes:,} bytes")
            if shutil.disk_usage(path.parent).free < _CHUNK:
                raise limits.refuse(name, "total_bytes", "more bytes than the disk has room for")
            file.write(chunk)


def _write_datasets(datasets: Sequence[Any], folder: Path, limits: Limits) -> None:
    from pydicom.dataset import Dataset

    if not datasets:
        raise UsageError("read: found an empty list; expected the pydicom data sets of one study")
    if len(datasets) > limits.files:
        raise limits.refuse("data sets", "files", f"{len(datasets):,} data sets")
    for number, one in enumerate(datasets):
        if not isinstance(one, Dataset):
            raise UsageError(
                f"read: found a {type(one).__name__} at place {number} of the list; expected pydicom data sets; give "
                "several paths to ichor.read_all, each by itself"
            )
        _write_dataset(one, folder / f"{number:06d}.dcm", number)


def _write_dataset(data: Dataset, path: Path, number: int) -> None:
    """Write one as a DICOM file; the data set of the user stays as it is."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    from ichor.reading.dicom.dataset import READ_ERRORS, quiet_pydicom

    with quiet_pydicom():
        try:
            written = Dataset()
            written.update(data)
            written.file_meta = copy.deepcopy(getattr(data, "file_meta", FileMetaDataset()))
            # From the network they come without; what is compressed is of undefined length, and says it.
            if "TransferSyntaxUID" not in written.file_meta and not _is_compressed(data):
                written.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dcmwrite(path, written, enforce_file_format=True)
        except READ_ERRORS as error:
            raise UsageError(
                f"read: found a data set at place {number} of the list that cannot be written as DICOM "
                f"({type(error).__name__}); expected SOPClassUID, SOPInstanceUID, and file_meta with its transfer "
                "syntax; give the files instead"
            ) from None


def _is_compressed(data: Dataset) -> bool:
    return "PixelData" in data and bool(getattr(data["PixelData"], "is_undefined_length", False))

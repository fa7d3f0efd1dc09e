"""What the headers of RSNA's 750,000 files say: read once, in parallel, kept, and gone on with after a kill."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichor.errors import UsageError
from ichor.reading.dicom.dataset import quiet_pydicom

__all__ = ["IndexedImage", "build_index", "read_submission_ids"]

_TAGS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)
_COLUMNS = ("image", "patient", "study", "series", "height", "fault")
_CHUNK = 500
_SUBTYPE_ROWS = 6


@dataclass(frozen=True)
class IndexedImage:
    """What the header of one file says.

    Attributes
    ----------
    image
        ``ID_...``.
    patient, study, series
        The publishers' pseudonyms.
    height
        Place along the slice normal, mm, growing towards the vertex.
    fault
        Why it cannot be used; empty where it can.
    """

    image: str
    patient: str
    study: str
    series: str
    height: float
    fault: str


def build_index(
    folder: Path, kept: Path, log: Callable[[str], None], processes: int | None = None
) -> dict[str, IndexedImage]:
    """Read the headers of a folder's DICOM files, or open what an earlier call kept.

    Parameters
    ----------
    folder
        Holds ``ID_*.dcm``.
    kept
        CSV to keep; what is in it is not read again. While the headers are read, ``kept`` with ``.part`` holds what
        is done, and a killed call goes on there.
    log
        Told how far it is, with the time left.
    processes
        How many read; one a core by default.

    Returns
    -------
    dict
        By image.
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".dcm"))
    part = kept.with_name(f"{kept.name}.part")
    known = _read_kept(kept)
    found = known | _read_kept(part)
    todo = [name for name in names if name.removesuffix(".dcm") not in found]
    if todo:
        kept.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        # Unbuffered: what several processes append at the same time stays in whole blocks.
        with part.open("ab", buffering=0) as file:
            file.write(b"\r\n")  # ends a line that a kill tore
            for number, rows in enumerate(_headers(folder, todo, processes), start=1):
                file.write(_lines(rows).encode())
                found |= {row.image: row for row in rows}
                done = min(number * _CHUNK, len(todo))
                left = (time.monotonic() - began) / done * (len(todo) - done)
                log(f"headers: {done:,} of {len(todo):,}, {left / 60:.0f} min left")
        good = [row for row in found.values() if not row.fault]
        if len(good) > len(known):
            temporary = kept.with_name(f"{kept.name}.{os.getpid()}")
            temporary.write_text(",".join(_COLUMNS) + "\r\n" + _lines(good), newline="")
            temporary.replace(kept)
        part.unlink(missing_ok=True)
    present = {name.removesuffix(".dcm") for name in names}
    return {image: row for image, row in found.items() if image in present}


def read_submission_ids(path: Path) -> list[str]:
    """Return the images of Kaggle's sample submission, each once, in its order.

    Raises
    ------
    UsageError
        Where it is no table of ``ID,Label``, or an image lacks one of its six rows.
    """
    counts: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if [c.strip() for c in header[:1]] != ["ID"]:
                raise UsageError(f"{path}: found the columns {', '.join(header)}; expected ID,Label")
            for row in reader:
                image = row[0].rpartition("_")[0]
                counts[image] = counts.get(image, 0) + 1
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise UsageError(
            f"{path}: found no table that can be read ({type(error).__name__}); expected CSV"
        ) from None
    wrong = [image for image, n in counts.items() if n != _SUBTYPE_ROWS]
    if wrong or not counts:
        raise UsageError(
            f"{path}: found {len(wrong)} images without six rows{f', first {wrong[0]}' if wrong else ', and no rows'}; "
            "expected ID_..._epidural to ID_..._any for each"
        )
    return list(counts)


def _headers(folder: Path, names: Sequence[str], processes: int | None) -> Iterator[list[IndexedImage]]:
    chunks = [(folder, names[k : k + _CHUNK]) for k in range(0, len(names), _CHUNK)]
    if len(chunks) == 1 or processes == 1:
        yield from map(_read_chunk, chunks)
        return
    import multiprocessing

    # Spawned: a fork would copy threads' locks.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_read_chunk, chunks)


def _read_chunk(chunk: tuple[Path, Sequence[str]]) -> list[IndexedImage]:
    folder, names = chunk
    return [_read_header(folder / name) for name in names]


def _read_header(path: Path) -> IndexedImage:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    image = path.name.removesuffix(".dcm")
    try:
        with quiet_pydicom():  # a pseudonym is no UID, and pydicom says so of every file
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            position = np.array([float(v) for v in header.ImagePositionPatient])
            rows = np.array([float(v) for v in header.ImageOrientationPatient])
            patient, study, series = (str(header.get(tag, "")) for tag in _TAGS[:3])
    except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError) as error:
        return IndexedImage(image, "", "", "", float("nan"), f"header: {type(error).__name__}")
    lacking = [tag for tag in _TAGS[:3] if not header.get(tag)]
    if lacking or position.shape != (3,) or rows.shape != (6,):
        return IndexedImage(
            image, "", "", "", float("nan"), f"header: no usable {lacking[0] if lacking else 'place'}"
        )
    normal = np.cross(rows[:3], rows[3:])
    if normal[2] < 0:
        normal = -normal
    return IndexedImage(image, patient, study, series, float(position @ normal), "")


def _lines(rows: Iterable[IndexedImage]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([getattr(row, column) for column in _COLUMNS] for row in rows)
    return text.getvalue()


def _read_kept(path: Path) -> dict[str, IndexedImage]:
    """Return what is whole in a kept index; files at fault are looked at again, they may have been replaced."""
    if not path.exists():
        return {}
    out = {}
    with path.open(newline="") as file:
        for row in csv.reader(file):
            if len(row) != len(_COLUMNS) or row[-1]:
                continue
            try:
                height = float(row[4])
            except ValueError:  # the header, or a torn line
                continue
            if np.isfinite(height):
                out[row[0]] = IndexedImage(row[0], row[1], row[2], row[3], height, "")
    return out

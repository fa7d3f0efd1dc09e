"""What the headers of RSNA's 750,000 files say: read once, in parallel, kept, and gone on with after a kill."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichor.errors import UsageError
from ichor.reading.dataset import quiet_pydicom

__all__ = ["IndexedImage", "build_index", "read_submission_ids"]

_TAGS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient")
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
        CSV to keep; what is already in it is not read again, a torn last line is.
    log
        Told how far it is, with the time left.
    processes
        How many read; one a core by default.

    Returns
    -------
    dict
        By image.
    """
    found = _read_kept(kept)
    wanted = sorted(p.name for p in os.scandir(folder) if p.name.endswith(".dcm"))
    todo = [name for name in wanted if name.removesuffix(".dcm") not in found]
    if todo:
        kept.parent.mkdir(parents=True, exist_ok=True)
        whole = kept.exists()
        if whole:
            _write_all(kept, found)  # without a line that a kill tore
        began = time.monotonic()
        with kept.open("a", newline="") as file:
            writer = csv.writer(file)
            if not whole:
                writer.writerow(_COLUMNS)
            for number, rows in enumerate(_headers(folder, todo, processes), start=1):
                writer.writerows([getattr(row, c) for c in _COLUMNS] for row in rows)
                file.flush()
                found |= {row.image: row for row in rows}
                done = min(number * _CHUNK, len(todo))
                left = (time.monotonic() - began) / done * (len(todo) - done)
                log(f"headers: {done:,} of {len(todo):,}, {left / 60:.0f} min left")
    present = {name.removesuffix(".dcm") for name in wanted}
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
        raise UsageError(f"{path}: found no table that can be read ({type(error).__name__}); expected CSV") from None
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
    normal = np.cross(rows[:3], rows[3:])
    if normal[2] < 0:
        normal = -normal
    return IndexedImage(image, patient, study, series, float(position @ normal), "")


def _read_kept(path: Path) -> dict[str, IndexedImage]:
    if not path.exists():
        return {}
    out = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if None in row.values() or not row["height"]:
                continue
            out[row["image"]] = IndexedImage(
                row["image"], row["patient"], row["study"], row["series"], float(row["height"]), row["fault"]
            )
    return out


def _write_all(path: Path, rows: dict[str, IndexedImage]) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(row, c) for c in _COLUMNS] for row in rows.values())
    temporary.rename(path)

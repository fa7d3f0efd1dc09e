"""Exams to windowed pictures, many at a time, and pictures back to a DICOM series.

An exam becomes a folder of PNG files with a record, ``exam.json``, that says which windows they show and where each
slice lies: what the way back needs, and nothing that names or dates a patient.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.errors import IchorError, RefusedInput, UsageError
from ichor.exam import Exam, hashed_uid
from ichor.preparing.windows import WINDOWS, Window
from ichor.reading import read_all

__all__ = ["Job", "Look", "convert", "jobs_of", "parse_window", "write_pictures"]

EXAM_FILE = "exam.json"
_DONE_FILE = "done.jsonl"
_RGB = 3
_MOST_PIXELS = 4096

Done = Callable[[int, int, str], None]
"""Told how many inputs are done, of how many, and what became of the last."""


@dataclass(frozen=True)
class Look:
    """What the pictures show.

    Attributes
    ----------
    windows
        Level and width by name.
    rgb
        Whether three windows become the channels of one picture.
    size
        Rows and columns; None keeps the exam's.
    original_names
        Whether series and slices keep the UIDs that the files have, instead of hashes.
    each_file
        Whether each file is on its own: slices of a series come one by one, and are named by their UIDs.
    """

    windows: dict[str, tuple[float, float]]
    rgb: bool = False
    size: tuple[int, int] | None = None
    original_names: bool = False
    each_file: bool = False

    def __post_init__(self) -> None:
        if not self.windows:
            raise UsageError("windows: found none; expected one or more, such as brain or 40:80")
        if self.rgb and len(self.windows) != _RGB:
            raise UsageError(f"--rgb: found {len(self.windows)} windows; expected three, one a channel")
        if self.size and not all(1 <= n <= _MOST_PIXELS for n in self.size):
            raise UsageError(
                f"size {self.size}: found too small or large a picture; expected 1 to {_MOST_PIXELS}"
            )

    @property
    def key(self) -> str:
        """Tells looks apart."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Job:
    """One input, and how errors name it."""

    path: Path
    name: str

    @property
    def key(self) -> str:
        """Tells inputs and their versions apart, without their names."""
        found = self.path.stat()
        text = f"{self.path.resolve()}|{found.st_size}|{found.st_mtime_ns}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def parse_window(text: str) -> tuple[str, tuple[float, float]]:
    """Understand a window: a name of ``WINDOWS``, or ``LEVEL:WIDTH``.

    Returns
    -------
    name, (level, width)
        In HU.
    """
    if text in WINDOWS:
        return text, (WINDOWS[text].level, WINDOWS[text].width)
    level, colon, width = text.partition(":")
    try:
        values = float(level), float(width)
        if colon and values[1] > 0 and all(map(np.isfinite, values)):
            return f"l{values[0]:g}w{values[1]:g}", values
    except ValueError:
        pass
    raise UsageError(
        f"window {text!r}: found no such window; expected {', '.join(WINDOWS)}, or LEVEL:WIDTH in HU, such as 40:80"
    )


def jobs_of(paths: Iterable[Path], *, each_file: bool = False) -> list[Job]:
    """Cut inputs into pieces that are converted on their own: folders that hold files, or files.

    Parameters
    ----------
    paths
        Studies, or folders of studies at any depth.
    each_file
        Whether every file is an input of its own, as in a folder that mixes the slices of many patients.
    """
    jobs = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: found no such file or folder; expected a study; check the path")
        if not path.is_dir():
            jobs.append(Job(path, str(path)))
            continue
        for here, folders, names in os.walk(path):
            folders.sort()
            files = [Path(here) / name for name in sorted(names) if not name.startswith(".")]
            if each_file:
                jobs += [Job(file, str(file)) for file in files]
            elif files:
                if folders and any(_holds_files(Path(here) / folder) for folder in folders):
                    jobs += [Job(file, str(file)) for file in files if not _is_listing(file)]
                else:
                    jobs.append(Job(Path(here), here))
                    folders.clear()
    return jobs


def convert(
    jobs: Sequence[Job], output: Path, look: Look, done: Done, processes: int | None = None
) -> list[UsageError]:
    """Convert many inputs, in processes; what an earlier call finished is left as it is.

    Parameters
    ----------
    jobs
        From :func:`jobs_of`.
    output
        Folder; ``SERIES/NNNN.png`` (``NNNN_WINDOW.png`` where there are several windows).
    look
        What to show.
    done
        Told after each input.
    processes
        How many; one a core by default.

    Returns
    -------
    list of errors
        Of those that could not be converted; the others are there.

    Raises
    ------
    UsageError
        Where ``output`` holds pictures of another look.
    """
    output.mkdir(parents=True, exist_ok=True)
    journal = output / _DONE_FILE
    finished = _finished(journal, look)
    todo = [job for job in jobs if job.key not in finished]
    errors: list[UsageError] = []
    count = len(jobs) - len(todo)
    if count:
        done(count, len(jobs), f"{count} were done before")
    with journal.open("a", encoding="utf-8") as kept:
        kept.write("\n")  # ends a line that a kill tore
        if not finished:
            kept.write(json.dumps({"look": asdict(look), "key": look.key}) + "\n")
        for job, problem in _work(todo, output, look, processes or os.cpu_count() or 1):
            count += 1
            if problem is None:
                kept.write(json.dumps({"done": job.key}) + "\n")
                kept.flush()
            else:
                errors.append(problem)
            done(count, len(jobs), str(problem) if problem else "converted")
    return errors


def write_pictures(exam: Exam, output: Path, look: Look) -> Path:
    """Write one exam's pictures, and ``exam.json`` when they are all there.

    Parameters
    ----------
    exam
        In HU.
    output
        The exam's folder is made in it.
    look
        What to show.

    Returns
    -------
    pathlib.Path
        The exam's folder.
    """
    source = exam.source
    identity = source.series_uid or hashlib.sha256(np.ascontiguousarray(exam.volume).tobytes()).hexdigest()
    folder = output / (_safe(identity) if look.original_names else hashed_uid(identity))
    folder.mkdir(parents=True, exist_ok=True)
    by_uid = bool(source.sop_instance_uids) and (look.original_names or look.each_file)
    size = look.size or (int(exam.volume.shape[1]), int(exam.volume.shape[2]))
    windows = {name: Window(*values) for name, values in look.windows.items()}
    slices = []
    for index, plane in enumerate(exam.volume):
        uid = source.sop_instance_uids[index] if source.sop_instance_uids else ""
        own = (_safe(uid) if look.original_names else hashed_uid(uid)) if by_uid else f"{index + 1:04d}"
        shown = {name: window.to_grey(resize(plane, size)) for name, window in windows.items()}
        if look.rgb:
            files = {"rgb": f"{own}.png"}
            _save(np.stack(list(shown.values()), axis=-1), folder / files["rgb"])
        else:
            files = {name: f"{own}{'_' + name if len(shown) > 1 else ''}.png" for name in shown}
            for name, file in files.items():
                _save(shown[name], folder / file)
        thickness = exam.geometry.thickness
        known = len(thickness) > index and np.isfinite(thickness[index])
        slices.append(
            {
                "files": files,
                "position": _resized_position(exam, index, size),
                "thickness": float(thickness[index]) if known else None,
                "sop_instance_uid": hashed_uid(uid),
            }
        )
    geometry = exam.geometry
    record = {
        "format": "ichor pictures 1",
        "windows": look.windows,
        "rgb": look.rgb,
        "rows": size[0],
        "columns": size[1],
        "row_direction": geometry.row_direction.tolist(),
        "column_direction": geometry.column_direction.tolist(),
        "spacing": [s * n / m for s, n, m in zip(geometry.spacing, exam.volume.shape[1:], size, strict=True)],
        "spacing_known": geometry.spacing_known,
        "study_uid": hashed_uid(source.study_uid),
        "series_uid": hashed_uid(source.series_uid),
        "slices": slices,
    }
    path = folder / (f"{own}.json" if look.each_file and by_uid else EXAM_FILE)
    temporary = folder / f"{path.name}.{os.getpid()}"
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return folder


def resize(plane: NDArray[np.int16], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring one slice to ``(rows, columns)``: HU, averaged where it shrinks."""
    hu = np.asarray(plane, np.float32)
    if plane.shape == size:
        return hu
    image = Image.fromarray(hu).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def _resized_position(exam: Exam, index: int, size: tuple[int, int]) -> list[float]:
    """Centre of the first pixel: it moves when pixels grow, the picture's edge stays."""
    shift = [(n / m - 1) / 2 for n, m in zip(exam.volume.shape[1:], size, strict=True)]
    return [float(v) for v in exam.geometry.voxel_to_patient([index, *shift])]


def _work(
    jobs: Sequence[Job], output: Path, look: Look, processes: int
) -> Iterator[tuple[Job, UsageError | None]]:
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, _convert_one(job, output, look)
        return
    left = dict.fromkeys(jobs)
    while left:
        in_flight: dict[Future[UsageError | None], Job] = {}
        try:
            for job, problem in _pooled(left, output, look, processes, in_flight):
                del left[job]
                yield job, problem
        except BrokenProcessPool:
            # A decoder took its process down, and the pool with it: one at a time tells which input it was.
            for job in [job for job in left if job in set(in_flight.values())]:
                del left[job]
                yield job, _alone(job, output, look)


def _alone(job: Job, output: Path, look: Look) -> UsageError | None:
    try:
        return dict(_pooled([job], output, look, 1, {}))[job]
    except BrokenProcessPool:
        return UsageError(
            f"{job.name}: found that decoding it ended its process; expected an image; look at the file"
        )


def _pooled(
    jobs: Iterable[Job],
    output: Path,
    look: Look,
    processes: int,
    in_flight: dict[Future[UsageError | None], Job],
) -> Iterator[tuple[Job, UsageError | None]]:
    # Spawned: a fork would copy threads' locks. Few wait at a time: a million futures would fill the memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        rest = iter(list(jobs))
        while True:
            for job in islice(rest, 4 * processes - len(in_flight)):
                in_flight[pool.submit(_convert_one, job, output, look)] = job
            if not in_flight:
                return
            for ended in wait(in_flight, return_when=FIRST_COMPLETED).done:
                problem = ended.result()
                yield in_flight.pop(ended), problem


def _convert_one(job: Job, output: Path, look: Look) -> UsageError | None:
    """Convert one input; its problem comes back as an error that can go from one process to another."""
    problems = []
    exams = 0
    try:
        for result in read_all(job.path):
            if isinstance(result, RefusedInput):
                problems.append(str(result))
            elif isinstance(result, Exam):
                write_pictures(result, output, look)
                exams += 1
            else:
                problems.append(f"{job.name}: found a picture; expected an exam in HU; give DICOM or NIfTI")
    except IchorError as error:
        problems.append(str(error))
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        problems.append(f"{job.name}: found that it cannot be converted ({reason}); run the command again")
    if not exams and not problems:
        problems.append(f"{job.name}: found nothing in it; expected an exam; check the path")
    return UsageError(" | ".join(problems)) if problems else None


def _finished(journal: Path, look: Look) -> set[str]:
    if not journal.exists():
        return set()
    found = set()
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:  # a kill tore it
            continue
        if "key" in entry and entry["key"] != look.key:
            raise UsageError(
                f"{journal.parent}: found pictures of another look; expected the same windows, size and names; "
                "give another folder with -o"
            )
        if "done" in entry:
            found.add(str(entry["done"]))
    return found


def _save(grey: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(grey).save(path, format="PNG")


def _safe(uid: str) -> str:
    """Make a file's name of a stored UID: some archives' are no UIDs."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in uid).lstrip(".") or "unnamed"


def _holds_files(folder: Path) -> bool:
    return any(names for _, _, names in os.walk(folder))


def _is_listing(path: Path) -> bool:
    return path.name.upper() in ("DICOMDIR", "LICENSE", "README") or path.suffix.lower() in (
        ".csv",
        ".txt",
        ".md",
    )

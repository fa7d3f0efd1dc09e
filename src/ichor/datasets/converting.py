"""Many exams to windowed pictures, in processes, going on where an earlier call stopped."""

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

from ichor.datasets.rendering import PictureStyle, write_pictures
from ichor.errors import IchorError, RefusedInput, UsageError
from ichor.exam import Exam
from ichor.reading import read_all

__all__ = ["Job", "convert", "jobs_of"]

_DONE_FILE = "done.jsonl"

Done = Callable[[int, int, str], None]
"""Called with how many inputs are done, of how many, and what became of the last."""


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
        for folder, inside, names in os.walk(path):
            inside.sort()
            files = [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
            if each_file:
                jobs += [Job(file, str(file)) for file in files]
            elif files:
                if inside and any(_holds_files(Path(folder) / name) for name in inside):
                    jobs += [Job(file, str(file)) for file in files if not _is_listing(file)]
                else:
                    jobs.append(Job(Path(folder), folder))
                    inside.clear()
    return jobs


def convert(
    jobs: Sequence[Job], output: Path, style: PictureStyle, done: Done, processes: int | None = None
) -> list[UsageError]:
    """Convert many inputs, in processes; what an earlier call finished is left as it is.

    Parameters
    ----------
    jobs
        From :func:`jobs_of`.
    output
        Folder; ``SERIES/NNNN.png`` (``NNNN_WINDOW.png`` where there are several windows).
    style
        What to show.
    done
        Called after each input.
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
    finished = _finished(journal, style)
    todo = [job for job in jobs if job.key not in finished]
    errors: list[UsageError] = []
    count = len(jobs) - len(todo)
    if count:
        done(count, len(jobs), f"{count} were done before")
    with journal.open("a", encoding="utf-8") as kept:
        kept.write("\n")  # ends a line that a kill tore
        if not finished:
            kept.write(json.dumps({"look": asdict(style), "key": style.key}) + "\n")
        for job, problem in _work(todo, output, style, processes or os.cpu_count() or 1):
            count += 1
            if problem is None:
                kept.write(json.dumps({"done": job.key}) + "\n")
                kept.flush()
            else:
                errors.append(problem)
            done(count, len(jobs), str(problem) if problem else "converted")
    return errors


def _work(
    jobs: Sequence[Job], output: Path, style: PictureStyle, processes: int
) -> Iterator[tuple[Job, UsageError | None]]:
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, _convert_one(job, output, style)
        return
    left = dict.fromkeys(jobs)
    while left:
        in_flight: dict[Future[UsageError | None], Job] = {}
        try:
            for job, problem in _pooled(left, output, style, processes, in_flight):
                del left[job]
                yield job, problem
        except BrokenProcessPool:
            # A decoder took its process down, and the pool with it: one at a time shows which input it was.
            for job in [job for job in left if job in set(in_flight.values())]:
                del left[job]
                yield job, _alone(job, output, style)


def _alone(job: Job, output: Path, style: PictureStyle) -> UsageError | None:
    try:
        return dict(_pooled([job], output, style, 1, {}))[job]
    except BrokenProcessPool:
        return UsageError(
            f"{job.name}: found that decoding it ended its process; expected an image; look at the file"
        )


def _pooled(
    jobs: Iterable[Job],
    output: Path,
    style: PictureStyle,
    processes: int,
    in_flight: dict[Future[UsageError | None], Job],
) -> Iterator[tuple[Job, UsageError | None]]:
    # Spawned: a fork would copy threads' locks. Few wait at a time: a million futures would fill the memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        rest = iter(list(jobs))
        while True:
            for job in islice(rest, 4 * processes - len(in_flight)):
                in_flight[pool.submit(_convert_one, job, output, style)] = job
            if not in_flight:
                return
            for ended in wait(in_flight, return_when=FIRST_COMPLETED).done:
                problem = ended.result()
                yield in_flight.pop(ended), problem


def _convert_one(job: Job, output: Path, style: PictureStyle) -> UsageError | None:
    """Convert one input; its problem comes back as an error that can go from one process to another."""
    problems = []
    exams = 0
    try:
        for result in read_all(job.path):
            if isinstance(result, RefusedInput):
                problems.append(str(result))
            elif isinstance(result, Exam):
                write_pictures(result, output, style)
                exams += 1
            else:
                problems.append(f"{job.name}: found a picture; expected an exam in HU; give DICOM or NIfTI")
    except IchorError as error:
        problems.append(str(error))
    except (OSError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        problems.append(f"{job.name}: found that it cannot be converted ({reason}); run the command again")
    if not exams and not problems:
        problems.append(f"{job.name}: found nothing in it; expected an exam; check the path")
    return UsageError(" | ".join(problems)) if problems else None


def _finished(journal: Path, style: PictureStyle) -> set[str]:
    if not journal.exists():
        return set()
    found = set()
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:  # a kill tore it
            continue
        if "key" in entry and entry["key"] != style.key:
            raise UsageError(
                f"{journal.parent}: found pictures of another look; expected the same windows, size and names; "
                "give another folder with -o"
            )
        if "done" in entry:
            found.add(str(entry["done"]))
    return found


def _holds_files(folder: Path) -> bool:
    return any(names for _, _, names in os.walk(folder))


def _is_listing(path: Path) -> bool:
    return path.name.upper() in ("DICOMDIR", "LICENSE", "README") or path.suffix.lower() in (
        ".csv",
        ".txt",
        ".md",
    )

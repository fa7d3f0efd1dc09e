"""Many inputs of ``ichor detect``: some at a time, or only looked at."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ichor.detecting import Detection, Detector, Options
    from ichor.progress import Progress
    from ichor.reading.limits import Limits

__all__ = ["detected", "dry_run"]


def detected(
    detector: Detector,
    inputs: Sequence[str],
    jobs: int,
    options: Options,
    series: str | None,
    limits: Limits,
    progress: Progress,
) -> Iterator[Detection]:
    """Detect in some inputs at a time; results come in the order of the inputs.

    While one is detected in, others are read. The results of at most ``jobs`` inputs are in memory.

    Yields
    ------
    Detection
        As :meth:`~ichor.detecting.Detector.detect_all` gives them.
    """
    if jobs == 1 or len(inputs) == 1:
        yield from detector.detect_all(
            *inputs, options=options, series=series, limits=limits, isolated=True, progress=progress
        )
        return

    def all_of(one: str) -> list[Detection]:
        return list(detector.detect_all(one, options=options, series=series, limits=limits, isolated=True))

    pool = ThreadPoolExecutor(jobs, "ichor-input")
    try:
        waiting = deque(inputs)
        running: deque[Future[list[Detection]]] = deque()
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(pool.submit(all_of, waiting.popleft()))
            done = len(inputs) - len(waiting) - len(running)
            progress(f"input {done + 1} of {len(inputs)}", done / len(inputs))
            yield from running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def dry_run(inputs: Sequence[str], options: Options, series: str | None, limits: Limits) -> int:
    """Say what would be assessed, and what not, without the model; return how many would not be."""
    from ichor.cli.progress import ProgressLine
    from ichor.errors import RefusedInput
    from ichor.exam import Exam
    from ichor.reading import read_all
    from ichor.reading.memory import name_of
    from ichor.reporting.words import printable

    found = refused = 0
    with ProgressLine() as progress:
        for number, one in enumerate(inputs):
            progress(f"reading {Path(one).name}", number / len(inputs))
            results = read_all(one, series=series, limits=limits, isolated=True)
            for result in options.as_asked(results, name_of(one), limits):
                progress.clear()
                found += 1
                if isinstance(result, RefusedInput):
                    refused += 1
                    print(
                        f"{printable(result.source)}: not assessed: {printable(result.sentence)} [{result.code}]"
                    )
                    continue
                what = f"exam of {result.n_slices} slices" if isinstance(result, Exam) else "picture"
                codes = ", ".join(dict.fromkeys(n.code for n in result.notices)) or "nothing"
                print(f"{printable(result.source.input)}: {what}; noticed: {codes}")
    print(
        f"{found} results: {found - refused} would be assessed, {refused} not; no model was run",
        file=sys.stderr,
    )
    return refused

"""A line of progress on standard error, only where a person sees it."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ichor.cli.verbosity import quiet

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressLine"]

_AFTER_SECONDS = 0.7
"""Work that ends sooner shows nothing."""


class ProgressLine:
    """Called with what is being done and how much of it (0..1); silent where nobody sees standard error."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._since = time.monotonic()

    def __call__(self, doing: str, done: float) -> None:
        """Show the state."""
        if quiet() or not sys.stderr.isatty():
            return
        if self._progress is None:
            if time.monotonic() - self._since < _AFTER_SECONDS:
                return
            self._start()
        from ichor.reporting.words import printable

        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, description=printable(doing), completed=min(max(done, 0.0), 1.0)
            )

    def clear(self) -> None:
        """Take the line away, so that something can be printed; the next call brings it back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._since = time.monotonic()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def _start(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(escape(""), total=1.0)
        self._progress.start()

"""A process of the package that is kept alive: its settings go in as one line, what it says comes back line by line."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Child", "ChildPlan"]

_LEAST_WAIT_S, _MOST_WAIT_S = 0.2, 10.0
_LIVED_S = 20.0
"""A process that lived so long did not die of its start."""


@dataclass(frozen=True)
class ChildPlan:
    """What is run, and what is done with what it says.

    Attributes
    ----------
    module
        Run by ``python -m``; it must end when its standard input closes.
    settings
        Called before each start; the line that is written to its standard input. Settings go through a pipe, not
        through arguments that every user of the machine can list.
    hear
        Called with each line of its standard output.
    died
        Called with the exit code of one that ended unasked; returns whether another is started.
    """

    module: str
    settings: Callable[[], str]
    hear: Callable[[str], None]
    died: Callable[[int], bool]


class Child:
    """Starts a process, and another whenever it ends.

    Parameters
    ----------
    plan
        What is run.

    Attributes
    ----------
    ready
        Set by whoever hears that it is; cleared when it ends.
    restarts
        Processes that died so far.
    """

    def __init__(self, plan: ChildPlan) -> None:
        self.plan = plan
        self.ready = threading.Event()
        self.restarts = 0
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name=f"child-{plan.module}", daemon=True)

    @property
    def is_ready(self) -> bool:
        """Whether the present process lives and has said that it is ready."""
        process = self._process
        return self.ready.is_set() and process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the present one, or of the last."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it, and watch."""
        self._thread.start()

    def stop(self, ask: Callable[[subprocess.Popen[str]], None], seconds: float) -> None:
        """Ask it to end; end it where that takes longer.

        Parameters
        ----------
        ask
            Called with the process, where one lives.
        seconds
            For it to end.
        """
        with self._starting:
            self._ending.set()
        process = self._process
        if process is not None and process.poll() is None:
            try:
                ask(process)
                process.wait(seconds)
            except (OSError, subprocess.TimeoutExpired):
                process.kill()
        self._thread.join(seconds)

    def _watch(self) -> None:
        wait = _LEAST_WAIT_S
        while not self._ending.is_set():
            began = time.monotonic()
            code = self._run()
            self.ready.clear()
            if self._ending.is_set() or not self.plan.died(code):
                break
            self.restarts += 1
            wait = _LEAST_WAIT_S if time.monotonic() - began > _LIVED_S else min(2 * wait, _MOST_WAIT_S)
            self._ending.wait(wait)

    def _run(self) -> int:
        """Run one process to its end."""
        settings = self.plan.settings()
        with self._starting:  # none is started once the end was asked for
            if self._ending.is_set():
                return 0
            process = subprocess.Popen(
                [sys.executable, "-m", self.plan.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._process = process
        try:
            with process:
                if process.stdin is None or process.stdout is None:
                    return -1
                process.stdin.write(settings + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    self.plan.hear(line)
                return process.wait()
        except (BrokenPipeError, ValueError):  # it died at its start, or amid a line
            return process.wait()

"""Keeps the receiver's process alive, and hears what it did."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ichor.errors import UsageError
from ichor.jobs.logs import log
from ichor.node.config import NodeConfig

__all__ = ["Receiving"]

_LEAST_WAIT_S, _MOST_WAIT_S, _LIVED_S = 0.2, 10.0, 20.0
_START_S = 60.0
_END_S = 5.0


class Receiving:
    """Starts the receiver, and another whenever it ends.

    Parameters
    ----------
    config
        Of the node.
    spool
        Folder where it puts what it receives.
    count
        Called for counters, with what and why.

    Attributes
    ----------
    port
        Where it listens; 0 before it does. Kept when it is started again.
    restarts
        Receivers that died.
    """

    def __init__(self, config: NodeConfig, spool: Path, count: Callable[[str, str], None]) -> None:
        self.config = config
        self.spool = spool
        self.count = count
        self.port = 0
        self.restarts = 0
        self._failure = ""
        self._ready = threading.Event()
        self._ending = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name="receiving", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether it listens."""
        process = self._process
        return self._ready.is_set() and process is not None and process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises
        ------
        UsageError
            Where it cannot.
        """
        self._thread.start()
        ends = time.monotonic() + _START_S
        while not self._ready.is_set() and not self._failure and time.monotonic() < ends:
            time.sleep(0.02)
        if not self._ready.is_set():
            self.stop()
            raise UsageError(self._failure or "the receiver: found that it does not start; see the log")

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        process = self._process
        if process is not None and process.poll() is None and process.stdin is not None:
            try:
                process.stdin.close()
                process.wait(_END_S)
            except (OSError, subprocess.TimeoutExpired):
                process.kill()
        self._thread.join(_END_S)

    def _watch(self) -> None:
        wait = _LEAST_WAIT_S
        while not self._ending.is_set():
            began = time.monotonic()
            code = self._run()
            if self._ending.is_set() or self._failure:
                break
            self._ready.clear()
            self.restarts += 1
            log("receiver_died", level=logging.WARNING, code=code)
            wait = _LEAST_WAIT_S if time.monotonic() - began > _LIVED_S else min(2 * wait, _MOST_WAIT_S)
            self._ending.wait(wait)

    def _run(self) -> int:
        config = self.config.model_dump(mode="json", exclude_none=True)
        if self.port:  # a free port was taken at the first start: peers know it
            config["listen"]["port"] = self.port
        process = subprocess.Popen(
            [sys.executable, "-m", "ichor.node.receiver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process = process
        try:
            with process:
                if process.stdin is None or process.stdout is None:
                    return -1
                process.stdin.write(json.dumps({"config": config, "spool": str(self.spool)}) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    self._hear(json.loads(line))
                return process.wait()
        except (BrokenPipeError, ValueError):
            return process.wait()

    def _hear(self, line: dict[str, object]) -> None:
        if "ready" in line:
            self.port = int(str(line["ready"]))
            self._ready.set()
            log("receiver_ready", port=self.port)
        elif "failed" in line:
            if not self.port:
                self._failure = str(line["failed"])
        else:
            self.count(str(line["count"]), str(line["reason"]))

"""Keeps the receiver's process alive, and hears what it did."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ichor.errors import UsageError
from ichor.jobs.child import Child, ChildPlan
from ichor.jobs.logs import log
from ichor.node.config import NodeConfig

__all__ = ["Receiving"]

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
    child
        The receiver's process: ready once it listens.
    port
        Where it listens; 0 before it does. Kept when it is started again.
    """

    def __init__(self, config: NodeConfig, spool: Path, count: Callable[[str, str], None]) -> None:
        self.config = config
        self.spool = spool
        self.count = count
        self.port = 0
        self._failure = ""
        self.child = Child(ChildPlan("ichor.node.receiver", self._begin, self._hear, self._died))

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises
        ------
        UsageError
            Where it cannot.
        """
        self.child.start()
        ends = time.monotonic() + _START_S
        while not self.child.ready.is_set() and not self._failure and time.monotonic() < ends:
            time.sleep(0.02)
        if not self.child.ready.is_set():
            self.stop()
            raise UsageError(self._failure or "the receiver: found that it does not start; see the log")

    def stop(self) -> None:
        """End it."""
        self.child.stop(_close, _END_S)

    def _begin(self) -> str:
        config = self.config.model_dump(mode="json", exclude_none=True)
        if self.port:  # a free port was taken at the first start: peers know it
            config["listen"]["port"] = self.port
        return json.dumps({"config": config, "spool": str(self.spool)})

    def _died(self, code: int) -> bool:
        if self._failure:
            return False
        log("receiver_died", level=logging.WARNING, code=code)
        return True

    def _hear(self, text: str) -> None:
        line: dict[str, object] = json.loads(text)
        if "ready" in line:
            self.port = int(str(line["ready"]))
            self.child.ready.set()
            log("receiver_ready", port=self.port)
        elif "failed" in line:
            if not self.port:
                self._failure = str(line["failed"])
        else:
            self.count(str(line["count"]), str(line["reason"]))


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()

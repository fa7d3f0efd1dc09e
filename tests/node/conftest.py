"""Nodes and peers for the tests. Each module skips without the extra ``node``."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from node.peers import Archive, NodeProcess, ReceiverProcess

_THREADS = ("RequestorThread", "AcceptorThread")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start nodes that end with the test."""
    from node.peers import NodeProcess

    started: list[NodeProcess] = []

    def start(config: dict[str, Any] | None = None, *, state: Path | None = None) -> NodeProcess:
        process = NodeProcess(state or tmp_path / "state", config or {})
        started.append(process)
        return process.start()

    yield start
    for process in started:
        if not process.closed:
            process.stop()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., ReceiverProcess]]:
    """Start receivers that end with the test."""
    from node.peers import ReceiverProcess

    started: list[ReceiverProcess] = []

    def start(**config: Any) -> ReceiverProcess:
        started.append(ReceiverProcess(tmp_path / "spool", config))
        return started[-1]

    yield start
    for one in started:
        one.receiving.stop()


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    """Start archives that end with the test."""
    from node.peers import Archive

    started: list[Archive] = []

    def start(**options: Any) -> Archive:
        started.append(Archive(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(autouse=True)
def _collect_sockets() -> Iterator[None]:
    """pynetdicom leaves sockets of requests that were refused to the collector, which says so.

    They go when the threads that hold them have ended: a test waits for its own.
    """
    yield
    ends = time.monotonic() + 30
    while any(t.name.startswith(_THREADS) for t in threading.enumerate()) and time.monotonic() < ends:
        time.sleep(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()

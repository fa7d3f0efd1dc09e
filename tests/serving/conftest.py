"""Servers for the tests. Each module skips without the extra ``serve``, before it imports anything of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from serving.served import Served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start servers that end with the test."""
    from serving.served import Served

    started: list[Served] = []

    def start(*options: str, state: Path | None = None, wait: bool = True, **environment: str) -> Served:
        served = Served(state or tmp_path / "state", *options, environment=environment)
        started.append(served)
        return served.start(wait=wait)

    yield start
    for served in started:
        if served.process is not None and not served.closed:
            served.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module that leave it as it is."""
    from serving.served import Served

    served = Served(tmp_path_factory.mktemp("server") / "state").start()
    yield served
    assert served.stop() == 0

"""What the driver asks of whoever runs tasks: processes of this machine, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ichor.bulk.assessing import Task

__all__ = ["Outcome", "Pool"]


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    task
        Which.
    end
        ``done``; ``died``: the process that had it is gone, and the task may be to blame; ``lost``: the machine
        is gone, and the task is not to blame; ``returned``: it was not begun.
    rows
        Of a task that is done.
    """

    task: Task
    end: Literal["done", "died", "lost", "returned"]
    rows: list[dict[str, Any]] = field(default_factory=list)


class Pool(Protocol):
    """Runs tasks."""

    @property
    def free(self) -> int:
        """How many more tasks it takes now."""

    def submit(self, task: Task) -> None:
        """Take a task; only where one is free."""

    def wait(self, seconds: float) -> list[Outcome]:
        """Wait for tasks to end, at most so long; none where none did."""

    def close(self, seconds: float) -> list[Outcome]:
        """End everything that runs within so long, and give what came in meanwhile."""

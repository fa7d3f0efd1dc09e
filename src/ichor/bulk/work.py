"""What a worker does with a task, by the settings that it is given: assess a study, or prepare an exam for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ichor.bulk.assessing import Assessor, Settings, Task

__all__ = ["WORK", "Worker", "WorkerSettings", "open_worker"]

WORK = "work"
"""Key of settings that names what is to be done; without it, studies are assessed."""


class WorkerSettings(Protocol):
    """What every worker is given once."""

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""


class Worker(Protocol):
    """Does one task after the other."""

    def rows(self, task: Task) -> list[dict[str, Any]]:
        """Do a task; what goes wrong with it is a row, never an exception."""


def open_worker(settings: Mapping[str, Any]) -> Worker:
    """Make what settings ask for.

    Parameters
    ----------
    settings
        Of :meth:`WorkerSettings.as_json`.

    Raises
    ------
    IchorError
        Where this machine cannot do it.
    """
    if settings.get(WORK) == "prepare":
        from ichor.bulk.preparing import Preparer, PreparerSettings

        return Preparer(PreparerSettings.from_json(settings))
    return Assessor(Settings.from_json(settings))

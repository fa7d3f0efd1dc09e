"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkerSettings"]


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker does its jobs.

    Attributes
    ----------
    state
        Folder for everything that is kept.
    database
        URL with the driver that is used.
    bundles
        Names, paths or combinations (``A+B``) of the models to choose from; empty for all that are installed.
    keep_originals
        Keep uploaded files as long as their studies.
    limits
        How much of an input is read, by name of the limit.
    show_identity
        Keep whose studies they are, to show it.
    name
        By which its leases are known; the supervisor gives each worker its own.
    """

    state: str
    database: str
    bundles: tuple[str, ...]
    keep_originals: bool
    limits: dict[str, float]
    name: str = ""
    show_identity: bool = False

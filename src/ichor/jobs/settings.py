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
    bundle
        Name or path of the model.
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
    bundle: str
    keep_originals: bool
    limits: dict[str, float]
    name: str = ""
    show_identity: bool = False

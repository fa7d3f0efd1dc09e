"""Data sets fetched from where their publishers keep them, with their own words on licence and login."""

from __future__ import annotations

from pathlib import Path

from ichor.datasets.fetching import Login
from ichor.datasets.labelled import DatasetInfo
from ichor.datasets.registry import DATASETS
from ichor.datasets.sources import STATE, Source
from ichor.errors import UsageError
from ichor.progress import Progress

__all__ = ["by_hand", "get"]

_ALL = "all"


def get(
    name: str, data: Path, progress: Progress, login: Login | None = None, source: Source | None = None
) -> list[str]:
    """Fetch a data set.

    Parameters
    ----------
    name
        One of the registry.
    data
        Folder with one sub-folder a data set.
    progress
        Called with how far it is.
    login
        Where the publisher asks for one.
    source
        Another way than its description's.

    Returns
    -------
    list of str
        What is still missing, or still to be done; empty where the data set can be used.

    Raises
    ------
    UsageError
        Where it cannot be fetched: with what to do by hand.
    """
    infos = [form.info for form in DATASETS[name]]
    source = source or infos[-1].source
    folder = data / name
    state = folder / STATE
    if _whole(infos, folder):
        return []
    if source is None:
        raise UsageError(
            f"{name}: found no publisher's download that a program may use; expected one; {by_hand(name, data)}"
        )
    try:
        state.mkdir(parents=True, exist_ok=True)
        source.get(folder, progress, login)
        (state / _ALL).touch()
    except UsageError as error:
        raise UsageError(f"{error}; {by_hand(name, data)}") from None
    except OSError as error:
        raise UsageError(
            f"{folder}: found that it cannot be written ({error.strerror or type(error).__name__}); expected room "
            "and permission; free some and run the command again: it goes on"
        ) from None
    if _whole(infos, folder):
        return []
    if infos[-1].after_fetching:
        return [infos[-1].after_fetching]
    return [f"{folder} has no {pattern}" for pattern in infos[-1].missing(folder)]


def by_hand(name: str, data: Path) -> str:
    """Say how to get a data set without this computer's network: where from, and where to put what."""
    info = DATASETS[name][-1].info
    return f"or get it by hand from {info.url} ({info.access}) and put {', '.join(info.expected)} into {data / name}"


def _whole(infos: list[DatasetInfo], folder: Path) -> bool:
    state = folder / STATE
    begun = state.exists() and not (state / _ALL).exists()  # put there by hand, it has no state
    return folder.is_dir() and not begun and any(not info.missing(folder) for info in infos)

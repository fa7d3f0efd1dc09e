"""The walk over a tree of folders, on a disk or in a store: units as they are found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

from ichor.bulk.grouping import Grouping, Part, unit_of
from ichor.bulk.units import Unit, fingerprint_of, study_id

__all__ = ["Listing", "TreeSource"]

Listing = tuple[list[tuple[str, int]], list[str]]
"""Files with their bytes, and folders, each by its name below the root."""
_DEEPEST = 64
_MANY = "\n"
"""Stands for more than one study, where the UID of a single one would stand."""


class TreeSource(ABC):
    """A source that has folders.

    Parameters
    ----------
    address
        Of the root, as ``run.json`` holds it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._left_out: Counter[str] = Counter()
        self._grouping = Grouping()

    @property
    def left_out(self) -> dict[str, int]:
        """Files that are in no unit so far, by what they are."""
        return dict(+self._left_out)

    @abstractmethod
    def entries(self, folder: str) -> Listing:
        """List a folder, in the order of the names."""

    @abstractmethod
    def parts(self, folder: str, files: list[tuple[str, int]], has_folders: bool) -> Iterator[Part]:
        """Part the files of a folder into studies, archives, volumes and pictures."""

    @abstractmethod
    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Give a path that holds a unit and nothing else."""

    def discover(self) -> Iterator[Unit]:
        """Yield units as they are found, folder by folder in the order of their names."""
        self._grouping, self._left_out = Grouping(), Counter()
        yield from self._visit("", 0)
        yield from self._grouping.end()

    def _visit(self, folder: str, depth: int) -> Generator[Unit, None, str]:
        """Yield the units of a folder and of those below; returns the UID of the study that is all it holds, if one is.

        Empty where it holds nothing, :data:`_MANY` where it holds more.
        """
        try:
            files, folders = self.entries(folder)
        except OSError:  # its row says so
            place = folder or "."
            yield Unit(study_id("place", place), place, (place,), fingerprint_of(()))
            return _MANY
        if depth >= _DEEPEST and folders:
            self._left_out[f"folders more than {_DEEPEST} deep"] += len(folders)
            folders = []
        owner = ""
        for part in self.parts(folder, files, bool(folders)):
            if part.study:
                self._grouping.add(part)
                owner = _joined(owner, part.study)
            else:
                yield unit_of(part)
                owner = _MANY
        if files:
            yield from self._grouping.next_folder()
        for name in folders:
            owner = _joined(owner, (yield from self._visit(name, depth + 1)))
        if folder:
            yield from self._grouping.leave(folder, owner if owner not in ("", _MANY) else None)
        return owner


def _joined(owner: str, other: str) -> str:
    if not owner or not other:
        return owner or other
    return owner if owner == other else _MANY

"""What bulk assesses one at a time, and where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Finder", "Source", "Unit", "fingerprint_of", "study_id"]

_ID_LENGTH = 32


@dataclass(frozen=True)
class Unit:
    """A study, an archive, a volume or a picture.

    Attributes
    ----------
    id
        32 hexadecimal digits, the same in every run on the same root: of a DICOM study a hash of its UID, of
        anything else a hash of its place.
    name
        Its place or places below the root, for people.
    places
        Paths below the root, with ``/``: one is read as it is, several are read together.
    fingerprint
        Hash of the names and sizes of its files: another one means that the input has changed.
    bytes
        Of its files.
    """

    id: str
    name: str
    places: tuple[str, ...]
    fingerprint: str
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Unit:
        """Make one of what :meth:`as_json` gave."""
        return cls(**{**data, "places": tuple(data["places"])})


class Finder(Protocol):
    """Finds units."""

    def discover(self) -> Iterator[Unit]:
        """Yield units as they are found.

        A unit may come again with the same id, more places and another fingerprint: more of a study was found
        elsewhere, and the later one holds for the whole.
        """


class Source(Finder, Protocol):
    """Where units come from."""

    @property
    def address(self) -> str:
        """Names the source in ``run.json``, and opens it again in another process."""

    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Give a path that holds a unit and nothing else.

        Parameters
        ----------
        unit
            Of this source.
        folder
            Private and empty, for what must be copied.
        """

    @property
    def left_out(self) -> dict[str, int]:
        """Files that are in no unit so far, by what they are."""


def study_id(kind: str, key: str) -> str:
    """Make the id of a unit from what never changes: ``study`` and its UID, or ``place`` and its path."""
    return hashlib.sha256(f"{kind}\n{key}".encode("utf-8", "surrogateescape")).hexdigest()[:_ID_LENGTH]


def fingerprint_of(files: Iterable[tuple[str, int]]) -> str:
    """Hash the names and sizes of files, in whatever order they come."""
    digest = hashlib.sha256()
    for name, size in sorted(files):
        digest.update(f"{name}\n{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]

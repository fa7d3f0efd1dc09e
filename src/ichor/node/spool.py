"""Files of the node: what came in, by study and series, until it is delivered. They name patients.

Every name in it is a hash: nothing from outside becomes part of a path. Several processes write here (the receiver,
the page for STOW-RS); one takes studies out. All is done by renames, so that whoever is killed leaves nothing half.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ichor.errors import RefusedInput
from ichor.jobs.storage import new_id, remove, settle
from ichor.reading.dicom.dataset import open_dataset
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits

__all__ = [
    "NotTaken",
    "Origin",
    "Series",
    "Spool",
    "Taken",
    "hashed",
    "is_usable_uid",
    "load_json",
    "write_json",
]

_ARRIVED, _TAKEN, _WHOLE, _ORIGIN = "arrived", "taken", "whole", "origin.json"
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
_RECOUNT_S = 60.0


class NotTaken(Exception):
    """A file that is not kept.

    Parameters
    ----------
    reason
        ``unreadable``, ``bad_uid``, ``mismatch``, ``full`` or ``too_many``.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Origin:
    """Where a file came from.

    Attributes
    ----------
    way
        ``dicom``, ``folder``, ``stow`` or ``orthanc``.
    called, calling
        AE titles, empty where there are none.
    """

    way: str
    called: str = ""
    calling: str = ""


@dataclass(frozen=True)
class Taken:
    """A file that was kept: the hash of its study, and its identifiers for the answer."""

    study: str
    sop_class: str
    sop_instance: str


@dataclass(frozen=True)
class Series:
    """A series of a complete study."""

    origin: Origin
    files: tuple[Path, ...]


def hashed(text: str) -> str:
    """Return 32 hexadecimal digits that stand for an identifier."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all, and have the disk hold it."""
    temporary = path.with_name(f".{new_id()}")
    try:
        temporary.write_text(json.dumps(value), encoding="utf-8")
        settle(temporary)
        temporary.replace(path)
    except OSError:
        remove(temporary)
        raise
    settle(path.parent)


def load_json(path: Path) -> Any:
    """Read a file of :func:`write_json`; None where it is gone or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Spool:
    """The node's folders below the state folder.

    Parameters
    ----------
    root
        Made, for its owner only, where it does not exist.
    limits
        How much of one file is parsed.
    most_instances
        Of one study.

    Attributes
    ----------
    receiving, incoming, identities, commitments, steps
        What is being received; what came, by study; who the assessed studies are of; answers to requests for
        storage commitment; what scanners said of their steps.
    """

    def __init__(self, root: Path, limits: Limits, most_instances: int = 10_000) -> None:
        self.root = root
        self.most_instances = most_instances
        self.limits = limits
        names = ("receiving", "incoming", "identities", "commitments", "steps")
        folders = tuple(root / name for name in names)
        self.receiving, self.incoming, self.identities, self.commitments, self.steps = folders
        for folder in (root, *folders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        self._used, self._counted = 0, -_RECOUNT_S

    # -- taking files ----------------------------------------------------------------------------------

    def take(
        self,
        file: Path,
        origin: Origin,
        expected: tuple[str, str] | None = None,
        study: str | None = None,
    ) -> Taken:
        """Keep a file: when this returns, the disk holds it.

        Parameters
        ----------
        file
            On the same disk; it may be removed afterwards.
        origin
            Where it came from.
        expected
            SOP class and instance that the sender announced.
        study
            Study instance UID that it announced.

        Raises
        ------
        NotTaken
            Where it is no DICOM object with usable identifiers.
        OSError
            Where the disk is full or broken.
        """
        head = self._head(file)
        sop_class, instance, own_study, series = (str(head.get(tag, "") or "").strip() for tag in _TAGS)
        if not all(is_usable_uid(uid) for uid in (instance, own_study, series)):
            raise NotTaken("bad_uid")
        if (expected is not None and (sop_class, instance) != expected) or study not in (None, own_study):
            raise NotTaken("mismatch")
        self.check_study(own_study)
        folder = self.incoming / hashed(own_study) / hashed(series)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / _ORIGIN).exists():
            write_json(folder / _ORIGIN, asdict(origin))
        settle(file)
        target = folder / f"{hashed(instance)}.dcm"
        placed = folder / f".{new_id()}"
        try:
            os.link(file, placed)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(file, placed)
            settle(placed)
        placed.replace(target)
        target.chmod(0o600)
        arrived = folder.parent / _ARRIVED
        arrived.touch(mode=0o600)
        for path in (folder, folder.parent, self.incoming):
            settle(path)
        self._used += target.stat().st_size
        return Taken(folder.parent.name, sop_class, instance)

    def _head(self, file: Path) -> Any:
        try:
            return open_dataset(InputFile(file, "object"), self.limits, tags=_TAGS)
        except RefusedInput:
            raise NotTaken("unreadable") from None

    def check_room(self, most: int, free: int) -> None:
        """Refuse what would fill the disk.

        Raises
        ------
        NotTaken
            ``full`` where the spool holds ``most`` bytes, or fewer than ``free`` are left on the disk.
        """
        if time.monotonic() - self._counted > _RECOUNT_S:
            self._used, self._counted = sum(_sizes(self.incoming)), time.monotonic()
        if self._used > most or shutil.disk_usage(self.root).free < free:
            raise NotTaken("full")

    def check_study(self, study: str) -> None:
        """Refuse a study of more files than any has.

        Raises
        ------
        NotTaken
            ``too_many``.
        """
        folder = self.incoming / hashed(study)
        if sum(1 for _ in folder.glob("*/*.dcm")) >= self.most_instances:
            raise NotTaken("too_many")

    # -- complete studies ------------------------------------------------------------------------------

    def due(self, quiet_s: float, now: float) -> list[str]:
        """Return the studies to which nothing was added for a while, and those that a killed process had begun.

        In the order in which their last files came.
        """
        out: dict[str, float] = {}
        for folder in self.incoming.iterdir():
            if (folder / _TAKEN).exists():
                out[folder.name] = 0.0
                continue
            with contextlib.suppress(FileNotFoundError):
                arrived = (folder / _ARRIVED).stat().st_mtime
                waited = now - arrived
                if waited >= quiet_s or waited < -quiet_s:  # a clock that was set back
                    out[folder.name] = arrived
        return sorted(out, key=lambda name: (out[name], name))

    def waiting(self) -> list[str]:
        """Return the studies that came, and that nobody has begun."""
        folders = list(self.incoming.iterdir())
        return [f.name for f in folders if (f / _ARRIVED).exists() and not (f / _TAKEN).exists()]

    def instances(self, study: str) -> set[str]:
        """Return the hashes of the instances of a study."""
        return {path.stem for path in (self.incoming / study).glob("*/*.dcm")}

    def study_uid(self, study: str) -> str:
        """Return the study instance UID, from one of its files; empty where there is none."""
        for path in (self.incoming / study).glob("*/*.dcm"):
            with contextlib.suppress(NotTaken):
                return str(self._head(path).get("StudyInstanceUID", "") or "").strip()
        return ""

    def mark_whole(self, study: str) -> None:
        """Note that whoever sent a study has no more of it."""
        if (self.incoming / study / _ARRIVED).exists():
            (self.incoming / study / _WHOLE).touch(mode=0o600)

    def is_marked_whole(self, study: str) -> bool:
        """Return whether :meth:`mark_whole` said so, since the study was begun the last time."""
        return (self.incoming / study / _WHOLE).exists()

    def begin(self, study: str) -> list[Series]:
        """Return the series of a study; what is added from now on makes it due once more."""
        folder = self.incoming / study
        (folder / _WHOLE).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (folder / _ARRIVED).replace(folder / _TAKEN)
        out = []
        for series in sorted(p for p in folder.iterdir() if p.is_dir()):
            origin = load_json(series / _ORIGIN)
            files = tuple(sorted(series.glob("*.dcm")))
            if files:
                out.append(Series(Origin(**(origin or {"way": "unknown"})), files))
        return out

    def end(self, study: str) -> None:
        """Note that all was done with what :meth:`begin` gave."""
        (self.incoming / study / _TAKEN).unlink(missing_ok=True)

    def last_change(self, study: str) -> float:
        """Return when a study last changed, in seconds since 1970; 0 where it is gone."""
        folder = self.incoming / study
        times = [0.0]
        for path in (folder, *folder.glob("*")):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        return max(times)

    def is_open(self, study: str) -> bool:
        """Return whether something of a study is still to be done."""
        folder = self.incoming / study
        return (folder / _ARRIVED).exists() or (folder / _TAKEN).exists()

    def studies(self) -> list[str]:
        """Return all studies that are kept."""
        return [p.name for p in self.incoming.iterdir()]

    def remove_study(self, study: str) -> None:
        """Remove the files of a study, unless something came just now."""
        folder = self.incoming / study
        away = self.receiving / f"purged-{new_id()}"
        with contextlib.suppress(FileNotFoundError):
            folder.rename(away)
            if (away / _ARRIVED).exists() and not folder.exists():  # came in between: it stays
                away.rename(folder)
            remove(away)

    def clear_receiving(self, older_s: float = 0.0) -> None:
        """Remove what associations that broke have left."""
        for path in self.receiving.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime >= older_s:
                    remove(path)


def is_usable_uid(uid: str) -> bool:
    """Return whether a UID is one (PS3.5 9.1), zeros in front of a component let be."""
    return 0 < len(uid) <= 64 and _UID.fullmatch(uid) is not None


def _sizes(folder: Path) -> Iterator[int]:
    for here, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield (Path(here) / name).stat().st_size

"""Parts of studies, as they are found folder by folder, to units: a study in several folders is one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ichor.bulk.units import Unit, fingerprint_of, study_id

__all__ = ["Grouping", "Part", "unit_of"]

_OPEN_FOLDERS = 32
"""A study is given once so many folders were seen since its last one: what is found later completes it."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class Part:
    """Files of one study in one folder, or one archive, volume or picture.

    Attributes
    ----------
    folder
        Below the root, with ``/``; empty for the root.
    study
        UID of the study; empty of anything but DICOM.
    places
        What is read: the folder itself, or some of its files.
    files
        Names below the root, and bytes.
    """

    folder: str
    study: str
    places: tuple[str, ...]
    files: tuple[tuple[str, int], ...]


@dataclass
class _Study:
    """A study, as far as it was found."""

    uid: str
    parts: list[Part] = field(default_factory=list)
    seen: int = 0
    whole: str | None = None
    """Folder that holds it and nothing else."""
    late: bool = False

    def unit(self) -> Unit:
        places = (self.whole,) if self.whole is not None else tuple(p for x in self.parts for p in x.places)
        named = list(dict.fromkeys(part.folder or "." for part in self.parts))
        more = len(named) - _MOST_NAMED
        name = " + ".join(named[:_MOST_NAMED]) + (f" + {more} more" if more > 0 else "")
        files = [file for part in self.parts for file in part.files]
        return Unit(
            id=study_id("study", self.uid),
            name=name if self.whole is None else self.whole,
            places=places,
            fingerprint=fingerprint_of(files),
            bytes=sum(size for _, size in files),
        )


class Grouping:
    """Holds studies open for a while, so that a neighbouring folder can still join.

    Nothing is lost by giving a study too early: when more of it is found, it is given again, whole, in the end.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Study] = OrderedDict()
        self._given: dict[str, _Study] = {}
        self._folders = 0

    def add(self, part: Part) -> None:
        """Take a part of a study."""
        known = self._given.get(part.study)
        if known is not None:
            known.parts.append(part)
            known.late, known.whole = True, None
            return
        study = self._open.setdefault(part.study, _Study(part.study))
        self._open.move_to_end(part.study)
        study.parts.append(part)
        study.seen = self._folders

    def next_folder(self) -> Iterator[Unit]:
        """Count a folder; give the studies that have been open for long."""
        self._folders += 1
        while self._open:
            uid, study = next(iter(self._open.items()))
            if self._folders - study.seen < _OPEN_FOLDERS:
                return
            yield self._give(uid)

    def leave(self, folder: str, only: str | None) -> Iterator[Unit]:
        """Give the studies that lie in sub-folders of a folder that is done.

        Parameters
        ----------
        folder
            Which is done; nothing more is found in it.
        only
            UID of the study that is all that this folder holds, if there is one.
        """
        inside = folder + "/"
        # The last ones are the latest: those of this folder stand together at the end.
        found = []
        for uid in reversed(self._open):
            study = self._open[uid]
            if not study.parts[-1].folder.startswith(inside):
                break
            if all(part.folder.startswith(inside) for part in study.parts):
                found.append(uid)
        for uid in reversed(found):
            if uid == only:
                self._open[uid].whole = folder
            yield self._give(uid)

    def end(self) -> Iterator[Unit]:
        """Give what is open, and again what was completed after it was given."""
        for uid in list(self._open):
            yield self._give(uid)
        for study in self._given.values():
            if study.late:
                yield study.unit()

    def _give(self, uid: str) -> Unit:
        study = self._open.pop(uid)
        self._given[uid] = study
        return study.unit()


def unit_of(part: Part) -> Unit:
    """Make the unit of an archive, a volume or a picture."""
    (place,) = part.places
    return Unit(
        id=study_id("place", place),
        name=place,
        places=part.places,
        fingerprint=fingerprint_of(part.files),
        bytes=sum(size for _, size in part.files),
    )

"""The bundles that a server offers, and the one that studies are assessed with: chosen on the page, kept in a file."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ichor.detecting import Detector
from ichor.detecting.bundle import Bundle, installed_bundles, load_bundle, require_calibrated
from ichor.detecting.combining import bundle_parts, combined_bundle, open_detector
from ichor.errors import BundleError, UsageError
from ichor.jobs.logs import log
from ichor.jobs.storage import settle

__all__ = ["BundleChoice", "OfferedBundle", "OpenedBundle"]

_FILE = "bundle.json"
_NOT_CALIBRATED = (
    "Not calibrated: it calls nothing, so that a worklist has nothing to flag and order by. Calibrate it on exams of "
    "your own (ichor bundle calibrate), and look at its scores with ichor detect."
)


@dataclass(frozen=True)
class OfferedBundle:
    """A bundle of a server.

    Attributes
    ----------
    name
        As the server was started with it: a name, a path, or ``A+B``.
    bundle
        Loaded, its graphs not opened.
    reason
        Why it cannot be chosen; empty where it can.
    """

    name: str
    bundle: Bundle
    reason: str = ""


class BundleChoice:
    """What a server offers, and what was chosen of it.

    Parameters
    ----------
    names
        Names, paths or combinations; empty for all that are installed, the default first.
    state
        Folder in which the choice is kept.

    Raises
    ------
    BundleError, UsageError
        Where one that is named cannot be loaded, or none of them is calibrated.
    """

    def __init__(self, names: Sequence[str], state: Path) -> None:
        self._path = state / _FILE
        offered = [_offered(name) for name in dict.fromkeys(names)] if names else _installed()
        self.offered = tuple(offered)
        if all(one.reason for one in offered):
            require_calibrated(offered[0].bundle)

    @property
    def chosen(self) -> OfferedBundle:
        """The bundle that studies are assessed with from now on: the first, where none was chosen."""
        name = self._kept()
        usable = [one for one in self.offered if not one.reason]
        return next((one for one in usable if one.name == name), usable[0])

    def find(self, sha256: str) -> OfferedBundle | None:
        """Return the bundle of a hash; None where there is none."""
        return next((one for one in self.offered if one.bundle.sha256 == sha256), None)

    def choose(self, sha256: str) -> OfferedBundle:
        """Choose a bundle, also for the next start.

        Raises
        ------
        KeyError
            Where none has this hash.
        UsageError
            Where it cannot be chosen.
        """
        found = self.find(sha256)
        if found is None:
            raise KeyError(sha256)
        if found.reason:
            raise UsageError(found.reason)
        temporary = self._path.with_name(f"{_FILE}.{os.getpid()}")
        temporary.write_text(json.dumps({"bundle": found.name}) + "\n", encoding="utf-8")
        settle(temporary)
        temporary.replace(self._path)
        log("bundle_chosen", bundle=found.bundle.name, version=found.bundle.version)
        return found

    def _kept(self) -> str | None:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept.get("bundle") if isinstance(kept, dict) else None


class OpenedBundle:
    """The one bundle whose graphs are open: memory is for one.

    Parameters
    ----------
    choice
        What may be opened.
    """

    def __init__(self, choice: BundleChoice) -> None:
        self.choice = choice
        first = choice.chosen
        self._name = first.name
        self.detector: Detector = open_detector(first.name)

    def follow(self) -> Detector:
        """Open what is chosen now, where it is another."""
        return self._open(self.choice.chosen)

    def of(self, sha256: str | None) -> Detector:
        """Open the bundle that a result was made by; what is open, where the server no longer offers that."""
        found = None if sha256 is None else self.choice.find(sha256)
        return self.detector if found is None or found.reason else self._open(found)

    def _open(self, offered: OfferedBundle) -> Detector:
        if offered.name != self._name:
            try:
                self.detector = open_detector(offered.name)
                self._name = offered.name
            except (BundleError, UsageError) as error:  # removed or altered since the start: the others go on
                log("bundle_not_opened", level=logging.WARNING, error=type(error).__name__)
        return self.detector


def _offered(name: str) -> OfferedBundle:
    bundles = [load_bundle(part, verify=False) for part in bundle_parts(name)]
    for bundle in bundles:
        if not bundle.manifest.calibrated:
            return OfferedBundle(name, bundle, _NOT_CALIBRATED)
    return OfferedBundle(name, bundles[0] if len(bundles) == 1 else combined_bundle(bundles))


def _installed() -> list[OfferedBundle]:
    """Return the default, and what else is installed and can be read."""
    found = [_offered("default")]
    for name in installed_bundles():
        if name != "default":
            try:
                found.append(_offered(name))
            except BundleError as error:
                log("bundle_not_offered", level=logging.WARNING, error=type(error).__name__)
    return found

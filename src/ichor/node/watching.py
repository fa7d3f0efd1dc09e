"""A watched folder: DICOM files that appear in it are taken as if they had been sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ichor.jobs.storage import is_about_storage
from ichor.node.audit import Audit
from ichor.node.config import Bounds
from ichor.node.spool import NotTaken, Origin, Spool
from ichor.reading.dicom.dataset import is_dicom

__all__ = ["Watch"]

_EVERY_S = 1.0
_SETTLED_S = 2.0
"""A file that did not change for so long is whole."""


class Watch:
    """Takes files from a folder; what was taken is removed there, what was not stays and is not tried again.

    Where the spool or the disk is full, what is in the folder waits until there is room.

    Parameters
    ----------
    folder
        To watch, with its sub-folders. Links are not followed.
    spool
        Where files go.
    bounds
        Of the node.
    audit, report
        What happened.
    """

    def __init__(
        self, folder: Path, spool: Spool, bounds: Bounds, audit: Audit, report: Callable[..., None]
    ) -> None:
        self.folder = folder
        self.spool = spool
        self.bounds = bounds
        self.audit = audit
        self.report = report
        self._left: dict[Path, float] = {}
        self._full = False

    def run(self) -> None:
        """Look again and again."""
        while True:
            try:
                self.look(time.time())
            except Exception as error:  # the folder is looked at again, whatever was in it
                self.audit("not_taken", outcome=8, reason="watched_folder", error=type(error).__name__)
            time.sleep(_EVERY_S)

    def look(self, now: float) -> int:
        """Take what is whole; returns the number of files."""
        try:
            taken = self._take_all(now)
        except NotTaken as refusal:
            if not self._full:  # said once, not each second
                self._refused(refusal.reason)
            self._full = True
            return 0
        self._full = False
        return taken

    def _take_all(self, now: float) -> int:
        taken = 0
        for here, _, names in os.walk(self.folder, followlinks=False):
            for name in sorted(names):
                path = Path(here) / name
                if path.is_symlink() or not path.is_file():
                    continue
                changed = path.stat().st_mtime
                if now - changed < _SETTLED_S or self._left.get(path) == changed:
                    continue
                taken += self._take(path, changed)
        return taken

    def _take(self, path: Path, changed: float) -> bool:
        self.spool.check_room(self.bounds.spool_bytes, self.bounds.free_bytes)
        try:
            if not _is_dicom(path):
                raise NotTaken("unreadable")
            kept = self.spool.take(path, Origin("folder"))
        except NotTaken as refusal:
            self._left[path] = changed
            self._refused(refusal.reason)
            return False
        except OSError as error:
            if not is_about_storage(error):
                raise
            raise NotTaken("full") from None
        path.unlink(missing_ok=True)
        self.audit("received", study=kept.study, way="folder")
        self.report(count="received", reason="folder")
        return True

    def _refused(self, reason: str) -> None:
        self.audit("not_taken", outcome=4, reason=reason, way="folder")
        self.report(count="not_taken", reason=reason)


def _is_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:  # it may not be read: that is no reason to leave the others
        return False

"""Room on the disk: what uploads have announced is set aside, and every chunk is checked, so that a reserve stays."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from ichor.jobs.storage import Storage
from ichor.serving.upload_plan import PlannedUpload

__all__ = ["SPARE_BYTES", "NoRoom", "Room"]

SPARE_BYTES = 200_000_000
"""Room that uploads leave: for what is kept of studies, and for the machine."""
_SET_ASIDE_S = 600.0
"""Without a byte of an upload for so long, others may use what it announced; if it goes on, its chunks are checked."""


class NoRoom(Exception):
    """An upload, or its next chunk, does not fit on the disk."""


@dataclass
class _Claim:
    """Bytes that an upload has announced and not sent, and when it was heard of last."""

    missing: int
    heard: float


class Room:
    """What uploads may still take.

    Parameters
    ----------
    storage
        The state folder.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._claims: dict[str, _Claim] = {}
        self._lock = threading.Lock()

    def load(self) -> None:
        """Set aside what uploads announced before this start and have not sent."""
        for folder in self.storage.uploads.iterdir():
            try:
                planned = PlannedUpload.load(self.storage, folder.name)
            except ValueError:  # nothing of ours, such as what a file manager leaves
                continue
            if planned is not None:
                missing = sum(f.size for f in planned.files) - sum(planned.received(self.storage))
                self._claims[folder.name] = _Claim(max(0, missing), time.monotonic())

    def reserve(self, upload: str, size: int) -> None:
        """Set bytes aside for an upload.

        Raises
        ------
        NoRoom
            Where they, and all that others were promised, do not fit beside the reserve.
        """
        now = time.monotonic()
        with self._lock:
            promised = sum(c.missing for c in self._claims.values() if now - c.heard < _SET_ASIDE_S)
            if self.storage.free_bytes() < promised + size + SPARE_BYTES:
                raise NoRoom
            self._claims[upload] = _Claim(size, now)

    def take(self, upload: str, size: int) -> None:
        """Let an upload write its next chunk.

        Raises
        ------
        NoRoom
            Where the disk has filled up meanwhile; nothing is to be written.
        """
        with self._lock:
            if self.storage.free_bytes() < size + SPARE_BYTES:
                raise NoRoom
            claim = self._claims.get(upload)
            if claim is not None:
                claim.missing, claim.heard = max(0, claim.missing - size), time.monotonic()

    def release(self, upload: str) -> None:
        """Forget an upload: it is complete, cancelled or refused."""
        with self._lock:
            self._claims.pop(upload, None)

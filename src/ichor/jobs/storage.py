"""Files of the state folder. Every name in it is given here; nothing from outside becomes part of a path."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ichor.errors import UsageError

__all__ = ["Storage", "StorageUnavailable", "is_about_storage", "new_id", "remove", "settle"]

_TROUBLES = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM)
"""What the disk says where nothing can be written: full, read-only, broken."""
_PROBE_BYTES = 1 << 16


class StorageUnavailable(Exception):
    """Nothing can be written to the state folder just now: no fault of what was being done."""


def is_about_storage(error: OSError) -> bool:
    """Tell whether an error says that the disk is full, read-only or broken."""
    return error.errno in _TROUBLES


def new_id() -> str:
    """Return a random name, 32 hexadecimal digits."""
    return secrets.token_hex(16)


class Storage:
    """The state folder.

    Parameters
    ----------
    root
        Made, for its owner only, where it does not exist.

    Attributes
    ----------
    uploads, studies, results, scratch, reading
        Folders of what is coming in, of what is kept of each study, of DICOM objects that were asked for (they name
        the patient), of what may go at any time, and of what the processes that read have unpacked.

    Raises
    ------
    UsageError
        Where nothing can be written there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        names = ("uploads", "studies", "results", "scratch", "reading")
        folders = [root / name for name in names]
        self.uploads, self.studies, self.results, self.scratch, self.reading = folders
        try:
            for folder in (root, *folders):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{root}: found that it cannot be written to ({error.strerror or type(error).__name__}); "
                "expected a folder for the worklist; give another with --state"
            ) from None

    def upload(self, upload: str) -> Path:
        """Folder of an upload."""
        return self.uploads / _checked(upload)

    def upload_input(self, upload: str, name: str) -> Path:
        """Folder within an upload that holds one of its inputs alone."""
        first = name.partition("/")[0]
        if not first.isdecimal():
            raise ValueError("found a name that is no input of ours; expected digits")
        return self.upload(upload) / first

    def study(self, study: str) -> Path:
        """Folder of what is kept of a study."""
        return self.studies / _checked(study)

    def publish(self, made: Path, study: str) -> Path:
        """Put a finished folder of ``scratch`` in its place, instead of what an earlier attempt left there."""
        target = self.study(study)
        for path in (*made.iterdir(), made):  # on the disk before the database says that it is
            settle(path)
        remove(target)
        made.rename(target)
        settle(self.studies)
        return target

    def new_scratch(self) -> Path:
        """Make a folder that lasts until the next start at most."""
        folder = self.scratch / new_id()
        folder.mkdir(mode=0o700)
        return folder

    def clear_scratch(self) -> None:
        """Remove what processes that ended left behind."""
        for entry in (*self.scratch.iterdir(), *self.reading.iterdir()):
            remove(entry)

    def free_bytes(self) -> int:
        """Room that is left."""
        return shutil.disk_usage(self.root).free

    def is_writable(self) -> bool:
        """Tell whether something can be written; tried, as folders may look as if."""
        probe = self.scratch / new_id()
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        return True

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold a lock that the system takes back when the process ends, however it ends.

        Raises
        ------
        BlockingIOError
            Where another process holds it, and ``wait`` is False.
        """
        with (self.root / f"{name}.lock").open("ab") as file:
            _lock(file, wait=wait)
            yield


def _lock(file: IO[bytes], *, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        tries: Any = msvcrt
        while True:
            try:
                file.seek(0)
                tries.locking(file.fileno(), tries.LK_NBLCK, 1)
                return
            except OSError:
                if not wait:
                    raise BlockingIOError from None
                time.sleep(0.1)
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def settle(path: Path) -> None:
    """Have the disk hold a file or a folder, before anybody is answered that it does."""
    if os.name == "nt" and path.is_dir():  # a folder cannot be opened there
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        # Another process may be removing the same.
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _checked(name: str) -> str:
    """Refuse what :func:`new_id` cannot have made: the last of several checks, and the one that counts."""
    if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
        raise ValueError("found a name that is no id of ours; expected 32 hexadecimal digits")
    return name

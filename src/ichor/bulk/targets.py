"""Where the DICOM objects of a run go: a folder, a store such as S3, or an archive by STOW-RS."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from ichor.bulk.dicomweb import SCHEME, web_client
from ichor.errors import UsageError
from ichor.reading.object_stores import open_store
from ichor.results.kinds import KINDS

if TYPE_CHECKING:
    from ichor.results import Results

__all__ = ["TARGET_TOKEN", "NotStored", "Target", "open_target"]

TARGET_TOKEN = "ICHOR_STOW_TOKEN"
"""Environment variable with a bearer token for the archive that objects are stored in."""
_SECONDS = 60.0
"""How long an archive may be silent."""


class NotStored(Exception):
    """A target did not take objects; the text says why, with nothing of the objects in it."""


class Target(Protocol):
    """Takes the objects of one study at a time; what comes again takes the place of what was there."""

    def check(self) -> None:
        """Look at the target before time is spent.

        Raises
        ------
        UsageError
            Where objects cannot be stored there.
        """

    def put(self, made: Results, name: str) -> None:
        """Store objects.

        Parameters
        ----------
        made
            At least one object.
        name
            Of the study, with ``/``: the same in every run.

        Raises
        ------
        NotStored
            Where not all of them are there; some may be.
        """


def open_target(address: str) -> Target:
    """Open what an address names; nothing is asked of it yet.

    Parameters
    ----------
    address
        A folder, ``s3://bucket/prefix`` or ``dicomweb+https://host/path``.

    Raises
    ------
    UsageError
        For another scheme, or an address that names credentials.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        return _Folder(Path(address))
    if scheme == "s3":
        return _Store(address)
    if scheme in (f"{SCHEME}https", f"{SCHEME}http"):
        return _Archive(address)
    raise UsageError(
        f"--objects: found the scheme {scheme}; expected a folder, s3://bucket/prefix, or dicomweb+https://host/path"
    )


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self._folder}: found that no folder can be made there ({error.strerror or type(error).__name__}); "
                "expected a folder for DICOM objects; give another with --objects"
            ) from None

    def put(self, made: Results, name: str) -> None:
        try:
            made.save(self._folder / name)
        except UsageError as error:
            raise NotStored(str(error)) from None


class _Store:
    def __init__(self, address: str) -> None:
        self._address = address
        self._opened: tuple[Any, str] | None = None

    def check(self) -> None:
        self._opened = open_store(self._address)

    def put(self, made: Results, name: str) -> None:
        from pyarrow import ArrowException, fs

        try:
            # Opened by the first study, and not with the worker: it may be away for a while.
            there, root = self._opened = self._opened or open_store(self._address)
            folder = PurePosixPath(root) / name
            files = {one.kind.file: one.content for one in made.objects}
            for file, content in files.items():
                with there.open_output_stream(str(folder / file)) as stream:
                    stream.write(content)
            found = there.get_file_info(fs.FileSelector(str(folder), allow_not_found=True))
            earlier = {kind.file for kind in KINDS.values()} - files.keys()
            for info in found:
                if info.base_name in earlier:  # of an earlier run: none is taken for one of this run
                    there.delete_file(info.path)
        except UsageError as error:
            raise NotStored(str(error)) from None
        except (ArrowException, OSError) as error:
            raise NotStored(f"found that the store does not take them ({type(error).__name__})") from None


class _Archive:
    def __init__(self, address: str) -> None:
        self._client = web_client(address, TARGET_TOKEN, seconds=_SECONDS)
        self._client.set_http_retry_params(
            retry=False
        )  # whoever stores tries again, in one place for all targets

    def check(self) -> None:
        """Nothing can be asked of a service that may do nothing but store."""

    def put(self, made: Results, name: str) -> None:
        from requests import RequestException

        try:
            answer = self._client.store_instances([one.dataset for one in made.objects])
        except RequestException as error:
            status = getattr(error.response, "status_code", None)
            what = f"status {status}" if status else type(error).__name__
            raise NotStored(f"found that the archive does not take them ({what})") from None
        except ValueError:
            raise NotStored("found that the archive gives no answer that can be read") from None
        # An answer may be empty: then its status, which is one of success, says that all are there.
        failed = [int(item.FailureReason) for item in answer.get("FailedSOPSequence") or []]
        stored = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or []}
        if failed or (stored and not {one.sop_uid for one in made.objects} <= stored):
            reason = f"status {failed[0]:04X}" if failed else "it names fewer than it was given"
            raise NotStored(f"found that the archive refuses some of them ({reason})")

"""From the address of a source to the source."""

from __future__ import annotations

from pathlib import Path

from ichor.bulk.folders import FolderSource
from ichor.bulk.units import Source
from ichor.errors import UsageError
from ichor.reading.limits import Limits

__all__ = ["open_source"]


def open_source(address: str, *, skipped: Path | None = None, limits: Limits | None = None) -> Source:
    """Open what an address names.

    Parameters
    ----------
    address
        A folder or file, or an address with a scheme that ichor reads.
    skipped
        A folder that is not looked into.
    limits
        For the headers that are read while studies are looked for.

    Raises
    ------
    UsageError
        Where there is no such source, or what it needs is not installed.
    """
    scheme, found, _ = address.partition("://")
    if not found or Path(address).exists():
        return FolderSource(Path(address), skipped, limits)
    # What other sources need is loaded where one is used.
    if scheme == "s3":
        from ichor.bulk.object_store import StoreSource

        return StoreSource(address, limits or Limits.from_environment())
    if scheme in ("dicomweb+https", "dicomweb+http"):
        from ichor.bulk.dicomweb import WebSource

        return WebSource(address)
    raise UsageError(
        f"{address}: found the scheme {scheme}; expected a folder or file, s3://bucket/prefix, or "
        "dicomweb+https://host/path"
    )

"""STOW-RS to an archive (PS3.18 10.5): the same object again is the same there, as its UID is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ichor.jobs.storage import new_id
from ichor.node.destinations import StowDestination
from ichor.node.senders.dicom import instances_of
from ichor.node.senders.http import bearer, get, post_stream
from ichor.node.senders.package import NotDelivered

__all__ = ["send_stow", "try_stow"]

_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE, _REASON = "00081155", "00081197"
_AT_ONCE = 100
"""Objects of one request: a server answers within its own time."""
_CHUNK = 1 << 20


def send_stow(destination: StowDestination, files: Sequence[Path]) -> None:
    """Store files.

    Parameters
    ----------
    destination
        Where.
    files
        DICOM.

    Raises
    ------
    NotDelivered
        Where the answer does not name every object as stored.
    """
    for first in range(0, len(files), _AT_ONCE):
        _store(destination, files[first : first + _AT_ONCE])


def try_stow(destination: StowDestination) -> None:
    """Ask the server for a study, of whichever; nothing is stored.

    Raises
    ------
    NotDelivered
        Where nothing answers, or it does not know us. That it has no search is no fault.
    """
    headers = {"Accept": "application/dicom+json", **bearer(destination.token_file)}
    try:
        get(f"{_studies(destination)}?limit=1", headers, destination.timeout_seconds)
    except NotDelivered as failure:
        if failure.reason not in ("http_400", "http_404", "http_405", "http_406", "http_501"):
            raise


def _store(destination: StowDestination, files: Sequence[Path]) -> None:
    boundary = new_id()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
        **bearer(destination.token_file),
    }
    begin, end = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), b"\r\n"
    last = f"--{boundary}--\r\n".encode()
    size = sum(len(begin) + path.stat().st_size + len(end) for path in files) + len(last)

    def body() -> Iterator[bytes]:
        for path in files:
            yield begin
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            yield end
        yield last

    url = _studies(destination)
    _check(post_stream(url, body(), size, headers, destination.timeout_seconds), set(instances_of(files)))


def _check(answer: bytes, expected: set[str]) -> None:
    """Take the server at its word only where it names every object."""
    try:
        found: dict[str, Any] = json.loads(answer)
        stored = {item[_INSTANCE]["Value"][0] for item in _items(found, _REFERENCED)}
        reasons = [int(item[_REASON]["Value"][0]) for item in _items(found, _FAILED) if _REASON in item]
    except (ValueError, KeyError, TypeError, LookupError, AttributeError):
        raise NotDelivered("bad_answer") from None
    if not expected <= stored:
        raise NotDelivered(f"status_{reasons[0]:04x}" if reasons else "not_stored")


def _items(answer: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return list(answer.get(tag, {}).get("Value") or [])


def _studies(destination: StowDestination) -> str:
    return destination.url.rstrip("/") + "/studies"

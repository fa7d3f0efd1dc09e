"""``ichor node check``: tries every destination once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ichor.node.config import NodeConfig
from ichor.node.destinations import DicomDestination, FhirDestination, Hl7Destination
from ichor.node.senders.dicom import DicomSender
from ichor.node.senders.http import get
from ichor.node.senders.package import NotDelivered
from ichor.node.transport import is_reachable

__all__ = ["Check", "check_all"]

_WORDS = {
    "unreachable": "nothing answers there; check host, port and firewall",
    "rejected": "refused the association; check both AE titles, and that it knows ours",
    "aborted": "broke off; check that both sides use TLS, or neither",
    "no_echo": "did not answer C-ECHO",
    "no_context": "does not take these objects; have it accept them, or leave the kind out",
    "timeout": "did not answer in time",
}


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    tried: str
    result: str
    good: bool
    seconds: float


def check_all(config: NodeConfig) -> Iterator[Check]:
    """Try every destination; nothing is stored anywhere.

    Parameters
    ----------
    config
        Of the node.

    Yields
    ------
    Check
        One or several a destination.
    """
    for destination in config.destinations:
        for tried, attempt in _attempts(destination, config.listen.ae_title):
            began = time.monotonic()
            result, good = _tried(attempt)
            yield Check(destination.name, tried, result, good, time.monotonic() - began)


def _attempts(destination: Any, title: str) -> list[tuple[str, Callable[[], str | None]]]:
    if isinstance(destination, DicomDestination):
        sender = DicomSender(destination, title)
        tls = "TLS, " if destination.tls else ""
        wanted: list[tuple[str, Callable[[], str | None]]] = [(f"{tls}C-ECHO", sender.echo)]
        wanted.append(("takes " + ", ".join(destination.kinds), sender.check_contexts))
        return wanted
    if isinstance(destination, Hl7Destination):
        return [("MLLP connection", lambda: _connect(destination))]
    if isinstance(destination, FhirDestination):
        return [("FHIR metadata", lambda: _metadata(destination))]
    return [("address", lambda: _address(destination.url))]


def _tried(attempt: Callable[[], str | None]) -> tuple[str, bool]:
    try:
        return attempt() or "ok", True
    except NotDelivered as failure:
        return _WORDS.get(failure.reason, failure.reason.replace("_", " ")), False


def _connect(destination: Hl7Destination) -> None:
    if not is_reachable(destination.host, destination.port, destination.timeout_seconds):
        raise NotDelivered("unreachable")


def _metadata(destination: FhirDestination) -> None:
    url = destination.url.rstrip("/") + "/metadata"
    if b"CapabilityStatement" not in get(
        url, {"Accept": "application/fhir+json"}, destination.timeout_seconds
    ):
        raise NotDelivered("no FHIR capability statement")


def _address(url: str) -> None:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not is_reachable(parts.hostname or "", port, 10.0):
        raise NotDelivered("unreachable")

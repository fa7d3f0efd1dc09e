"""``ichor node check``: tries once whomever the node calls."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ichor.node.config import AskedArchive, NodeConfig
from ichor.node.destinations import (
    DicomDestination,
    FhirDestination,
    Hl7Destination,
    StowDestination,
    UpsDestination,
)
from ichor.node.senders.counting import count_instances
from ichor.node.senders.dicom import DicomSender
from ichor.node.senders.http import get, try_address
from ichor.node.senders.mllp import try_mllp
from ichor.node.senders.package import NotDelivered
from ichor.node.senders.stow import try_stow
from ichor.node.senders.ups import try_ups
from ichor.node.sources import try_source
from ichor.uids import hashed_uid

__all__ = ["Check", "check_all"]

_WORDS = {
    "unreachable": "nothing answers there; check host, port and firewall",
    "rejected": "refused the association; check both AE titles, and that it knows ours",
    "aborted": "broke off; check that both sides use TLS, or neither",
    "no_tls": "does not come to terms on TLS; check the certificates of both sides",
    "no_echo": "did not answer C-ECHO",
    "no_context": "does not take these objects; have it accept them, or leave the kind out",
    "no_find": "takes no C-FIND at study root; ask another archive, or none",
    "http_401": "does not know us; check user, password or token",
    "http_403": "does not let us; check user, password or token",
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
    """Try every peer that the node calls; nothing is stored anywhere.

    Parameters
    ----------
    config
        Of the node.

    Yields
    ------
    Check
        One or several a peer.
    """
    for name, tried, attempt in _all(config):
        began = time.monotonic()
        result, good = _tried(attempt)
        yield Check(name, tried, result, good, time.monotonic() - began)


def _all(config: NodeConfig) -> Iterator[tuple[str, str, Callable[[], str | None]]]:
    title, archive = config.listen.ae_title, config.completion.archive
    if archive is not None:
        yield "completion", "C-FIND of numbers", lambda: _counts(archive, title)
    for source in config.sources:
        yield source.name, "changes of an Orthanc", functools.partial(try_source, source)
    for destination in config.destinations:
        for tried, attempt in _attempts(destination, title):
            yield destination.name, tried, attempt


def _counts(archive: AskedArchive, title: str) -> None:
    count_instances(archive, title, [hashed_uid("nothing")])  # a study that nobody has


def _attempts(destination: Any, title: str) -> list[tuple[str, Callable[[], str | None]]]:
    if isinstance(destination, DicomDestination):
        sender = DicomSender(destination, title)
        tls = "TLS, " if destination.tls else ""
        wanted: list[tuple[str, Callable[[], str | None]]] = [(f"{tls}C-ECHO", sender.echo)]
        wanted.append(("takes " + ", ".join(sender.wanted()), sender.check_contexts))
        return wanted
    if isinstance(destination, StowDestination):
        return [("STOW-RS server", lambda: try_stow(destination))]
    if isinstance(destination, UpsDestination):
        return [("takes procedure steps", lambda: try_ups(destination, title))]
    if isinstance(destination, Hl7Destination):
        tls = "TLS, " if destination.tls else ""
        return [(f"{tls}MLLP connection", lambda: try_mllp(destination))]
    if isinstance(destination, FhirDestination):
        return [("FHIR metadata", lambda: _metadata(destination))]
    return [("address", lambda: try_address(destination.url, destination.timeout_seconds))]


def _tried(attempt: Callable[[], str | None]) -> tuple[str, bool]:
    try:
        return attempt() or "ok", True
    except NotDelivered as failure:
        return _WORDS.get(failure.reason, failure.reason.replace("_", " ")), False


def _metadata(destination: FhirDestination) -> None:
    url = destination.url.rstrip("/") + "/metadata"
    if b"CapabilityStatement" not in get(
        url, {"Accept": "application/fhir+json"}, destination.timeout_seconds
    ):
        raise NotDelivered("no FHIR capability statement")

"""Associations that the node opens: to archives, viewers and worklist managers."""

from __future__ import annotations

from typing import Any, Protocol

from pynetdicom import AE

from ichor.node.destinations import Tls
from ichor.node.senders.package import NotDelivered
from ichor.node.transport import client_context, is_reachable, steady

__all__ = ["DicomPlace", "associate", "release"]


class DicomPlace(Protocol):
    """Where an application entity is."""

    @property
    def host(self) -> str:
        """Its address."""

    @property
    def port(self) -> int:
        """Its port."""

    @property
    def ae_title(self) -> str:
        """Its title."""

    @property
    def tls(self) -> Tls | None:
        """None uses none."""

    @property
    def timeout_seconds(self) -> float:
        """For each answer."""


def associate(
    place: DicomPlace, ae_title: str, contexts: list[Any], handlers: list[Any] | None = None
) -> Any:
    """Open an association.

    Parameters
    ----------
    place
        With whom.
    ae_title
        Ours.
    contexts
        That are proposed.
    handlers
        Of events, as pynetdicom takes them.

    Raises
    ------
    NotDelivered
        ``rejected``, ``aborted`` or ``unreachable``.
    """
    entity = AE(ae_title)
    entity.acse_timeout = entity.dimse_timeout = place.timeout_seconds
    entity.network_timeout = entity.connection_timeout = place.timeout_seconds
    tls = (client_context(place.tls), place.host) if place.tls else None
    association = entity.associate(
        place.host,
        place.port,
        contexts=contexts,
        ae_title=place.ae_title,
        tls_args=tls,
        evt_handlers=handlers or [],
    )
    if association.is_established:
        return steady(association)
    if association.is_rejected:
        raise NotDelivered("rejected")
    there = is_reachable(place.host, place.port, place.timeout_seconds)
    raise NotDelivered("aborted" if there else "unreachable")


def release(association: Any) -> None:
    """End an association, where it has not ended."""
    if association.is_established:
        association.release()

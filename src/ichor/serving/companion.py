"""What may run beside a server, on its database and its queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fastapi import APIRouter

from ichor.serving.state import Server

__all__ = ["Companion"]


class Companion(Protocol):
    """Starts after the server's parts and ends before them."""

    @property
    def routers(self) -> Sequence[APIRouter]:
        """Routes of its own, behind the same login."""

    def start(self, server: Server) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""

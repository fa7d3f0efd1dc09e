"""Servers for the tests, as for those of the page. Each module skips without the extra ``serve``."""

from __future__ import annotations

from serving.conftest import serve, server

__all__ = ["serve", "server"]

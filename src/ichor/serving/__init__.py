"""Serving: the worklist, its queue and worker, the API and the page, behind ``ichor serve``."""

from ichor.serving.settings import Settings

__all__ = ["Settings"]

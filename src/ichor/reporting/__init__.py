"""Reporting: findings as JSON, CSV, a page, pictures, a NIfTI mask, and lines on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ichor.reporting.files import write_csv, write_json, write_mask
from ichor.reporting.report import (
    DEFAULT_FORMATS,
    FORMATS,
    check_formats,
    not_written,
    report_folder,
    write_report,
)
from ichor.reporting.table import print_table

if TYPE_CHECKING:
    from ichor.reporting.html import write_html
    from ichor.reporting.overlay import write_overlays

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "check_formats",
    "not_written",
    "print_table",
    "report_folder",
    "write_csv",
    "write_html",
    "write_json",
    "write_mask",
    "write_overlays",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Load the page and the pictures only when asked: a terminal needs neither jinja2 nor scipy."""
    if name == "write_html":
        from ichor.reporting.html import write_html

        return write_html
    if name == "write_overlays":
        from ichor.reporting.overlay import write_overlays

        return write_overlays
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Markdown tables, printed a row at a time: a measurement that is stopped has shown what it found."""

from __future__ import annotations

from ichor.evaluating.metrics import Interval

__all__ = ["change", "figure", "heading", "row"]


def heading(*columns: str) -> None:
    """Print the head of a table."""
    row(*columns)
    print("|" + " --- |" * len(columns), flush=True)


def row(*cells: object) -> None:
    """Print a row; None is an empty cell."""
    print("| " + " | ".join("" if c is None else str(c) for c in cells) + " |", flush=True)


def figure(interval: Interval, digits: int = 3) -> str:
    """Return a figure with its 95 % interval."""
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def change(interval: Interval, digits: int = 3) -> str:
    """Return a difference with its 95 % interval, signs shown."""
    return f"{interval.value:+.{digits}f} ({interval.low:+.{digits}f} to {interval.high:+.{digits}f})"

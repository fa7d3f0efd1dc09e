"""Findings on a terminal: a few lines that a radiologist can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.findings import Findings
from ichor.reporting.choice import suspicious_slices
from ichor.reporting.words import (
    NOT_DETERMINED,
    UNTRUSTED,
    likely_subtypes,
    limit,
    nothing_outlined,
    number_ranges,
    printable,
    probability,
    refusals,
    verdict,
    volume,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["print_table"]

_STYLES = {"positive": "bold red", "negative": "bold", "uncalled": "bold yellow", "refused": "bold yellow"}


def print_table(
    findings: Findings, console: Console, written: Sequence[Path] = (), identity: str = ""
) -> None:
    """Print one input's findings.

    Parameters
    ----------
    findings
        Of any input, also of a refused one.
    console
        Of rich; colours only where it is a terminal.
    written
        Files of this input's report, to be named.
    identity
        Whose study it is, where that is to be shown.
    """
    from rich.table import Table
    from rich.text import Text

    shown = verdict(findings)
    console.print(Text(printable(findings.input), style="bold underline"), soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if identity:
        table.add_row("  study", Text(printable(identity)))
    headline = Text(
        shown.headline.upper() if shown.kind != "negative" else shown.headline, style=_STYLES[shown.kind]
    )
    if findings.uncertain:
        headline.append(", uncertain", style="bold yellow")
    table.add_row("  verdict", headline)
    for key, words in _rows(findings):
        table.add_row(f"  {key}", words if isinstance(words, Text) else Text(words))
    reasons = refusals(findings)
    for key, notices in (
        ("reason", reasons),
        ("warnings", [w for w in findings.warnings if w not in reasons and w.code != "nothing_outlined"]),
    ):
        for place, w in enumerate(notices):
            where = f" (slices {number_ranges(w.slices)})" if w.slices else ""
            text = Text.assemble((w.code, "yellow"), f": {printable(w.message)}{where}")
            table.add_row("" if place else f"  {key}", text)
    for place, path in enumerate(path for path in written if path.parent.name != "overlay"):
        table.add_row("" if place else "  written", Text(str(path), overflow="fold"))
    overlays = [path for path in written if path.parent.name == "overlay"]
    if overlays:
        table.add_row(
            "", Text(f"{overlays[0].parent} ({len(overlays)} picture{'s' if len(overlays) > 1 else ''})")
        )
    console.print(table)
    console.print()


def _rows(findings: Findings) -> list[tuple[str, str | Text]]:
    p, threshold = findings.probabilities.any, findings.thresholds.any
    if not findings.assessable or p is None:
        return []
    rows: list[tuple[str, str | Text]] = []
    if threshold is None:
        rows.append(("score", f"{probability(p)}   (not calibrated, no threshold)"))
    else:
        found = probability(p, against=threshold)
        rows.append(("P(any)", f"{found}   (threshold {limit(threshold, p)})"))
    if findings.uncertain and findings.uncertainty:
        rows.append(("certainty", findings.uncertainty))
    if findings.positive.any:
        rows.append(("type", _type(findings)))
    if findings.regions:
        n = len(findings.regions)
        rows.append(
            (
                "outlined",
                f"{volume(findings.volume_ml)} in {n} region{'s' if n > 1 else ''}"
                if findings.volume_ml is not None
                else f"{n} region{'s' if n > 1 else ''}, volume not known",
            )
        )
    elif why := nothing_outlined(findings):
        rows.append(("outlined", why))
    if findings.kind == "exam":
        rows.append(("slices", _slices(findings)))
        if findings.series_uid:  # a folder may hold several exams
            rows.append(("series", findings.series_uid))
    return rows


def _type(findings: Findings) -> Text:
    """Name the likely subtypes, untrusted ones pale and marked."""
    from rich.text import Text

    named = [
        Text(one.words) if one.trusted else Text(f"{one.words} ({UNTRUSTED})", style="bright_black")
        for one in likely_subtypes(findings)
    ]
    return Text(", ").join(named) if named else Text(NOT_DETERMINED)


def _slices(findings: Findings) -> str:
    top = max(findings.slices, key=lambda s: s.probabilities.any or 0.0, default=None)
    if top is None:
        return str(findings.n_slices)
    highest = (
        f"highest on slice {top.index + 1} of {findings.n_slices} ({probability(top.probabilities.any)})"
    )
    suspicious = suspicious_slices(findings)
    if not suspicious:
        return highest
    how = "suspicious" if findings.positive.any else "at or above the threshold, or outlined"
    return f"{number_ranges(suspicious)} {how}; {highest}"

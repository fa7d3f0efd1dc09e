"""Printed sections of hand-written pages: what lies between two markers comes from the code.

A section is ``<!-- begin: NAME -->`` ... ``<!-- end: NAME -->``, each marker on a line of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ROOT", "cell", "filled", "table", "update"]

ROOT = Path(__file__).parents[1]


def cell(text: object) -> str:
    """Make a text fit for one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heading: list[str], rows: list[list[object]]) -> str:
    """Return a Markdown table."""
    lines: list[list[object]] = [[*heading], ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines)


def filled(page: str, name: str, content: str, where: str) -> str:
    """Return a page with one section's content replaced.

    Parameters
    ----------
    page
        The page's text.
    name
        Of the section.
    content
        Markdown, without the markers.
    where
        The page's name, for errors.

    Raises
    ------
    SystemExit
        Where the page does not hold the two markers once, in this order.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise SystemExit(f"{where}: found no section {name!r}; expected {begin} and {end}, once each")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"


def update(pages: Mapping[str, Mapping[str, str] | str], *, check: bool, command: str) -> int:
    """Write pages, or only tell which are not what the code says.

    Parameters
    ----------
    pages
        By path from the root: the sections of a page, or a whole file's text.
    check
        Write nothing.
    command
        What to run where something is out of date.

    Returns
    -------
    int
        0, or 1 where ``check`` found a page out of date.
    """
    stale = []
    for name, content in pages.items():
        path = ROOT / name
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = content if isinstance(content, str) else present
        if not isinstance(content, str):
            for section, text in content.items():
                wanted = filled(wanted, section, text, name)
        if wanted == present:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
    for name in stale:
        print(f"{name}: {f'out of date; run {command}' if check else 'written'}", file=sys.stderr)
    return int(check and bool(stale))

"""Findings on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from ichor.findings import FindingsWarning
from ichor.reporting import print_table

from .cases import findings_on, phantom, refused


def _text(findings, *, terminal: bool = False, width: int = 100, written: tuple[Path, ...] = ()) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        highlight=False,
        color_system="standard" if terminal else None,
    )
    print_table(findings, console, written)
    return out.getvalue()


def test_positive() -> None:
    exam, mask = phantom()
    text = _text(findings_on(exam, mask, "subdural"))
    for words in (
        "phantom/",
        "HEMORRHAGE SUSPECTED",
        "0.98",
        "threshold 0.42",
        "subdural 0.93",
        "6.8 mL in 1 region",
    ):
        assert words in text, words
    assert "5-7 suspicious; highest on slice 5 of 12" in text
    assert "\x1b" not in text


def test_negative_is_not_shouted() -> None:
    exam, mask = phantom()
    text = _text(findings_on(exam, 0 * mask))
    assert "No hemorrhage suspected" in text
    assert "suspicious" not in text
    assert "outlined" not in text


def test_refused_says_why() -> None:
    text = _text(refused())
    assert "NOT ASSESSED" in text
    assert "unreadable: Found a file that ends within its pixels" in text
    assert "P(any)" not in text


def test_colours_only_on_a_terminal() -> None:
    exam, mask = phantom()
    assert "\x1b[1;31m" in _text(findings_on(exam, mask), terminal=True)


def test_names_and_messages_are_taken_literally() -> None:
    exam, mask = phantom()
    warning = FindingsWarning(code="metal", message="[bold]not markup[/bold]", slices=[3, 4])
    text = _text(findings_on(exam, mask, name="[red]a\x1b[2J", warnings=(warning,)), terminal=False)
    assert "[red]a\\x1b[2J" in text
    assert "metal: [bold]not markup[/bold] (slices 4-5)" in text


def test_written_files_are_named(tmp_path) -> None:
    exam, mask = phantom()
    written = (
        tmp_path / "report.html",
        tmp_path / "overlay" / "slice-001.png",
        tmp_path / "overlay" / "slice-002.png",
    )
    text = _text(findings_on(exam, mask), width=300, written=written)
    assert str(tmp_path / "report.html") in text
    assert f"{tmp_path / 'overlay'} (2 pictures)" in text

"""Run commands as a reader would type them, and photograph what they print."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

__all__ = ["Terminal", "chromium", "photographed"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_LINE, _MARGIN, _COLUMNS = 21, 22, 112
_STYLE = f"""
body {{ margin: 0; padding: {_MARGIN}px; background: #10161d; color: #d7dee6;
  font: 15px/{_LINE}px "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; white-space: pre; }}
b {{ color: #ffffff; }} i {{ color: #59b576; font-style: normal; }}
"""


def chromium() -> str:
    """Return a browser, or end with a sentence where there is none."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"found no Chromium; expected one of {', '.join(_BROWSERS)}; install it")
    return browser


def photographed(page: Path, shot: Path, width: int, height: int, browser: str | None = None) -> Path:
    """Photograph a page that is a file, without a network."""
    command = [
        browser or chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
    ]
    command += ["--disable-background-networking", f"--user-data-dir={shot.parent / 'profile'}"]
    command += [f"--window-size={width},{height}", f"--screenshot={shot}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode or not shot.is_file():
        raise SystemExit(
            f"{page.name}: found exit status {done.returncode}, no picture; expected {shot.name}"
        )
    return shot


@dataclass
class Terminal:
    """Commands that ran in a folder, and what they printed.

    Parameters
    ----------
    folder
        Where they run.
    """

    folder: Path
    lines: list[str] = field(default_factory=list)

    def run(self, command: str, *, most: int = 14) -> None:
        """Run a command of a shell, and keep its first lines; end where it fails."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise SystemExit(f"{command}: found exit status {done.returncode}; expected 0:\n{done.stdout}")
        printed = [
            line[: _COLUMNS - 1] + "…" if len(line) > _COLUMNS else line for line in done.stdout.splitlines()
        ]
        left = len(printed) - most
        shown = printed if left <= 1 else [*printed[:most], f"… {left} more lines"]
        self.lines += [f"<i>$</i> <b>{escape(command)}</b>", *map(escape, shown), ""]

    def photograph(self, shot: Path) -> Path:
        """Write a picture of what stands on the screen."""
        page = self.folder / "terminal.html"
        text = "\n".join(self.lines[:-1])
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{text}", encoding="utf-8")
        return photographed(page, shot, 1100, len(self.lines[:-1]) * _LINE + 2 * _MARGIN)

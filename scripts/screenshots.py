"""Take the README's picture: the report of the simulated example exam, and of nothing else.

``python scripts/screenshots.py`` runs ``ichor demo`` into a temporary folder, opens its report in headless
Chromium, and writes ``docs/images/report.png``. Needs Chromium (``--browser``, or one found on the path).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from sections import ROOT

from ichor.cli import run

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MOST_BYTES = 900_000
_COLOURS = 192
"""Enough for grey slices and a few colours, and a third of the bytes."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, _BROWSERS)), None))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/report.png")
    parser.add_argument("--width", type=int, default=1100, help="of the window, in pixels")
    parser.add_argument("--height", type=int, default=1712, help="of the window, in pixels")
    options = parser.parse_args()
    if options.browser is None:
        print(f"found no Chromium; expected one of {', '.join(_BROWSERS)}; install it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ichor-screenshot-") as name:
        folder = Path(name)
        if status := run(["demo", "-o", str(folder / "demo")]):
            return status
        (page,) = (folder / "demo").rglob("report.html")
        shot = folder / "shot.png"
        size = (options.width, options.height)
        take(options.browser, page, shot, size, folder / "profile")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(_COLOURS).save(options.output, optimize=True)
    written = options.output.stat().st_size
    print(f"{options.output}: {written:,} bytes")
    if written > _MOST_BYTES:
        print(f"{options.output}: found {written:,} bytes; expected at most {_MOST_BYTES:,}", file=sys.stderr)
        return 1
    return 0


def take(browser: str, page: Path, shot: Path, size: tuple[int, int], profile: Path) -> None:
    """Open a page in a headless browser without a network and write what it shows as PNG."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--no-first-run",
        "--force-device-scale-factor=1",
        f"--user-data-dir={profile}",
        f"--window-size={size[0]},{size[1]}",
        f"--screenshot={shot}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode or not shot.is_file():
        raise SystemExit(f"{browser}: found exit status {done.returncode}, no picture; expected {shot.name}")


if __name__ == "__main__":
    sys.exit(main())

"""Make the pictures of how-to pages that show no model's result: a photograph and what is read from it, an exploration.

``python scripts/howto_pictures.py`` writes ``docs/images/photograph.png`` (a slice of the simulated exam, a simulated
photograph of it in a viewer, and the picture that ichor reads from that) and ``docs/images/explore.png`` (the page that
``ichor explore`` writes of made pictures with planted faults; needs Chromium and the extra ``train``). ``--only NAME``
makes one of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from screenshots import save
from sections import ROOT

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam
from ichor.exam import Exam, Picture
from ichor.preparing.windows import BRAIN

sys.path.insert(0, str(ROOT))
from benchmarks.shared.camera import STRENGTHS, photograph, viewer

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_HEIGHT = 480


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images", help="a folder")
    parser.add_argument("--only", choices=["photograph", "explore"], help="by default both")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    makers = {"photograph": photographed, "explore": explored}
    with tempfile.TemporaryDirectory(prefix="ichor-howto-") as name:
        chosen = [options.only] if options.only else list(makers)
        return max(save(makers[one](Path(name)), options.output / f"{one}.png") for one in chosen)


def photographed(folder: Path) -> Path:
    """Lay a slice, its photograph, and what is read from it side by side."""
    exam = ichor.read(demo_exam())
    if not isinstance(exam, Exam):
        raise SystemExit("the simulated exam: found a picture; expected an exam")
    grey = BRAIN.to_grey(exam.volume[len(exam.volume) // 2])
    taken = folder / "photograph.jpg"
    taken.write_bytes(photograph(viewer(grey, 0), STRENGTHS["medium"], 0).jpeg)
    read = ichor.read(taken)
    if not isinstance(read, Picture):
        raise SystemExit("the photograph: found an exam; expected a picture")
    with Image.open(taken) as image:
        panels = [Image.fromarray(grey), image.convert("RGB"), Image.fromarray(read.grey)]
    scaled = [one.convert("RGB").resize((one.width * _HEIGHT // one.height, _HEIGHT)) for one in panels]
    gap = 8
    sheet = Image.new("RGB", (sum(one.width + gap for one in scaled) - gap, _HEIGHT), "white")
    left = 0
    for one in scaled:
        sheet.paste(one, (left, 0))
        left += one.width + gap
    sheet.save(folder / "photograph.png")
    return folder / "photograph.png"


def explored(folder: Path) -> Path:
    """Explore made pictures, two of them equal under two labels and one broken, and photograph the page."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"found no Chromium; expected one of {', '.join(_BROWSERS)}; install it")
    rng = np.random.default_rng(0)
    for name in ("hemorrhage", "normal"):
        (folder / "set" / name).mkdir(parents=True)
        for k in range(12):
            Image.fromarray(_head(rng, name == "hemorrhage")).save(folder / "set" / name / f"{k}.png")
    normal = folder / "set" / "normal"
    shutil.copy(normal / "1.png", folder / "set" / "hemorrhage" / "12.png")
    (normal / "12.png").write_bytes((normal / "2.png").read_bytes()[:300])
    page, shot = folder / "explored.html", folder / "explore.png"
    if run(["explore", str(folder / "set"), "-o", str(page)]):
        raise SystemExit("ichor explore: found an exit status; expected a page")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1100,850", f"--screenshot={shot}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode or not shot.is_file():
        raise SystemExit(f"{browser}: found exit status {done.returncode}, no picture; expected {shot.name}")
    return shot


def _head(rng: np.random.Generator, bleeds: bool) -> NDArray[np.uint8]:
    """Draw an ellipse of brain in a ring of bone, with structure of its own, and a bleed where it is asked for."""
    yy, xx = np.mgrid[:200, :180]
    radius = np.hypot((yy - 100) / 90, (xx - 90) / 75)
    grey = np.where(radius < 0.92, 110.0, np.where(radius < 1, 250, 0))
    brain = radius < 0.9
    for _ in range(25):
        y, x, r = rng.integers(40, 160), rng.integers(40, 140), rng.integers(8, 22)
        grey[(np.hypot(yy - y, xx - x) < r) & brain] += rng.integers(-110, 130)
    if bleeds:
        y, x = rng.integers(70, 130), rng.integers(60, 120)
        grey[np.hypot((yy - y) / 1.4, xx - x) < rng.integers(8, 16)] = 205
    return np.clip(grey + rng.normal(0, 4, grey.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())

"""Make the pictures of how-to pages, all of the simulated exam or of made data.

``python scripts/howto_pictures.py`` writes into ``docs/images/``:

- ``photograph.png``: a slice, a simulated photograph of it in a viewer, and the picture that ichor reads from that;
- ``explore.png``: the page that ``ichor explore`` writes of made pictures with planted faults;
- ``convert.png``: what ``ichor data convert`` writes of one slice in three windows;
- ``submit.png``, ``export.png``, ``calibrate.png``: what these commands print;
- ``bulk-report.png``: the page of ``ichor bulk report`` on a small archive with a broken study in it.

``--only NAME`` makes one of them. Needs Chromium and the extras ``train`` and ``scale``.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from screenshots import save, without_bleed
from sections import ROOT
from terminal import Terminal, photographed

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam
from ichor.exam import Exam, Picture
from ichor.labels import LABEL_NAMES
from ichor.preparing.windows import BRAIN
from ichor.reading.nifti import to_nifti_space

sys.path.insert(0, str(ROOT))
from benchmarks.shared.camera import STRENGTHS, photograph, viewer

_HEIGHT = 480
_SITE = 24
"""Exams of the site that is calibrated on."""
_RECIPE = """name: own
description: A small network on pictures.
target: folder:set
n_folds: 2
preparation: {rows: 64, columns: 64, channels: [{offset: 0, level: 40, width: 80}]}
model: {kind: classifier, backbone: cnn-8-16, pretrained: false}
sampling: {kind: plain, balance: none}
batch_size: 8
epochs: 6
"""


def main() -> int:
    """Run the command."""
    makers: dict[str, Callable[[Path], Path]] = {
        "photograph": from_a_photograph,
        "explore": explored,
        "convert": converted,
        "submit": submitted,
        "export": exported,
        "calibrate": calibrated,
        "bulk-report": bulk_report,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images", help="a folder")
    parser.add_argument("--only", choices=list(makers), help="by default all of them")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    status = 0
    for one in [options.only] if options.only else list(makers):
        with tempfile.TemporaryDirectory(prefix="ichor-howto-") as name:
            status = max(status, save(makers[one](Path(name)), options.output / f"{one}.png"))
    return status


def from_a_photograph(folder: Path) -> Path:
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
    side_by_side([one.convert("RGB") for one in panels]).save(folder / "photograph.png")
    return folder / "photograph.png"


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Lay pictures of one height in a row."""
    scaled = [one.resize((one.width * _HEIGHT // one.height, _HEIGHT)) for one in images]
    gap = 8
    sheet = Image.new("RGB", (sum(one.width + gap for one in scaled) - gap, _HEIGHT), "white")
    left = 0
    for one in scaled:
        sheet.paste(one, (left, 0))
        left += one.width + gap
    return sheet


def explored(folder: Path) -> Path:
    """Explore made pictures, two of them equal under two labels and one broken, and photograph the page."""
    pictures_of_heads(folder / "set")
    normal = folder / "set" / "normal"
    (folder / "set" / "hemorrhage" / "12.png").write_bytes((normal / "1.png").read_bytes())
    (normal / "12.png").write_bytes((normal / "2.png").read_bytes()[:300])
    page, shot = folder / "explored.html", folder / "explore.png"
    if run(["explore", str(folder / "set"), "-o", str(page)]):
        raise SystemExit("ichor explore: found an exit status; expected a page")
    return photographed(page, shot, 1100, 850)


def pictures_of_heads(folder: Path) -> None:
    """Draw twelve pictures with a bleed and twelve without, a folder a class."""
    rng = np.random.default_rng(0)
    for name in ("hemorrhage", "normal"):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            Image.fromarray(_head(rng, name == "hemorrhage")).save(folder / name / f"{k}.png")


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


def converted(folder: Path) -> Path:
    """Convert the simulated exam in three windows, and lay the pictures of one slice side by side."""
    windows = ["brain", "subdural", "bone"]
    given = [part for window in windows for part in ("--window", window)]
    if run(["data", "convert", str(demo_exam()), "-o", str(folder / "png"), *given]):
        raise SystemExit("ichor data convert: found an exit status; expected pictures")
    images = []
    for window in windows:
        pictures = sorted((folder / "png").rglob(f"*{window}*.png"))
        images.append(Image.open(pictures[len(pictures) // 2]).convert("RGB"))
    side_by_side(images).save(folder / "convert.png")
    return folder / "convert.png"


def submitted(folder: Path) -> Path:
    """Make a submission of the simulated exam, whose images stand in for Kaggle's test folder."""
    with zipfile.ZipFile(demo_exam()) as source, (folder / "sample.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ID", "Label"])
        for name in sorted(n for n in source.namelist() if n.endswith(".dcm")):
            image = pydicom.dcmread(io.BytesIO(source.read(name)))
            target = folder / "stage_2_test" / f"{image.SOPInstanceUID}.dcm"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read(name))
            for label in LABEL_NAMES:
                table.writerow([f"{image.SOPInstanceUID}_{label}", 0.5])
    screen = Terminal(folder)
    screen.run("ichor submit stage_2_test/ --sample sample.csv -o submission.csv")
    screen.run("head -7 submission.csv")
    return screen.photograph(folder / "submit.png")


def exported(folder: Path) -> Path:
    """Train a small network for seconds, make a bundle of it, and show what the bundle says of itself."""
    pictures_of_heads(folder / "set")
    (folder / "own.yaml").write_text(_RECIPE, encoding="utf-8")
    screen = Terminal(folder)
    screen.run("ichor train own.yaml --data . -o run --parts fold-0,fold-1,all")
    screen.lines.clear()
    screen.run("ichor export run --data . -o bundle")
    screen.run("ls -s --block-size=KB bundle")
    screen.run("head -22 bundle/card.md", most=22)
    return screen.photograph(folder / "export.png")


def calibrated(folder: Path) -> Path:
    """Calibrate the default model on a made site: copies of the simulated exam, every second one without its bleed."""
    exam = ichor.read(demo_exam())
    if not isinstance(exam, Exam):
        raise SystemExit("the simulated exam: found a picture; expected an exam")
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "any", "patient"])
        for k in range(_SITE):
            bled = k % 2 == 0
            plain = exam.volume if bled else without_bleed(exam)
            hu = plain + rng.normal(0, rng.uniform(0, 4), plain.shape)
            array, affine = to_nifti_space(hu.astype(np.int16), exam)
            nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), affine), folder / f"{k:02d}.nii.gz")
            table.writerow([f"{k:02d}.nii.gz", int(bled), k])
    screen = Terminal(folder)
    screen.run("head -3 labels.csv")
    screen.run("ichor bundle calibrate default --data labels.csv -o ours", most=24)
    return screen.photograph(folder / "calibrate.png")


def bulk_report(folder: Path) -> Path:
    """Assess a small archive, one of whose studies is broken, and photograph the page of its report."""
    with zipfile.ZipFile(demo_exam()) as source:
        for number in range(5):
            study = folder / "archive" / f"study-{number}"
            study.mkdir(parents=True)
            for name in source.namelist():
                image = pydicom.dcmread(io.BytesIO(source.read(name)))
                image.StudyInstanceUID += f".{number}"
                image.SeriesInstanceUID += f".{number}"
                image.RescaleIntercept = float(image.RescaleIntercept) + number
                image.save_as(study / Path(name).name)
    (folder / "archive" / "broken").mkdir()
    (folder / "archive" / "broken" / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 4000)
    out = str(folder / "out")
    for command in (["bulk", str(folder / "archive"), "-o", out], ["bulk", "report", out]):
        if run(command):
            raise SystemExit(f"ichor {' '.join(command)}: found an exit status; expected 0")
    page = folder / "out" / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace(str(folder), ""), encoding="utf-8")
    return photographed(page, folder / "bulk-report.png", 1100, 1000)


if __name__ == "__main__":
    raise SystemExit(main())

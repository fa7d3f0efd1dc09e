"""Take the pictures of four reports: simulated studies with their results in Orthanc, as OHIF shows them.

``ICHOR_OHIF=dist python scripts/report_pictures.py`` takes the simulated example exam as it is, without its bleed, with
a bleed so faint that the default model is uncertain, and with fat in the place of its brain. It assesses the four,
stores them and their results in Debian's Orthanc, and photographs what OHIF (the folder ``dist`` of npm's
``@ohif/app``) shows of each. Writes ``docs/images/ohif-*.png`` and prints what was found. To be run again for another
model. Needs the extras ``results`` and ``test-serve``, Chromium, Orthanc with its DICOMweb plugin and a C compiler.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from scipy import ndimage
from screenshots import save
from sections import ROOT

import ichor
from ichor.cli.demo import demo_exam
from ichor.results import make_results
from ichor.uids import hashed_uid

sys.path.insert(0, str(ROOT / "tests"))
from results.archive.peers import BROWSER_ARGUMENTS, ohif, open_series, orthanc

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SOFT, _FAT_HU = (0, 110), -90
_BLEED = ROOT / "src/ichor/demo/truth.json"
_MARGIN, _BLUR = 22, 5.0
"""Pixels about the bleed: its rim of oedema; and how softly the other side's brain is put in."""
_BONE_HU = 250
_TRIES = 12
Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """A study on disk and its results."""

    name: str
    study_uid: str
    files: list[bytes]
    line: str


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, _BROWSERS)), None))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images", help="a folder")
    options = parser.parse_args()
    if options.browser is None:
        print(f"found no Chromium; expected one of {', '.join(_BROWSERS)}; install it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ichor-reports-") as name:
        folder = Path(name)
        detector = ichor.Detector()
        cases = [
            case(detector, folder, "negative", lambda hu: faint(hu, 0.0)),
            uncertain(detector, folder),
            case(detector, folder, "positive", lambda hu: hu),
            case(detector, folder, "not-assessed", fat),
        ]
        for one in cases:
            print(f"{one.name}: {one.line}")
        return photograph(cases, options.browser, folder, options.output)


def faint(hu: Any, share: float) -> Any:
    """Return slices with this share of the bleed: the rest is the brain of the other side, mirrored."""
    truth = json.loads(_BLEED.read_text(encoding="utf-8"))
    (first, *low), (last, *high) = truth["first_voxel"], truth["last_voxel"]
    where = np.zeros(hu.shape)
    rows, columns = (slice(a - _MARGIN, b + _MARGIN + 1) for a, b in zip(low, high, strict=True))
    where[first - 1 : last + 2, rows, columns] = 1 - share
    where = ndimage.gaussian_filter(where, (0, _BLUR, _BLUR))
    middle = ndimage.center_of_mass(hu > _BONE_HU)[2]
    mirrored = ndimage.shift(hu[:, :, ::-1], (0, 0, 2 * middle - (hu.shape[2] - 1)), order=1, mode="nearest")
    return hu + where * (mirrored - hu)


def fat(hu: Any) -> Any:
    """Return slices with fat where the brain was."""
    return np.where((hu > _SOFT[0]) & (hu < _SOFT[1]), _FAT_HU, hu)


def uncertain(detector: ichor.Detector, folder: Path) -> Case:
    """Find the share of the bleed at which the model is uncertain, by halves."""
    low, high = 0.0, 1.0
    for _ in range(_TRIES):
        share = (low + high) / 2
        change = functools.partial(faint, share=share)
        source = written(folder / f"uncertain-{share:.4f}", "uncertain", change)
        findings = next(detector.detect_all(source)).findings
        if findings.uncertain:
            return assessed(detector, source, "uncertain", f"share of the bleed {share:.3f}; ")
        low, high = (low, share) if findings.positive.any else (share, high)
    raise SystemExit(
        "found no share of the bleed at which the model is uncertain; expected one between none and the whole"
    )


def case(detector: ichor.Detector, folder: Path, name: str, change: Change) -> Case:
    """Write and assess one study."""
    return assessed(detector, written(folder / name, name, change), name)


def written(folder: Path, name: str, change: Change) -> Path:
    """Write the example exam with its Hounsfield units changed, as a study of its own."""
    folder.mkdir()
    with zipfile.ZipFile(demo_exam()) as archive:
        contents = [archive.read(member) for member in sorted(archive.namelist())]
    slices = [pydicom.dcmread(io.BytesIO(content)) for content in contents]
    for data in slices:
        data.decompress()
    slope, intercept = float(slices[0].RescaleSlope), float(slices[0].RescaleIntercept)
    stored = np.stack([data.pixel_array for data in slices])
    changed = np.rint((change(stored * slope + intercept) - intercept) / slope).astype(stored.dtype)
    for number, (data, plane) in enumerate(zip(slices, changed, strict=True)):
        data.PixelData = plane.tobytes()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            setattr(data, keyword, hashed_uid(f"{name}/{data.get(keyword)}"))
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder


def assessed(detector: ichor.Detector, source: Path, name: str, line: str = "") -> Case:
    """Assess a study and make its results."""
    detection = next(detector.detect_all(source))
    findings = detection.findings
    results = make_results(findings, detection.exam, source, ("dicom",), card=detector.bundle.card)
    files = [path.read_bytes() for path in sorted(source.iterdir())]
    uid = str(pydicom.dcmread(io.BytesIO(files[0]), stop_before_pixels=True).StudyInstanceUID)
    if findings.assessable:
        line += f"probability {findings.probabilities.any or 0.0:.2f}, uncertain: {findings.uncertain}, "
        line += f"suspected: {findings.positive.any}, {findings.volume_ml} mL"
    else:
        line += ", ".join(warning.code for warning in findings.warnings)
    return Case(name, uid, files + [made.content for made in results.objects], line)


def photograph(cases: list[Case], browser: str, folder: Path, output: Path) -> int:
    """Store the studies, open each, and write the pictures; return 1 where one is too large."""
    from playwright.sync_api import sync_playwright

    worst = 0
    with orthanc(folder) as archive, ohif(archive) as address, sync_playwright() as driver:
        for one in cases:
            for content in one.files:
                archive.store(content)
        running = driver.chromium.launch(executable_path=browser, args=BROWSER_ARGUMENTS)
        for one in cases:
            for series, shown in (("ichor summary page", one.name), ("ichor regions", "regions")):
                if shown == "regions" and one.name != "positive":
                    continue
                page = running.new_page(viewport={"width": 1200, "height": 800})
                open_series(page, address, one.study_uid, series)
                if shown == "regions":
                    page.get_by_role("button", name="Yes").click()
                page.wait_for_timeout(8000)
                shot = folder / f"{shown}.png"
                page.screenshot(path=shot)
                page.close()
                worst = max(worst, save(shot, output / f"ohif-{shown}.png"))
        running.close()
    return worst


if __name__ == "__main__":
    sys.exit(main())

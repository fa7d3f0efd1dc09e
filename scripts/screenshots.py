"""Take the README's pictures: the report and the page, showing the simulated example exam and nothing else.

``python scripts/screenshots.py`` runs ``ichor demo`` into a temporary folder and opens its report in headless Chromium;
then it starts ``ichor serve`` with an empty state, sends it the example, the example without its bleed, a picture
of one of its slices and a file that is none, reads one of them, and photographs what the page shows. Writes
``docs/images/``.

``--only views --output FOLDER`` photographs what is seen of some studies only (the heat map, whose study it is, the
series of a refused study, a stack of pictures, the API) in both themes and on a phone.

Needs Chromium (``--browser``, or one found on the path); for the page also the extras ``serve`` and ``test-serve``.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from sections import ROOT
from terminal import chromium, photographed

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam
from ichor.detecting import load_bundle
from ichor.exam import Exam
from ichor.preparing.windows import WINDOWS
from ichor.reading.nifti import to_nifti_space

_MOST_BYTES = 900_000
_COLOURS = 192
"""Enough for grey slices and a few colours, and a third of the bytes."""
_PATIENCE_S = 180
_DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
_PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
_ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--browser", default=None, help="by default one on the path")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images", help="a folder")
    parser.add_argument("--only", choices=["report", "page", "views"], help="by default the first two")
    options = parser.parse_args()
    browser = options.browser or chromium()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ichor-screenshot-") as name:
        folder = Path(name)
        shots: dict[str, Path] = {}
        if options.only == "views":
            shots |= views(browser, folder)
        if options.only in (None, "report"):
            shots["report"] = report(browser, folder)
        if options.only in (None, "page"):
            shots |= pages(browser, folder)
        return max(save(shot, options.output / f"{name}.png") for name, shot in shots.items())


def save(shot: Path, output: Path) -> int:
    """Write a picture with few colours; return 1 where it is too large for a repository."""
    with Image.open(shot) as image:
        image.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE).save(output, optimize=True)
    written = output.stat().st_size
    print(f"{output}: {written:,} bytes")
    if written > _MOST_BYTES:
        print(f"{output}: found {written:,} bytes; expected at most {_MOST_BYTES:,}", file=sys.stderr)
        return 1
    return 0


def report(browser: str, folder: Path) -> Path:
    """Photograph the report that ``ichor demo`` writes."""
    if run(["demo", "-o", str(folder / "demo")]):
        raise SystemExit("ichor demo: found an exit status; expected a report")
    (page,) = (folder / "demo").rglob("report.html")
    return photographed(page, folder / "report.png", 1100, 1712, browser)


# -- the page ------------------------------------------------------------------------------------------


def pages(browser: str, folder: Path) -> dict[str, Path]:
    """Photograph the page: a study and the worklist on a desktop, the same study on a phone."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("found no Playwright; expected the extra 'test-serve'; install it") from None
    shots = {name: folder / f"{name}.png" for name in ("page-study", "page-worklist", "page-phone")}
    with served(folder / "state") as url, sync_playwright() as driver:
        for name, content in inputs(folder):
            send(url, name, content)
        chromium = driver.chromium.launch(executable_path=browser, args=list(_ARGUMENTS))
        desktop = chromium.new_context(**_DESKTOP)
        desktop.add_init_script("localStorage.setItem('ichor.renderer', 'niivue')")
        page = desktop.new_page()
        opened(page, url, "Example with a bleed")
        page.screenshot(path=shots["page-study"])
        opened(page, url, "A slice as a picture")
        page.get_by_role("radio", name="Agree", exact=True).check()
        page.get_by_label("Reader").fill("AB")
        page.get_by_role("button", name="Save verdict").click()
        page.locator(".saved-verdict").wait_for()
        page.goto(f"{url}/#/")
        page.locator("tr.was-read").wait_for()
        page.wait_for_timeout(1000)
        page.screenshot(path=shots["page-worklist"], clip={"x": 0, "y": 0, "width": 1440, "height": 470})
        phone = chromium.new_context(**_PHONE)
        page = phone.new_page()
        opened(page, url, "Example with a bleed")
        page.screenshot(path=shots["page-phone"])
        chromium.close()
    return shots


def views(browser: str, folder: Path) -> dict[str, Path]:
    """Photograph what is seen of some studies only, light and dark on a desktop, dark on a phone."""
    from playwright.sync_api import sync_playwright

    shots: dict[str, Path] = {}
    exams = named_exams(folder)
    pictures = slices_as_pictures(folder)
    options = ("--show-identity", "--bundle", str(without_outlines(folder)))
    with served(folder / "state", *options) as url, sync_playwright() as driver:
        for name, content in exams.items():
            send(url, name, content)
        chromium = driver.chromium.launch(executable_path=browser, args=list(_ARGUMENTS))
        for look, settings in (("light", _DESKTOP), ("dark", _DESKTOP), ("phone", _PHONE)):
            context = chromium.new_context(**settings)
            theme = "light" if look == "light" else "dark"
            context.add_init_script(
                f"localStorage.setItem('ichor.theme', '{theme}'); localStorage.setItem('ichor.renderer', 'plain')"
            )
            page = context.new_page()
            for view in ("worklist", "heat", "series", "stack", "api"):
                if view == "heat":
                    opened(page, url, "After")
                elif view == "series":
                    page.goto(f"{url}/#/")
                    page.get_by_role("link", name="A capture", exact=True).click()
                    page.get_by_role("button", name="Assess this series").wait_for()
                else:
                    page.goto(f"{url}/#/{'api' if view == 'api' else ''}")
                    page.locator("details.operation" if view == "api" else "tr .whose").first.wait_for()
                if view == "stack":
                    page.locator("[data-input=files]").set_input_files(pictures)
                    page.get_by_label("mm from slice to slice").wait_for()
                if view == "api":
                    page.locator("details.operation summary").first.click()
                page.wait_for_timeout(1000)
                shots[f"view-{view}-{look}"] = folder / f"view-{view}-{look}.png"
                page.screenshot(path=shots[f"view-{view}-{look}"])
                page.reload()
            context.close()
        chromium.close()
    return shots


def without_outlines(folder: Path) -> Path:
    """Copy the default bundle, and let it outline nothing smaller than a litre."""
    bundle = folder / "bundle"
    shutil.copytree(load_bundle("default").folder, bundle)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["localisation"] |= {"min_volume_ml": 1000.0}
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def named_exams(folder: Path) -> dict[str, Path]:
    """Two exams of one invented patient, and a screen capture, all made from the simulated example."""
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT", "StudyDate": "20260305"}
    given = {
        "Before": {"StudyDate": "20250102", "StudyDescription": "CT head"},
        "After": {"StudyDate": "20260304", "StudyDescription": "CT head, control"},
        "A capture": capture,
    }
    files = {}
    for number, (name, tags) in enumerate(given.items(), start=1):
        files[name] = folder / f"{number}.zip"
        with zipfile.ZipFile(demo_exam()) as source, zipfile.ZipFile(files[name], "w") as made:
            for entry in source.namelist():
                data = pydicom.dcmread(io.BytesIO(source.read(entry)))
                data.PatientName, data.PatientID, data.AccessionNumber = (
                    "Invented^Person",
                    "X-1",
                    f"A-{number}",
                )
                data.StudyInstanceUID = f"{data.StudyInstanceUID}.{number}"
                data.SeriesInstanceUID = f"{data.SeriesInstanceUID}.{number}"
                data.ConvolutionKernel, data.SliceThickness = "H31s", 5
                for keyword, value in tags.items():
                    setattr(data, keyword, value)
                stream = io.BytesIO()
                data.save_as(stream)
                made.writestr(entry, stream.getvalue())
    return files


def slices_as_pictures(folder: Path) -> list[Path]:
    """Ten slices of the simulated example, each as a picture."""
    exam = ichor.read(demo_exam())
    if not isinstance(exam, Exam):
        raise SystemExit("the simulated example: found a picture; expected an exam")
    paths = [folder / f"slice-{k:02d}.png" for k in range(10)]
    for path, plane in zip(paths, exam.volume[::3], strict=True):
        Image.fromarray(WINDOWS["brain"].to_grey(plane)).save(path)
    return paths


def opened(page: Any, url: str, name: str) -> None:
    """Open a study and wait until its images are drawn."""
    page.goto(f"{url}/#/")
    page.get_by_role("link", name=name, exact=True).click()
    page.locator(".plane canvas[data-drawn]").first.wait_for(timeout=1000 * _PATIENCE_S)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plane canvas')].every(c => c.dataset.drawn)",
        timeout=1000 * _PATIENCE_S,
    )
    page.wait_for_timeout(3000)


@contextmanager
def served(state: Path, *options: str) -> Iterator[str]:
    """Run ``ichor serve`` on a free port."""
    command = [sys.executable, "-m", "ichor.cli", "serve", "--port", "0", "--state", str(state), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if process.stdout is None:
        raise SystemExit("ichor serve: found no output; expected its address")
    try:
        line = process.stdout.readline()
        if not line.startswith("ichor: http"):
            raise SystemExit(
                f"ichor serve: found {line!r}; expected its address; is the extra 'serve' installed?"
            )
        yield line.removeprefix("ichor: ").strip().rstrip("/")
    finally:
        process.terminate()
        process.wait(30)


def without_bleed(exam: Exam) -> NDArray[np.int16]:
    """Return the simulated exam's HU with brain where its bleed is."""
    volume = exam.volume.copy()
    volume[(volume > 48) & (volume < 110)] = 33
    return volume


def inputs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give names and files of what is sent: all made from the simulated example."""
    import nibabel

    exam = ichor.read(demo_exam())
    yield "Example with a bleed", Path(demo_exam())
    if not isinstance(exam, Exam):
        raise SystemExit("the simulated example: found a picture; expected an exam")
    array, affine = to_nifti_space(without_bleed(exam), exam)  # type: ignore[arg-type]
    image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
    nibabel.save(image, folder / "none.nii.gz")
    yield "Example without it", folder / "none.nii.gz"
    stream = io.BytesIO()
    Image.fromarray(WINDOWS["brain"].to_grey(exam.volume[15])).save(stream, "PNG")
    (folder / "slice.png").write_bytes(stream.getvalue())
    yield "A slice as a picture", folder / "slice.png"
    (folder / "letter.txt").write_text("no images", encoding="utf-8")
    yield "A file that is none", folder / "letter.txt"


def send(url: str, name: str, path: Path) -> None:
    """Send a file as a script would, and wait until its study is done."""
    size = path.stat().st_size
    plan = {"files": [{"path": path.name, "size": size}], "alias": name}
    upload = call(url, "POST", "/uploads", json.dumps(plan).encode())["id"]
    call(url, "PUT", f"/uploads/{upload}/files/0?offset=0", path.read_bytes(), "application/octet-stream")
    study = call(url, "POST", f"/uploads/{upload}/complete", b"")["studies"][0]["id"]
    end = time.monotonic() + _PATIENCE_S
    while call(url, "GET", f"/studies/{study}")["state"] not in ("ready", "refused"):
        if time.monotonic() > end:
            raise SystemExit(f"{name}: found no result after {_PATIENCE_S} s; expected one")
        time.sleep(0.2)


def call(url: str, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    """Ask the API."""
    request = urllib.request.Request(f"{url}/api/v1{path}", body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())

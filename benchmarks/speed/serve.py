"""How fast ``ichor serve`` is, and how much memory it takes while people read and the queue works.

Usage: python -m benchmarks.speed.serve [--studies N] [--readers N] [--runs N]

Needs the extras ``serve`` and ``test-serve``; for the page, Chromium (``ICHOR_CHROMIUM``, or on the path). The exam of
30 slices is the simulated one, sent as a folder of DICOM files; the many are parts of it, each with pixels of its own.
Exits with 1 where an aim is missed.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import pydicom

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.cli.demo import demo_exam

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from serving.served import Served, done, exam, submit, until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-sync"]
RENDERERS = {"niivue": "NiiVue", "plain": "the plain canvas"}
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
INTERACTIVE_S, FINDINGS_S, GROWTH = 1.0, 4.0, 0.15
"""Aims: seconds, seconds, and the share by which memory may grow from a quarter of the studies to all."""
WARM = 0.25


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    found: str
    aim: str = ""
    met: bool = True


def main() -> int:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--studies", type=int, default=200, help="0 leaves the many out")
    arguments.add_argument("--readers", type=int, default=10)
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    lines: list[Line] = []
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        lines += single(Path(folder), options.runs)
        if options.studies:
            lines += many(Path(folder), options.studies, options.readers)
    print(f"{os.cpu_count()} cores; load {before:.1f} before, {os.getloadavg()[0]:.1f} at the end\n")
    heading("what", "found", "aim", "met")
    for line in lines:
        row(line.what, line.found, line.aim, ("yes" if line.met else "NO") if line.aim else None)
    return 0 if all(line.met for line in lines) else 1


# -- one study after the other -------------------------------------------------------------------------


def single(folder: Path, runs: int) -> list[Line]:
    """Time the page, and one exam from the upload to its findings."""
    served = Served(folder / "single").start()
    try:
        submitted = [by_api(served, k) for k in range(runs)]
        lines = [timed("upload of 30 files to findings and volume, by the API", submitted, FINDINGS_S)]
        if (found := browser_path()) is None:
            return [*lines, Line("the page", "not measured: needs Playwright and Chromium")]
        return [*lines, *on_page(served, folder, found, runs)]
    finally:
        served.stop()


def browser_path() -> str | None:
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return os.environ.get("ICHOR_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def series(number: int) -> dict[str, bytes]:
    """Return the 30 slices of the simulated exam; each number is another study."""
    out = {}
    with zipfile.ZipFile(demo_exam()) as archive:
        for name in archive.namelist():
            data = pydicom.dcmread(io.BytesIO(archive.read(name)))
            data.StudyInstanceUID, data.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.4.{number}"
            stream = io.BytesIO()
            data.save_as(stream, enforce_file_format=True)
            out[Path(name).name] = stream.getvalue()
    return out


def by_api(served: Served, number: int) -> float:
    """Send a folder as the page does, and wait for its findings and volume."""
    files = series(number)
    with served.client() as client:
        began = time.perf_counter()
        files_sent = [{"path": f"study/{n}", "size": len(c)} for n, c in files.items()]
        upload = client.post("/uploads", json={"files": files_sent}).json()["id"]
        for k, content in enumerate(files.values()):
            client.put(f"/uploads/{upload}/files/{k}", content=content)
        study = client.post(f"/uploads/{upload}/complete").json()["studies"][0]["id"]
        while client.get(f"/studies/{study}").json()["state"] != "ready":
            time.sleep(0.02)
        client.get(f"/studies/{study}/findings")
        client.get(f"/studies/{study}/volume.nii.gz")
        seconds = time.perf_counter() - began
        done(client, study)  # the report is not in the next one's way
    return seconds


def on_page(served: Served, folder: Path, chromium: str, runs: int) -> list[Line]:
    """Time the page in a browser."""
    from playwright.sync_api import sync_playwright

    interactive, listed, drawn = [], [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for k in range(runs):
            home = folder / f"study-{k}"
            home.mkdir()
            for name, content in series(100 + k).items():
                (home / name).write_bytes(content)
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            began = time.perf_counter()
            page.goto(served.url)
            page.locator(
                "tr[data-state]"
            ).first.wait_for()  # the list is there, and what is dragged in is taken
            interactive.append(time.perf_counter() - began)
            before = set(listed_studies(page))
            began = time.perf_counter()
            page.locator("[data-input=folder]").set_input_files(str(home))
            while not (new := [r for r in listed_studies(page, "ready") if r not in before]):
                page.wait_for_timeout(30)
            listed.append(time.perf_counter() - began)
            page.goto(f"{served.url}/#/study/{new[0]}")
            page.locator(".plane.main canvas[data-drawn]").first.wait_for()
            drawn.append(time.perf_counter() - began)
            context.close()
        study = f"{served.url}/#/study/{new[0]}"
        shown = {name: [viewed(browser, study, name) for _ in range(runs)] for name in RENDERERS}
        browser.close()
    return [
        timed("page interactive, with its list", interactive, INTERACTIVE_S),
        timed("upload of a folder of 30 files to findings in the list", listed, FINDINGS_S),
        timed("... and the study open, its first slice drawn", drawn, None),
        *(
            timed(f"a study opened, drawn by {RENDERERS[n]}", [t[0] for t in v], None)
            for n, v in shown.items()
        ),
        *(
            timed(f"another window, drawn by {RENDERERS[n]}", [t[1] for t in v], None)
            for n, v in shown.items()
        ),
    ]


def viewed(browser: Any, study: str, renderer: str) -> tuple[float, float]:
    """Seconds until a study is drawn, and until it is again after another window was chosen."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(f"localStorage.setItem('ichor.renderer', '{renderer}')")
    page = context.new_page()
    began = time.perf_counter()
    page.goto(study)
    page.locator(".plane.main canvas[data-drawn]").first.wait_for()
    page.evaluate(FRAMES)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    page.keyboard.press("3")
    page.evaluate(FRAMES)
    changed = time.perf_counter() - began
    context.close()
    return opened, changed


def listed_studies(page: Any, state: str = "") -> list[str]:
    """Ids of the studies in the list."""
    chosen = f"tr[data-state={state}]" if state else "tr[data-state]"
    links = f"[...document.querySelectorAll(`{chosen} a[href*='#/study/']`)]"
    return list(page.evaluate(f"() => {links}.map(a => a.hash.split('/').pop())"))


def timed(what: str, seconds: list[float], aim: float | None) -> Line:
    """Give the median and the range; the first, which loads code, counts as all."""
    found = f"median {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n {len(seconds)})"
    return Line(what, found, f"under {aim:g} s" if aim else "", aim is None or median(seconds) < aim)


# -- many at once --------------------------------------------------------------------------------------


def many(folder: Path, studies: int, readers: int) -> list[Line]:
    """Fill the queue, read from it by several at a time, and watch the memory."""
    served = Served(folder / "many").start()
    latencies: dict[str, list[float]] = defaultdict(list)
    memory: list[tuple[int, int, int]] = []
    failures: list[str] = []
    try:
        with served.client() as client, reading(served, readers, latencies, failures):
            began = time.perf_counter()
            for k in range(studies):
                submit(client, (f"{k}.nii", exam(k)))
                if k % 5 == 4:  # people send while the queue works, and do not fill the disk first
                    until(partial(followed, client, k - 10), "the queue to follow", 600)
                    memory.append((finished(client), *resident(served)))
            until(lambda: finished(client) == studies, "all studies", 600)
            seconds = time.perf_counter() - began
            memory.append((studies, *resident(served)))
    finally:
        served.stop()
    lines = [
        Line(
            f"{studies} small studies, {readers} readers",
            f"{seconds:.0f} s, {seconds / studies:.2f} s a study",
        )
    ]
    for what, times in sorted(latencies.items()):
        p50, p95 = np.percentile(times, [50, 95])
        found = f"median {1000 * p50:.0f} ms, 95 % under {1000 * p95:.0f} ms (n {len(times)})"
        lines.append(Line(f"a reader asks for {what}", found))
    lines.append(Line("requests of readers that failed", str(len(failures)), "0", not failures))
    for name, place in (("web", 1), ("worker", 2)):
        first = next(m for m in memory if m[0] >= WARM * studies)
        growth = memory[-1][place] / first[place] - 1
        found = f"{first[place] / 1e6:.0f} MB after {first[0]}, {memory[-1][place] / 1e6:.0f} MB after {memory[-1][0]}"
        lines.append(
            Line(f"memory of the {name} process", found, f"grows by {GROWTH:.0%} at most", growth <= GROWTH)
        )
    return lines


def followed(client: httpx.Client, least: int) -> bool:
    return finished(client) >= least


def finished(client: httpx.Client) -> int:
    return sum(
        client.get("/studies", params={"state": s, "limit": 1}).json()["total"] for s in ("ready", "refused")
    )


def resident(served: Served) -> tuple[int, int]:
    """Bytes in memory of the web process and the worker."""
    out = []
    for pid in (served.process.pid if served.process else 0, served.worker):
        line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
        out.append(1024 * int(line.split()[1]))
    return out[0], out[1]


@contextmanager
def reading(
    served: Served, readers: int, latencies: dict[str, list[float]], failures: list[str]
) -> Iterator[None]:
    """People who look at studies meanwhile, each with a list that is live."""
    end = threading.Event()
    threads = [
        threading.Thread(target=read, args=(served, k, end, latencies, failures)) for k in range(readers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def read(
    served: Served, number: int, end: threading.Event, latencies: dict[str, list[float]], failures: list[str]
) -> None:
    """Look at one study after the other, at a person's pace."""
    rng = np.random.default_rng(number)
    with served.client() as client:

        def ask(what: str, call: Callable[[], httpx.Response]) -> httpx.Response:
            began = time.perf_counter()
            answer = call()
            latencies[what].append(time.perf_counter() - began)
            if answer.status_code >= 400:
                failures.append(f"{what}: {answer.status_code}")
            return answer

        verdict = {"reader": f"reader {number}", "verdict": "agree"}
        with client.stream("GET", "/events"):  # an open page
            while not end.is_set():
                found = ask("the list", lambda: client.get("/studies", params={"state": "ready"})).json()[
                    "items"
                ]
                if found:
                    one = f"/studies/{found[int(rng.integers(len(found)))]['id']}"
                    ask("findings", partial(client.get, f"{one}/findings"))
                    ask("a volume", partial(client.get, f"{one}/volume.nii.gz"))
                    ask("a slice as PNG", partial(client.get, f"{one}/slices/3.png?mask=1"))
                    ask("a verdict to be kept", partial(client.put, f"{one}/verdict", json=verdict))
                end.wait(float(rng.uniform(0.5, 3.0)))


if __name__ == "__main__":
    sys.exit(main())

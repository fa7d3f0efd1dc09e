"""Accessibility, the phone, keys, the app's shell; what the page says of itself is what the code says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

from ichor.labels import LABELS
from ichor.notices import CAUTIONS
from ichor.preparing.windows import WINDOWS
from serving.pages.looking import Looker, picture_of
from serving.served import Served

STATIC = Path(__file__).parents[3] / "src/ichor/serving/static"
SOURCES = Path(__file__).parents[3] / "web"
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


def scan(looker: Looker) -> None:
    """Fail on every serious finding of axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra 'test-serve'")
    looker.page.wait_for_timeout(300)
    found = axe.Axe().run(looker.page).response["violations"]
    grave = [
        (v["id"], v["impact"], v["nodes"][0]["html"][:160])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not grave


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing_serious(
    look: Callable[..., Looker], filled_server: Served, theme: str, size: str
) -> None:
    looker = look(filled_server.url, **(PHONE if size == "phone" else {}))
    looker.page.evaluate(f"localStorage.setItem('ichor.theme', '{theme}')")
    looker.page.reload()
    looker.wait_states(4)
    assert looker.page.evaluate("document.documentElement.dataset.theme") == theme
    scan(looker)
    for name in ("bleed", "none", "picture", "refused"):
        looker.open(name)
        if name != "refused":
            looker.drawn()
            looker.page.get_by_role("button", name="Save verdict").wait_for()
        scan(looker)
        assert not looker.wide()
    looker.page.get_by_role("radio", name="Disagree").check()
    scan(looker)
    looker.page.goto(f"{looker.url}/#/about")
    looker.page.get_by_role("heading", name="Model card").wait_for()
    scan(looker)
    looker.page.keyboard.press("?")
    looker.page.get_by_role("dialog").wait_for()
    scan(looker)


def test_a_photograph_from_a_phone(
    serve: Callable[..., Served], look: Callable[..., Looker], tmp_path: Path
) -> None:
    served = serve("--keep-originals")
    looker = look(served.url, **PHONE)
    photograph = tmp_path / "PXL_20260101_DOE_JANE.jpg"
    with Image.open(io.BytesIO(picture_of(margin=60))) as image:
        exif = Image.Exif()
        exif[0x010F] = "Camera of J. Doe"
        image.convert("RGB").save(photograph, quality=92, exif=exif)
    looker.page.locator("[data-input=camera]").set_input_files(str(photograph))
    looker.page.get_by_role("heading", name="Use this photograph?").wait_for()
    looker.page.get_by_role("button", name="Use it").click()
    looker.wait_states(1, ("ready",))
    # What the camera wrote into it, and how it named it, never left the phone.
    kept = [path.read_bytes() for path in (served.state / "uploads").rglob("*") if path.is_file()]
    assert any(content.startswith(b"\xff\xd8") for content in kept)
    assert not any(b"DOE" in content or b"Camera of" in content for content in kept)
    assert not looker.wide()
    looker.page.locator("a.open").click()
    looker.drawn()
    text = looker.page.locator(".panel").inner_text()
    assert "Probability" in text and " mL" not in text
    assert not looker.wide()
    box = looker.page.locator(".plane canvas").first.bounding_box()
    assert box["width"] >= 340 and box["height"] >= 300
    # A finger brightens it.
    before = looker.pixels()
    x, y = looker.middle()
    touch = looker.page.context.new_cdp_session(looker.page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x, "y": y - 40}]),
        ("touchMove", [{"x": x - 30, "y": y - 90}]),
        ("touchEnd", []),
    ):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    looker.changed(before)


def test_everything_is_done_by_keys(look: Callable[..., Looker], filled_server: Served) -> None:
    looker = look(filled_server.url)
    looker.wait_states(4)
    keys = looker.page.keyboard
    keys.press("j")
    keys.press("j")
    keys.press("k")
    name = looker.page.evaluate("document.activeElement.textContent")
    keys.press("Enter")
    looker.page.get_by_role("heading", name=name).wait_for()
    looker.drawn()
    at = looker.slice()
    keys.press("Home")
    assert looker.slice() == 1
    keys.press("j")
    looker.still()
    assert looker.slice() == at
    keys.press("a")
    assert looker.page.evaluate("document.activeElement.name") == "verdict"
    keys.press("?")
    looker.page.get_by_role("heading", name="Keys").wait_for()
    keys.press("Escape")
    looker.page.get_by_role("dialog").wait_for(state="detached")
    keys.press(".")
    looker.page.wait_for_function(
        "name => document.querySelector('h1').textContent !== 'Study ' + name", arg=name
    )
    keys.press("Escape")
    looker.page.get_by_role("heading", name="Worklist").wait_for()
    keys.press("/")
    keys.type("nothing is called so")
    looker.page.get_by_text("No study fits").wait_for()
    looker.page.get_by_role("searchbox").fill("refused")
    looker.page.get_by_role("link", name="refused", exact=True).wait_for()
    looker.page.wait_for_function("() => document.querySelectorAll('tr[data-state]').length === 1")


def test_the_app_keeps_its_shell_and_nothing_of_a_study(
    look: Callable[..., Looker], filled_server: Served
) -> None:
    looker = look(filled_server.url)
    looker.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    looker.page.reload()
    looker.open("bleed")
    looker.drawn()
    kept = looker.page.evaluate(
        """async () => { const found = [];
          for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) found.push(new URL(request.url).pathname);
          return found }"""
    )
    assert "/" in kept and any(path.startswith("/assets/app") for path in kept)
    assert not [path for path in kept if path.startswith(("/api", "/health", "/metrics"))]
    looker.page.context.set_offline(True)
    looker.page.goto(looker.url)
    looker.page.get_by_text("The server cannot be reached").wait_for()
    looker.page.context.set_offline(False)
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text(encoding="utf-8"))
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        path = STATIC / icon["src"]
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert f"{image.width}x{image.height}" == icon["sizes"]


def test_motion_is_left_out_for_who_asks(look: Callable[..., Looker], filled_server: Served) -> None:
    looker = look(filled_server.url, reduced_motion="reduce")
    looker.wait_states(4)
    durations = looker.page.evaluate(
        "[...document.querySelectorAll('*')].map(e => getComputedStyle(e).transitionDuration)"
    )
    assert set(durations) <= {"0s"}


def test_the_page_prints_with_the_verdict_and_without_buttons(
    look: Callable[..., Looker], filled_server: Served
) -> None:
    looker = look(filled_server.url)
    looker.open("bleed")
    looker.drawn()
    looker.page.emulate_media(media="print")
    assert not looker.page.locator(".toolbar").is_visible()
    assert looker.page.get_by_text("Research use, not a medical device").first.is_visible()
    assert looker.page.locator(".plane canvas").first.is_visible()
    assert looker.page.pdf().startswith(b"%PDF")


def test_labels_and_windows_are_those_of_the_code() -> None:
    text = (SOURCES / "src/labels.ts").read_text(encoding="utf-8")
    row = r'name: "(\w+)", abbreviation: "(\w+)", display: "([^"]+)", colour: "([^"]+)"'
    said = [tuple(found) for found in re.findall(row, text)]
    assert said == [(x.name, x.abbreviation, x.display, x.colour) for x in LABELS]
    windows = re.findall(r'name: "(\w+)", display: "\w+", level: (\d+), width: (\d+)', text)
    shown = {n: (float(a), float(b)) for n, a, b in windows}
    assert shown.pop("stroke") == (40, 40)  # the page's own
    assert shown == {n: (w.level, w.width) for n, w in WINDOWS.items()}


def test_cautions_are_those_of_the_code() -> None:
    text = (SOURCES / "src/cautions.ts").read_text(encoding="utf-8")
    assert re.findall(r'code: "(\w+)"', text) == list(CAUTIONS)


def test_the_build_is_whole_and_asks_no_other_server() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    for path in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert (STATIC / path).is_file(), path
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)
    outside = re.compile(r"""(?:fetch|import|importScripts|EventSource)\(\s*["'`]https?:""")
    for path in STATIC.rglob("*.js"):
        assert not outside.search(path.read_text(encoding="utf-8")), path
    assert "preact" in (STATIC / "LICENCES.txt").read_text(encoding="utf-8")

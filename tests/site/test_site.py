"""The documentation as a site: every link leads somewhere, nothing comes from another host, search finds."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


class Page(HTMLParser):
    """Names that a page can be entered by, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif "src" in found or (tag == "link" and "href" in found):
            self.loads.append(found.get("src") or found["href"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def target(site: Path, page: Path, address: str) -> Path:
    parts = urlsplit(address)
    if not parts.path:
        return page
    path = unquote(parts.path)
    found = site / path.lstrip("/") if path.startswith("/") else page.parent / path
    return (found / "index.html" if found.is_dir() else found).resolve()


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    by_path = {path.resolve(): page for path, page in pages.items()}
    broken = []
    for path, page in pages.items():
        for address in (*page.links, *page.loads):
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "mailto", "data") or parts.netloc:
                continue
            there = target(site, path, address)
            anchors = by_path[there].anchors if there in by_path else None
            if not there.is_file() or (parts.fragment and anchors and unquote(parts.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {address}")
    assert len(pages) > 40
    assert not broken


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    beyond = {a for page in pages.values() for a in page.loads if urlsplit(a).scheme or a.startswith("//")}
    assert not {address for address in beyond if not address.startswith("data:")}


def test_the_reference_has_every_public_name(pages: dict[Path, Page], site: Path) -> None:
    import ichor

    anchors = {a.rpartition(".")[2] for a in pages[site / "reference/python/index.html"].anchors}
    assert set(ichor.__all__) - {"__version__"} <= anchors


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=site.parent)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{site.name}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_reader_finds_a_page_by_searching_and_meets_no_other_host(
    browser: Any, site: Path, address: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})  # a phone
    page = context.new_page()
    page.set_default_timeout(120_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.get_by_role("link", name="Connect a PACS").first.wait_for()
    if os.environ.get("ICHOR_SITE"):  # as mike lays it out, with its versions
        page.locator(".md-version__link", has_text=site.name).first.wait_for(state="attached")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.locator("label[for=__search]").first.click()
    # The theme looks when a key is let go; what is put in without keys it may never see.
    page.locator("input.md-search__input").press_sequentially("gantry tilt")
    page.locator(".md-search-result__link").first.click()
    page.wait_for_url("**/?h=*")
    context.close()
    assert wide <= 0
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        urlsplit(address).netloc
    }

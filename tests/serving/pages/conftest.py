"""A reader's browser and a server; without Playwright or Chromium the tests of the page are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from serving.pages.looking import Looker
    from serving.served import Served


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Looker]]:
    """Open pages in profiles of their own; a test fails where one throws, or breaks its own content policy."""
    from serving.pages.looking import Looker

    opened: list[Looker] = []

    def start(url: str, *, renderer: str = "plain", **options: Any) -> Looker:
        options.setdefault("viewport", {"width": 1200, "height": 760})
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        context.add_init_script(f"localStorage.setItem('ichor.renderer', '{renderer}')")
        looker = Looker(context.new_page(), url)
        opened.append(looker)
        return looker

    yield start
    errors = [error for looker in opened for error in looker.errors]
    for looker in opened:
        looker.page.context.close()
    assert not errors


@pytest.fixture(scope="module")
def filled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a bleeding exam, one without, a refused input and a picture; tests leave its studies as they are."""
    from serving.pages.looking import filled
    from serving.served import Served

    served = Served(tmp_path_factory.mktemp("pages") / "state").start()
    filled(served)
    yield served
    served.stop()


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example as a folder of DICOM files."""
    import zipfile

    from ichor.cli.demo import demo_exam

    folder = tmp_path_factory.mktemp("demo") / "exam"
    with zipfile.ZipFile(demo_exam()) as archive:
        archive.extractall(folder)
    return folder

"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# What tests expect are the numbers of ONNX Runtime, also where OpenVINO is installed.
os.environ["ICHOR_ENGINE"] = "onnxruntime"

PASSED = os.environ.get("ICHOR_TESTS_PASSED")
"""A file of tests that passed: those in it are not run again, those that pass are added. CI runs the tests in
several environments, each with more packages; what passed without them needs no second run."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL 2 without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not PASSED or not Path(PASSED).exists():
        return
    passed = set(Path(PASSED).read_text(encoding="utf-8").splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if PASSED and report.when == "call" and report.passed:
        with Path(PASSED).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data; ``ICHOR_DATA``, or ``../shared/data`` beside the checkout."""
    root = Path(os.environ.get("ICHOR_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip("needs ../shared/data (not part of the repository)")
    return root


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, one for all tests: two cannot be driven at the same time."""
    found = os.environ.get("ICHOR_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("needs the extra 'test-serve' (Playwright)")
    if found is None:
        pytest.skip(f"needs Chromium (one of {', '.join(BROWSERS)}, or ICHOR_CHROMIUM)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()

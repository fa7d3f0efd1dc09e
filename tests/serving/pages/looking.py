"""What a person does on the page, and what one sees there."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.preparing.windows import WINDOWS
from serving.served import Served, done, exam, submit

FRAMES = (
    "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(r))))"
)


def picture_of(number: int = 0, *, margin: int = 0) -> bytes:
    """A slice of the simulated exam as a PNG in the brain window, on a grey border as a photograph has one."""
    import nibabel

    image = nibabel.Nifti1Image.from_bytes(exam(number))
    plane = np.asarray(image.dataobj)[:, :, 3].T
    if image.affine[0, 0] > 0:
        plane = plane[:, ::-1]
    if image.affine[1, 1] > 0:
        plane = plane[::-1]
    grey = np.pad(WINDOWS["brain"].to_grey(plane), margin, constant_values=40)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()


def warmth(pixels: NDArray[np.uint8]) -> float:
    """Share of the pixels that a heat map colours."""
    shown = pixels.astype(int)
    return float((shown[..., 0] - shown[..., 2] > 60).mean())


def filled(served: Served) -> None:
    """Put four studies on a server, named by what they are."""
    with served.client() as client:
        for name, file, content in (
            ("bleed", "a.nii", exam(0)),
            ("none", "b.nii", exam(1, bleed=False)),
            ("refused", "c.nii", b"this is no volume"),
            ("picture", "d.png", picture_of()),
        ):
            done(client, submit(client, (file, content), alias=name)["studies"][0]["id"])


class Looker:
    """A person at a page.

    Parameters
    ----------
    page
        Of Playwright.
    url
        Of the server.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.goto(url)

    def _heard(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    def open(self, name: str) -> None:
        """Open a study from the worklist by its name."""
        self.page.goto(f"{self.url}/#/")
        self.page.get_by_role("link", name=name, exact=True).click()
        self.page.get_by_role("heading", name=name).wait_for()

    def drawn(self) -> None:
        """Wait until the image is there, and still."""
        self.page.locator(".plane.main canvas[data-drawn]").first.wait_for()
        self.still()

    def still(self) -> None:
        self.page.evaluate(FRAMES)

    def pixels(self, axis: str = "axial", nth: int = 0) -> NDArray[np.uint8]:
        """``(rows, columns, 3)`` of the canvas of a plane."""
        self.still()
        data = self.page.locator(f".plane[data-axis={axis}] canvas").nth(nth).evaluate("c => c.toDataURL()")
        image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
        return np.asarray(image.convert("RGB"))

    def changed(
        self, before: NDArray[np.uint8], axis: str = "axial", *, share: float = 0.005
    ) -> NDArray[np.uint8]:
        """Wait until enough pixels of a plane differ; return how it looks then."""
        seen = 0.0
        for _ in range(150):
            now = self.pixels(axis)
            seen = float((np.abs(now.astype(int) - before).max(axis=2) > 8).mean())
            if seen >= share:
                return now
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{axis}: found {seen:.4f} of the pixels changed; expected {share}")

    def slice(self) -> int:
        """Number of the axial slice that is shown, from 1."""
        return int(
            self.page.locator(".plane[data-axis=axial] .slice-number").first.inner_text().split("/")[0]
        )

    def middle(self, axis: str = "axial") -> tuple[float, float]:
        box = self.page.locator(f".plane[data-axis={axis}]").first.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def state_of(self, name: str) -> str | None:
        """State of a row of the worklist, as the page has it."""
        row = self.page.locator("tr[data-state]", has=self.page.get_by_role("link", name=name, exact=True))
        return row.get_attribute("data-state") if row.count() else None

    def wait_states(
        self, n: int, states: tuple[str, ...] = ("ready", "refused"), seconds: float = 90
    ) -> None:
        """Wait, without a reload, until so many rows are in one of some states."""
        script = "([n, states]) => [...document.querySelectorAll('tr[data-state]')].filter(r => states.includes(r.dataset.state)).length >= n"
        self.page.wait_for_function(script, arg=[n, list(states)], timeout=1000 * seconds)

    def wide(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        )

"""Pictures of what is no head CT: drawn, heads in false greys as of MR, bodies of ellipses, and from files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ichor.preparing.windows import Window
from ichor.training.pictures.sources import HeadSlices

__all__ = ["OtherPictures", "load_pictures"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_LEAST_SIDE, _MOST_SIDE = 96, 640
_MOST_FILES = 600
_WINDOWS = ((40, 80), (40, 120), (40, 380), (50, 350), (-600, 1500), (400, 1800))


def load_pictures(folder: Path) -> list[NDArray[np.uint8]]:
    """Read the pictures below a folder, in grey and no larger than is needed."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)[:_MOST_FILES]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path) as image:
                    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
                    grey = np.asarray(image.convert("L"))
        except (OSError, ValueError, SyntaxError):
            continue  # a package's own broken test file
        if min(grey.shape) >= _LEAST_SIDE:
            found.append(grey)
    return found


class OtherPictures:
    """Draws pictures of what is no head CT.

    Parameters
    ----------
    heads
        Whose greys are falsified.
    bodies
        Planes in HU of other parts of the body, and of phantoms.
    pictures
        Grey pictures of anything else.
    """

    def __init__(
        self, heads: HeadSlices, bodies: Sequence[NDArray[np.int16]], pictures: Sequence[NDArray[np.uint8]]
    ) -> None:
        self._heads = heads
        self._wide = np.flatnonzero(heads.ranges[:, 1] - heads.ranges[:, 0] > 1500)
        self._bodies, self._pictures = bodies, pictures

    def draw(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return one picture ``(rows, columns)``."""
        kind = rng.random()
        if kind < 0.22:
            plane = self._as_magnetic(rng)
        elif kind < 0.45 and len(self._bodies):
            plane = self._body(rng)
        elif kind < 0.60:
            plane = _made_body(rng)
        elif kind < 0.82 and len(self._pictures):
            plane = self._pictures[int(rng.integers(len(self._pictures)))].astype(np.float32)
            plane = _part(plane, rng)
        elif kind < 0.92:
            plane = _shapes(rng)
        else:
            plane = _page(rng)
        return _worn(plane, rng)

    def _as_magnetic(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Give a head's tissues the greys of MR: bone and air dark, scalp bright, brain and fluid anything."""
        hu = self._heads.hu[int(rng.choice(self._wide))].astype(np.float32)
        if rng.random() < 0.6:
            hu = ndimage.gaussian_filter(hu, rng.uniform(0, 1.5))
        bone = rng.uniform(0, 40)
        fluid, grey, white = rng.permutation(
            [rng.uniform(20, 80), rng.uniform(90, 170), rng.uniform(120, 230)]
        )
        fat, skin, vessels = rng.uniform(120, 255), rng.uniform(60, 160), rng.uniform(60, 200)
        at = [-1000, -300, -100, -50, 5, 27, 42, 75, 160, 300, 2000]
        greys = [0, 5, fat, skin, fluid, white, grey, vessels, bone, bone, rng.uniform(0, 120)]
        plane = np.interp(hu, at, greys)
        plane = plane + rng.normal(0, rng.uniform(0, 14), plane.shape) * (plane > 3)
        field = ndimage.zoom(rng.uniform(0.6, 1.4, (3, 3)), np.array(plane.shape) / 3, order=1)
        return np.asarray(_part(plane * field, rng, least=0.7), np.float32)

    def _body(self, rng: np.random.Generator) -> NDArray[np.float32]:
        plane = self._bodies[int(rng.integers(len(self._bodies)))]
        level, width = _WINDOWS[int(rng.integers(len(_WINDOWS)))]
        shown = Window(level + rng.normal() * 5, width * np.exp(rng.normal() * 0.2)).apply(plane) * 255
        return _part(shown, rng, least=0.6) if rng.random() < 0.5 else shown


def _part(plane: NDArray[np.floating], rng: np.random.Generator, least: float = 0.35) -> NDArray[np.float32]:
    rows, columns = plane.shape
    high, wide = (max(64, round(n * rng.uniform(least, 1))) for n in (rows, columns))
    top, left = int(rng.integers(max(1, rows - high + 1))), int(rng.integers(max(1, columns - wide + 1)))
    return np.asarray(plane[top : top + high, left : left + wide], np.float32)


def _ellipse(side: int, rng: np.random.Generator, size: float, spread: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    at = rng.normal(size=2) * spread
    turn = rng.uniform(0, np.pi)
    y, x = rows - at[0], columns - at[1]
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.asarray((u / size) ** 2 + (v / (size * rng.uniform(0.4, 1))) ** 2 < 1)


def _made_body(rng: np.random.Generator) -> NDArray[np.float32]:
    """Make a cross-section of a trunk, a limb or a phantom: fat, muscle, organs, lungs, bones within."""
    side = int(rng.integers(120, 260))
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    wide, high = rng.uniform(0.6, 0.95), rng.uniform(0.45, 0.85)
    radius = np.sqrt((columns / wide) ** 2 + (rows / high) ** 2)
    hu = np.full((side, side), -1000.0)
    hu[radius < 1] = rng.normal(-95, 15)
    inner = radius < rng.uniform(0.7, 0.97)
    hu[inner] = rng.normal(50, 15)
    if rng.random() < 0.3:  # a phantom: one material, with inserts
        hu[radius < 1] = rng.normal(20, 40)
    for _ in range(int(rng.integers(1, 9))):
        organ = _ellipse(side, rng, rng.uniform(0.08, 0.45), 0.35) & inner
        hu[organ] = rng.choice([-850, -100, 0, 30, 60, 110, 200]) + rng.normal() * 10
    for _ in range(int(rng.integers(0, 10))):
        bone = _ellipse(side, rng, rng.uniform(0.02, 0.18), 0.5) & inner
        hu[bone] = rng.uniform(200, 1200)
    hu += ndimage.gaussian_filter(rng.normal(size=hu.shape), rng.uniform(0, 1.5)) * rng.uniform(0, 25)
    level, width = _WINDOWS[int(rng.integers(len(_WINDOWS)))]
    return np.asarray(Window(level, width).apply(ndimage.gaussian_filter(hu, rng.uniform(0.3, 1.2))) * 255)


def _shapes(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise, clouds, gradients, rings, wheels, stars, stripes, checks."""
    side = int(rng.integers(96, 260))
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(rows, columns * rng.uniform(0.8, 1.25))
    angle = np.arctan2(rows, columns)
    size = rng.uniform(0.4, 0.95)
    plane = np.where(radius < size, rng.uniform(40, 255), rng.uniform(0, 60))
    kind = int(rng.integers(7))
    if kind == 0:
        plane = np.where(
            (radius < size) & (radius > size * rng.uniform(0.6, 0.97)), rng.uniform(120, 255), plane
        )
    elif kind == 1:
        cloud = ndimage.gaussian_filter(rng.normal(size=(side, side)), rng.uniform(0.5, side / 10))
        plane = 128 + cloud / max(float(cloud.std()), 1e-6) * rng.uniform(20, 60)
    elif kind == 2:
        plane = 127 + 127 * (rows * rng.uniform(-1, 1) + columns * rng.uniform(-1, 1)) / 2
    elif kind == 3:
        plane = np.where(
            radius < size * (0.7 + 0.3 * np.cos(int(rng.integers(3, 12)) * angle)), plane.max(), 0
        )
    elif kind == 4:
        cell = int(rng.integers(6, 40))
        plane = 255.0 * ((np.arange(side) // cell % 2)[:, None] ^ (np.arange(side) // cell % 2)[None])
    elif kind == 5:
        ring = np.abs(radius - size * 0.85) < rng.uniform(0.02, 0.12)
        plane = np.where(
            ring, rng.uniform(150, 255), np.where(radius < size * 0.85, rng.uniform(20, 200), 8.0)
        )
        plane = plane + columns * rng.uniform(-40, 40)
    else:
        plane = plane * (1 - 0.5 * (np.sin(angle * int(rng.integers(3, 12))) > 0.3))
    return np.asarray(plane + rng.normal(0, rng.uniform(0, 8), plane.shape), np.float32)


def _page(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a page of text or a chart."""
    size = int(rng.integers(160, 420)), int(rng.integers(160, 420))
    ground = int(rng.choice([255, 240, 20, 0]))
    page = Image.new("L", size, ground)
    draw = ImageDraw.Draw(page)
    ink = 255 - ground
    if rng.random() < 0.5:
        step = int(rng.integers(9, 30))
        font = ImageFont.load_default(step - 2)
        for y in range(5, size[1], step):
            words = "".join(chr(97 + int(c)) if c < 26 else " " for c in rng.integers(0, 31, 60))
            draw.text((8, y), words, fill=ink, font=font)
    else:
        for x in range(20, size[0] - 20, int(rng.integers(15, 60))):
            high = int(rng.integers(5, size[1] - 20))
            draw.rectangle((x, size[1] - high, x + 12, size[1]), fill=int(rng.integers(0, 256)))
    return np.asarray(page, np.float32)


def _worn(plane: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror, turn and stretch greys, as a picture of anything may come."""
    if rng.random() < 0.5:
        plane = plane[:, ::-1]
    if rng.random() < 0.2:
        plane = np.rot90(plane, int(rng.integers(4)))
    if rng.random() < 0.15:
        plane = 255 - plane
    if rng.random() < 0.3:
        plane = (plane - rng.uniform(0, 60)) * rng.uniform(0.7, 1.8)
    return np.asarray(np.clip(plane, 0, 255), np.uint8)

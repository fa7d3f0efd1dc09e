"""A simulated camera: slices on a viewer's screen or on a film, photographed as with a phone.

Everything is drawn from the seed given, so that a photograph can be made again. Used by the tests, too. To look at
some::

    python -m benchmarks.shared.camera slice.png -o folder/
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

Corners = NDArray[np.float64]
"""``(4, 2)`` x, y of the corners: upper left, upper right, lower right, lower left."""


@dataclass(frozen=True)
class Strength:
    """How bad a photograph is: the most of each, of which a random part is taken.

    Attributes
    ----------
    tilt, turn
        Degrees between the camera's axis and the screen's normal, and about the camera's axis.
    cut_off
        Share of the screen's side that may lie outside the photograph.
    uneven
        Share of light lost from one side to the other.
    glare, glow
        Grey values added in the middle of a reflected lamp, and everywhere.
    moire
        Contrast of the screen's pixel grid.
    blur
        Standard deviation of the defocus in pixels of the photograph.
    noise
        Standard deviation in grey values.
    tint
        Gain of the strongest against the weakest of red, green and blue, less 1.
    quality
        Range of the JPEG's.
    """

    tilt: float
    turn: float
    cut_off: float
    uneven: float
    glare: float
    glow: float
    moire: float
    blur: float
    noise: float
    tint: float
    quality: tuple[int, int]


STRENGTHS = {
    "light": Strength(7, 3, 0.0, 0.10, 15, 8, 0.04, 0.7, 1.5, 0.06, (85, 90)),
    "medium": Strength(13, 6, 0.04, 0.22, 40, 18, 0.08, 1.2, 3.0, 0.12, (72, 85)),
    "strong": Strength(20, 10, 0.10, 0.35, 80, 30, 0.14, 2.0, 5.0, 0.20, (60, 72)),
}


@dataclass(frozen=True)
class Scene:
    """What is photographed: ``image`` ``(rows, columns, 3)`` uint8, and the corners of each slice in it."""

    image: NDArray[np.uint8]
    slices: tuple[Corners, ...]
    film: bool = False


@dataclass(frozen=True)
class Photograph:
    """A photograph.

    Attributes
    ----------
    image
        ``(rows, columns, 3)`` uint8, after JPEG.
    jpeg
        The file.
    matrix
        ``(3, 3)`` from x, y of the scene to x, y of the photograph, homogeneous, pixel centres at integers.
    screen
        Corners of the scene in the photograph; some may lie outside it.
    slices
        Corners of each slice in the photograph.
    """

    image: NDArray[np.uint8]
    jpeg: bytes
    matrix: NDArray[np.float64]
    screen: Corners
    slices: tuple[Corners, ...]


def rectangle(left: float, top: float, width: float, height: float) -> Corners:
    x, y = left - 0.5, top - 0.5
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


def _fitted(grey: NDArray[np.uint8], width: int, height: int) -> Image.Image:
    image = Image.fromarray(grey)
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: float, fill: tuple[int, int, int]
) -> None:
    draw.multiline_text(at, words, fill=fill, font=ImageFont.load_default(size))


def viewer(grey: NDArray[np.uint8], seed: int) -> Scene:
    """Show a slice in a dark viewer: bars, thumbnails, text in the corners, a scale, an arrow beside it."""
    rng = np.random.default_rng([seed, 1])
    width, height = ((1280, 800), (1440, 900), (1200, 900))[rng.integers(3)]
    ui = int(rng.integers(25, 65))
    page = Image.new("RGB", (width, height), (ui, ui + 2, ui + 6))
    draw = ImageDraw.Draw(page)
    top, left = int(rng.integers(30, 60)), int(rng.integers(0, 3)) * 70
    for k in range(int(rng.integers(6, 16))):
        x = 10 + k * 44
        draw.rectangle((x, 6, x + 32, top - 6), fill=(ui + 50,) * 3, outline=(ui + 90,) * 3)
    small = _fitted(grey, 110, 110)
    if left:
        for k in range(5):
            page.paste(small.convert("RGB"), (left // 2 - small.width // 2, top + 15 + k * 125))
    panel = (left, top, width, height - int(rng.integers(0, 30)))
    draw.rectangle(panel, fill=(0, 0, 0))
    share = rng.uniform(0.72, 0.96)
    picture = _fitted(grey, round((panel[2] - left) * share), round((panel[3] - top) * share))
    x = (panel[0] + panel[2] - picture.width) // 2 + int(rng.integers(-40, 41))
    y = (panel[1] + panel[3] - picture.height) // 2
    page.paste(picture.convert("RGB"), (x, y))
    ink = ((235, 235, 235), (250, 240, 80), (90, 230, 120))[rng.integers(3)]
    _text(draw, (left + 10, top + 8), "CT HEAD W/O\nSe: 2  Im: 14\n5.0 mm", 17, ink)
    _text(draw, (width - 150, top + 8), "ANONYMOUS\n512 x 512", 17, ink)
    _text(draw, (left + 10, panel[3] - 60), "W: 80  L: 40\nkV 120", 17, ink)
    ruler = width - 24
    draw.line((ruler, y + 100, ruler, y + 400), fill=ink, width=2)
    for k in range(11):
        draw.line((ruler - (12 if k % 5 == 0 else 6), y + 100 + 30 * k, ruler, y + 100 + 30 * k), fill=ink)
    if rng.random() < 0.5:  # pointing at the head from beside it, whether or not anything is there
        at = y + picture.height * rng.uniform(0.25, 0.75)
        tip = x - 8
        colour = ((255, 40, 30), (255, 230, 40), (255, 255, 255))[rng.integers(3)]
        draw.line((tip - 70, at, tip - 12, at), fill=colour, width=6)
        draw.polygon([(tip, at), (tip - 20, at - 12), (tip - 20, at + 12)], fill=colour)
    return Scene(np.asarray(page), (rectangle(x, y, picture.width, picture.height),))


def film(greys: list[NDArray[np.uint8]], seed: int, *, columns: int = 1) -> Scene:
    """Print slices on a film: rows of them on black, with a line of text, numbered."""
    rng = np.random.default_rng([seed, 2])
    rows = -(-len(greys) // columns)
    cell = (round(760 / columns), round(760 / columns * 1.15)) if columns > 1 else (720, 820)
    gap = round(cell[0] * rng.uniform(0.04, 0.09))
    width = columns * cell[0] + (columns + 1) * gap
    height = rows * cell[1] + (rows + 1) * gap + 50
    page = Image.new("RGB", (width, height), (6, 8, 12))
    draw = ImageDraw.Draw(page)
    _text(draw, (14, 10), "CT BRAIN PLAIN    W 80 L 40    5 mm    120 kV", 18, (205, 210, 220))
    slices = []
    for k, grey in enumerate(greys):
        picture = _fitted(grey, *cell)
        x = gap + (k % columns) * (cell[0] + gap) + (cell[0] - picture.width) // 2
        y = 50 + gap + (k // columns) * (cell[1] + gap) + (cell[1] - picture.height) // 2
        page.paste(picture.convert("RGB"), (x, y))
        corner = (gap + (k % columns) * (cell[0] + gap), 50 + gap + (k // columns) * (cell[1] + gap) - 16)
        _text(draw, corner, str(k + 1), 14, (200, 205, 215))
        slices.append(rectangle(x, y, picture.width, picture.height))
    return Scene(np.asarray(page), tuple(slices), film=True)


def homography(source: Corners, target: Corners) -> NDArray[np.float64]:
    """``(3, 3)`` matrix that carries four points x, y to four others."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1.0).reshape(3, 3)


def carried(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points ``(n, 2)`` through a matrix."""
    out = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(out[:, :2] / out[:, 2:])


def _signed(rng: np.random.Generator, most: float) -> float:
    """Draw a size from the upper half of what is allowed, of either sign: strengths must not overlap much."""
    return float(rng.uniform(0.5, 1.0) * most * rng.choice((-1, 1)))


def photograph(
    scene: Scene, strength: Strength, seed: int, *, size: tuple[int, int] = (1280, 960)
) -> Photograph:
    """Photograph a scene: on a desk or before a wall (a screen), on a light box (a film).

    Parameters
    ----------
    scene
        What is shown.
    strength
        One of :data:`STRENGTHS`.
    seed
        The same seed gives the same photograph.
    size
        Columns and rows of the photograph.
    """
    rng = np.random.default_rng([seed, 3])
    width, height = size
    rows, columns = scene.image.shape[:2]
    if rows > columns:
        width, height = height, width
    screen = rectangle(0, 0, columns, rows)
    # The screen about its middle, its longer side 1, turned in space. A phone's own lens fills its picture from
    # a distance of about that side; twice as far, it is a telephoto lens, or the picture was cut.
    plane = (screen - [(columns - 1) / 2, (rows - 1) / 2]) / max(columns, rows)
    axis, tilt = rng.uniform(0, 2 * np.pi), np.radians(abs(_signed(rng, strength.tilt)))
    k = np.array([np.cos(axis), np.sin(axis), 0])
    cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    space = np.eye(3) + np.sin(tilt) * cross + (1 - np.cos(tilt)) * cross @ cross
    turn = np.radians(_signed(rng, strength.turn))
    about = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    seen = np.c_[plane, np.zeros(4)] @ (about @ space).T + [0, 0, rng.uniform(0.9, 2.0)]
    flat = seen[:, :2] / seen[:, 2:]
    extent = np.ptp(flat, axis=0)
    share = rng.uniform(0.84, 0.93) if strength.cut_off == 0 else rng.uniform(0.88, 1.0 + strength.cut_off)
    scale = min(width * share / extent[0], height * share / extent[1])
    middle = np.array([(width - 1) / 2, (height - 1) / 2]) + rng.uniform(-0.02, 0.02, 2) * [width, height]
    corners = (flat - (flat.min(0) + flat.max(0)) / 2) * scale + middle
    matrix = homography(screen, corners)

    light = _surroundings(rng, width, height, film=scene.film)
    seen = _warped(scene.image, matrix, width, height)
    if not scene.film:
        bezel = _warped(_bezel(scene.image.shape), matrix @ _shift(-28), width, height)
        light += bezel[..., 3:] * (bezel[..., :3] - light)
        seen[..., :3] *= 1 + np.float32(strength.moire * rng.uniform(0.25, 0.5)) * _stripes(
            matrix, width, height
        )
    light += seen[..., 3:] * (seen[..., :3] - light)

    i, j = np.mgrid[:height, :width].astype(np.float32)
    way = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(way) * (j / width - 0.5) + np.sin(way) * (i / height - 0.5)) * strength.uneven
    light *= ((1 + slope) * (1 - 0.5 * strength.uneven)).astype(np.float32)[..., None]
    at = corners.mean(0) + rng.uniform(-0.35, 0.35, 2) * np.ptp(corners, axis=0)
    wide = rng.uniform(0.08, 0.2) * width
    spot = np.exp(-((j - at[0]) ** 2 + (i - at[1]) ** 2) / (2 * wide**2))
    glow = strength.glow * rng.uniform(0.5, 1) * (1 - 0.4 * slope / max(strength.uneven, 1e-3))
    light += (glow + strength.glare * rng.uniform(0.5, 1) * spot).astype(np.float32)[..., None]
    light *= (
        1 + np.array([0.0, -0.5, -1.0])[rng.permutation(3)] * strength.tint * rng.uniform(0.5, 1)
    ).astype(np.float32)
    light = ndimage.gaussian_filter(light, (strength.blur * rng.uniform(0.5, 1),) * 2 + (0,), truncate=3)
    light += strength.noise * rng.uniform(0.5, 1) * rng.standard_normal(light.shape, np.float32)
    out = io.BytesIO()
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(
        out, "JPEG", quality=int(rng.integers(*strength.quality))
    )
    with Image.open(out) as image:
        pixels = np.asarray(image)
    slices = tuple(carried(matrix, s) for s in scene.slices)
    return Photograph(pixels, out.getvalue(), matrix, corners, slices)


def _shift(by: float) -> NDArray[np.float64]:
    return np.array([[1, 0, by], [0, 1, by], [0, 0, 1]], float)


def _bezel(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.full((shape[0] + 56, shape[1] + 56, 3), 18, np.uint8)


def _warped(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], width: int, height: int
) -> NDArray[np.float32]:
    """Image in the photograph, and its share of each pixel as the fourth channel."""
    half = _shift(0.5)  # Pillow counts from the corner of a pixel, not from its centre
    back = half @ np.linalg.inv(matrix) @ np.linalg.inv(half)
    back /= back[2, 2]
    # Where the photograph is the coarser of the two, a pixel of it sees several of the scene.
    step = max(1.0, float(np.sqrt(abs(np.linalg.det(back[:2, :2])))))
    soft = Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.45 * step))
    soft.putalpha(255)
    seen = soft.transform(
        (width, height), Image.Transform.PERSPECTIVE, tuple(back.ravel()[:8]), Image.Resampling.BILINEAR
    )
    out = np.asarray(seen, np.float32)
    out[..., 3] /= 255
    return out


def _stripes(matrix: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """Pixel grid of the screen, three stripes a pixel: what sampling makes of it is the moire."""
    back = np.linalg.inv(matrix)
    i, j = np.mgrid[:height, :width].astype(np.float32)
    w = back[2, 0] * j + back[2, 1] * i + back[2, 2]
    x, y = (2 * np.pi * (back[a, 0] * j + back[a, 1] * i + back[a, 2]) / w for a in (0, 1))
    down = np.sin(y)
    return np.stack([np.sin(x + 2 * np.pi * c / 3) + down for c in range(3)], -1).astype(np.float32)


def _rough(
    rng: np.random.Generator, width: int, height: int, across: float, down: float
) -> NDArray[np.float32]:
    """Noise that changes over so many pixels across and down; standard deviation 1."""
    size = (max(2, round(height / down)), max(2, round(width / across)))
    image = Image.fromarray(rng.standard_normal(size, np.float32))
    out = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(out / out.std())


def _surroundings(rng: np.random.Generator, width: int, height: int, *, film: bool) -> NDArray[np.float32]:
    """Wood, a wall, or a light box."""
    kind = "box" if film else ("wood", "wall")[rng.integers(2)]
    rough = _rough(rng, width, height, 3, 3)[..., None]
    if kind == "box":
        return np.asarray(np.array([232, 236, 240], np.float32) + rough)
    if kind == "wall":
        colour = np.array(((196, 192, 182), (150, 160, 170), (120, 116, 110))[rng.integers(3)], np.float32)
        return np.asarray(colour * (1 + 0.02 * rough))
    rows = np.arange(height, dtype=np.float32)[:, None]
    rings = np.sin(2 * np.pi * (rows / 55 + 2 * _rough(rng, width, height, 250, 12)))[..., None]
    colour = np.array(((150, 105, 62), (105, 68, 40), (185, 150, 105))[rng.integers(3)], np.float32)
    return np.asarray(colour * (1 + 0.10 * rings + 0.03 * rough))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slices", nargs="+", type=Path, help="pictures of slices")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed, path in enumerate(arguments.slices):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
        for name, strength in STRENGTHS.items():
            for scene in (viewer(grey, seed), film([grey], seed)):
                kind = "film" if scene.film else "viewer"
                taken = photograph(scene, strength, seed)
                (arguments.output / f"{path.stem}-{kind}-{name}.jpg").write_bytes(taken.jpeg)


if __name__ == "__main__":
    main()

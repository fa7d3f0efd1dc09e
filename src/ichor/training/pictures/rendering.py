"""From a slice in HU to a picture as someone may give it: in any window and frame, of any scanner, and altered."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from ichor.detecting.picture_estimate import BRAIN_HU
from ichor.preparing.windows import Window
from ichor.training.pictures.sources import WHOLE_RANGE_HU

__all__ = ["Rendered", "render"]

_COMMON = (
    *((40, 80), (35, 80), (40, 120), (40, 100), (50, 150), (30, 60), (35, 40), (40, 40), (32, 8), (30, 20)),
    *((80, 200), (75, 215), (50, 250), (60, 160), (100, 200), (60, 300), (40, 300), (100, 300)),
    *((40, 380), (50, 350), (40, 400), (500, 2000), (400, 1800), (700, 3200), (300, 1500), (40, 1000)),
)
"""Level and width as viewers offer them."""
_ENDS = 0.012
"""Share of a clipped source's range at either end that JPEG spoils."""


@dataclass(frozen=True)
class Rendered:
    """A picture and the truth about it.

    Attributes
    ----------
    grey
        ``(rows, columns)`` uint8.
    log_width
        Natural logarithm of the width over 80 HU.
    place
        Where brain's HU lies between black (0) and white (1); may lie beyond.
    linear
        Whether greys are HU through a window at all.
    """

    grey: NDArray[np.uint8]
    log_width: float
    place: float
    linear: bool


def render(
    hu: NDArray[np.int16], clipped: tuple[float, float], rng: np.random.Generator, *, known: bool
) -> Rendered:
    """Render a slice as a random picture.

    Parameters
    ----------
    hu
        ``(rows, columns)`` HU, the head in the middle.
    clipped
        HU below and above which the source is clipped.
    rng
        Draws everything.
    known
        Whether its HU are known; where not, it is shown in its own window, and nothing is said of that.
    """
    low, high = clipped
    plane = _framed(hu, rng)
    native = not known or (high - low < WHOLE_RANGE_HU and rng.random() < 0.4)
    if native:
        window = Window((low + high) / 2, high - low)
    else:
        window = _random_window(rng)
        if high - low < WHOLE_RANGE_HU:
            if rng.random() < 0.6:
                window = _window_within(low, high, rng)
            plane = _beyond_clip(plane, low, high, rng)
        plane = _other_scanner(plane, rng)
    grey = window.apply(plane) * 255
    linear = known
    place, width = (BRAIN_HU - window.low) / window.width, window.width
    if rng.random() < 0.12:
        base, gain = rng.uniform(0, 45), rng.uniform(0.6, 1.0)  # a pale print
        grey, place, width = base + grey * gain, place * gain + base / 255, width / gain
    if rng.random() < 0.14:
        grey, linear = _not_linear(grey, rng), False
    saved = _as_saved(np.clip(grey, 0, 255), rng)
    return Rendered(saved, float(np.log(width / 80)), float(place), linear)


def _random_window(rng: np.random.Generator) -> Window:
    if rng.random() < 0.5:
        level, common = _COMMON[int(rng.integers(len(_COMMON)))]
        width = common * float(np.exp(rng.normal() * 0.06))
        return Window(level + rng.normal() * (1 + 0.02 * width), width)
    width = float(np.exp(rng.uniform(np.log(25), np.log(700))))
    return Window(BRAIN_HU + rng.normal() * (6 + width * 0.12), width)


def _window_within(low: float, high: float, rng: np.random.Generator) -> Window:
    """Draw a window that shows little of what the source clipped."""
    width = float(np.exp(rng.uniform(np.log(20), np.log(1.05 * (high - low)))))
    room = max(1.0, high - low - width)
    return Window(
        np.clip(BRAIN_HU + rng.normal() * 0.3 * width, low + width / 2, low + width / 2 + room), width
    )


def _framed(hu: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.float32]:
    """Turn, mirror and cut a slice to a frame of its own: close around the head, wide, or within it."""
    side = hu.shape[0]
    darkest = float(hu.min())
    image = Image.fromarray(hu.astype(np.float32))
    if rng.random() < 0.7:
        turn = float(rng.normal() * (8 if rng.random() < 0.9 else 60))
        image = image.rotate(turn, Image.Resampling.BILINEAR, fillcolor=darkest)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.06:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    margin = rng.uniform(-0.06, 0.10) if rng.random() < 0.7 else rng.uniform(-0.25, 0.45)
    half = side / 1.5 * (0.5 + margin) * rng.uniform(0.9, 1.12, 2)
    at = side / 2 + rng.normal(size=2) * side * 0.02
    pad = side // 2
    padded = Image.fromarray(np.pad(np.asarray(image), pad, constant_values=darkest))
    box = (at[0] - half[0] + pad, at[1] - half[1] + pad, at[0] + half[0] + pad, at[1] + half[1] + pad)
    size = float(rng.uniform(110, 240)) / side
    shape = tuple(max(64, round(float(2 * h * size))) for h in half)
    return np.array(padded.resize((shape[0], shape[1]), Image.Resampling.BILINEAR, box=box))


def _beyond_clip(
    plane: NDArray[np.float32], low: float, high: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put air, fat and bone where a narrow source shows only black and white."""
    ends = _ENDS * (high - low)
    dark, bright = plane <= low + ends, plane >= high - ends
    plane = plane.copy()
    if low > -500:
        near_bone = ndimage.binary_dilation(bright, iterations=max(2, plane.shape[0] // 30))
        fat = dark & near_bone
        head = ndimage.binary_fill_holes(~dark | fat)
        plane[dark] = -1000
        plane[fat] = rng.normal(-95, 15)
        fluid = dark & head & ~fat
        plane[fluid] = min(low, float(rng.normal(-5, 4)))
    if high < 1500:
        depth = ndimage.distance_transform_edt(bright)[bright]
        plane[bright] = high + np.clip(depth * rng.uniform(30, 200), 0, 1500)
    return plane


def _other_scanner(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary what differs between scanners and patients: noise, sharpness, cupping, the HU of brain, its contrast."""
    air = plane < -300
    if rng.random() < 0.5:
        soft = (plane > 0) & (plane < 75)
        plane[soft] = BRAIN_HU + (plane[soft] - BRAIN_HU) * rng.uniform(0.75, 1.3)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.5, 1.5)
        blurred = ndimage.gaussian_filter(plane, sigma)
        plane = (
            blurred if rng.random() < 0.6 else plane + (plane - blurred) * np.float32(rng.uniform(0.3, 1.2))
        )
    if rng.random() < 0.6:
        noise = ndimage.gaussian_filter(rng.standard_normal(plane.shape, np.float32), rng.uniform(0, 1.2))
        noise *= rng.uniform(0, 12) / max(float(noise.std()), 1e-3)
        plane = plane + np.where(air, 0.3 * noise, noise)
    if rng.random() < 0.3:
        rows, columns = np.mgrid[-1 : 1 : plane.shape[0] * 1j, -1 : 1 : plane.shape[1] * 1j]
        plane = plane + np.where(air, 0, (rows**2 + columns**2 - 0.4) * rng.normal() * 3)
    if rng.random() < 0.4:
        plane = plane + np.where(air, 0, rng.normal() * 1.5)
    return np.asarray(plane, np.float32)


def _not_linear(grey: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Give greys that no window gives: inverted, gamma, equalised, a curve."""
    kind, unit = rng.integers(5), np.clip(grey / 255, 0, 1)
    if kind == 0:
        return np.asarray(255 - grey, np.float32)
    if kind in (1, 2):
        power = rng.uniform(1.5, 2.6)
        return np.asarray(255 * unit ** (power if kind == 1 else 1 / power), np.float32)
    if kind == 3:
        counts = np.bincount((unit.ravel() * 255).astype(int), minlength=256)
        counts[0] = min(int(counts[0]), int(counts[1:].max(initial=1)))
        levels = np.cumsum(counts) / max(1, counts.sum())
        return np.asarray(255 * levels[(unit * 255).astype(int)], np.float32)
    steep = rng.uniform(6, 12)
    return np.asarray(255 / (1 + np.exp(-steep * (unit - rng.uniform(0.35, 0.65)))), np.float32)


def _as_saved(grey: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Burn in letters and marks, add borders, compress, round."""
    rows, columns = grey.shape
    image = Image.fromarray(np.rint(grey).astype(np.uint8))
    if rng.random() < 0.25:
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(1, 6))):
            at = (float(rng.uniform(0, 0.9) * columns), float(rng.choice([0.02, 0.9, 0.5]) * rows))
            draw.text(at, "R512 L"[: int(rng.integers(1, 6))], fill=int(rng.integers(150, 256)))
    if rng.random() < 0.08:
        edge = int(rng.integers(2, max(3, rows // 8)))
        framed = Image.new("L", (columns + 2 * edge, rows + 2 * edge), int(rng.choice([0, 30, 128, 255])))
        framed.paste(image, (edge, edge))
        image = framed
    if rng.random() < 0.5:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=int(rng.integers(45, 96)))
        image = Image.open(content)
    return np.asarray(image.convert("L"))

"""From the template to an exam: the vertex closed, sharpened, bled into, and noisy as a scan is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["add_bleed", "add_noise", "close_vertex", "sharpen"]

AIR_HU, SCALP_HU, BRAIN_HU, SKULL_HU = -1000.0, 5.0, 36.0, 900.0
_LOBES = (
    ((0, 1, 0), (13, 15, 9.5)),
    ((3, 13, 2.5), (10, 10, 7.5)),
    ((-2, -11, 1), (9, 9, 7)),
    ((7, -3, 4), (10, 8, 6)),
)
"""Ellipsoids that make the bleed: centres and half axes, mm up, back, left."""
_DIRECTIONS = 360
_PARTS, _DOME_PARTS = 5, 20
"""A slice is as thick as its step: its value is the mean of this many levels within it."""


def close_vertex(volume: NDArray[np.float32], slices: int) -> NDArray[np.float32]:
    """Close the skull above what was scanned, as a dome.

    The exams end below the vertex. The squared radii of skin, outer and inner table, in every direction about
    the middle of the last good slice, go on with height as over the last four: those of a dome do so evenly.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU; the first slice of the upper half with a NaN in the head, and all
        above it, are made anew.
    slices
        How many slices to return.
    """
    upper = range(len(volume) // 2, len(volume))
    good = next((k for k in upper if unknown(volume[k], volume[k - 1])), len(volume))
    base = np.nan_to_num(volume[:good], nan=AIR_HU)
    known = np.arange(good - 4, good)
    inner = np.stack([inner_table(base[k]) for k in known])
    row, column = ndimage.center_of_mass(inner[-1])
    outlines = {"skin": np.stack([ndimage.binary_fill_holes(base[k] > -300) for k in known])}
    outlines["skull"] = np.stack([ndimage.binary_fill_holes(base[k] > 250) for k in known])
    outlines["inner"] = inner
    fits = {name: dome(masks, (row, column)) for name, masks in outlines.items()}
    rows, columns = np.indices(base.shape[1:])
    radius = np.hypot(rows - row, columns - column)
    turn = (np.degrees(np.arctan2(rows - row, columns - column)) % 360).astype(int) % _DIRECTIONS
    planes = []
    for k in range(good, slices):
        levels = k - good + 1 + (np.arange(_DOME_PARTS) + 0.5) / _DOME_PARTS - 0.5
        planes.append(np.mean([level(fits, above, radius, turn) for above in levels], axis=0))
    if not planes:
        return base[:slices]
    made = ndimage.gaussian_filter(np.stack(planes), (0, 1.2, 1.2))
    return np.concatenate([base, made]).astype(np.float32)


def unknown(plane: NDArray[np.float32], below: NDArray[np.float32]) -> bool:
    """Tell whether a slice is unknown where the slice below shows the inside of the head."""
    head = ndimage.binary_erosion(np.nan_to_num(below, nan=AIR_HU) > -300, iterations=12)
    return bool(np.isnan(plane[head]).mean() > 0.02)


def inner_table(plane: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find what lies within the skull."""
    bone = plane > 150
    return np.asarray(ndimage.binary_opening(ndimage.binary_fill_holes(bone) & ~bone, np.ones((5, 5))))


def dome(
    masks: NDArray[np.bool_], centre: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared radius of an outline in each direction: in the last slice, and its growth."""
    angles = np.radians(np.arange(_DIRECTIONS) + 0.5)
    reach = np.arange(0, 256, 0.5)
    at = [centre[0] + np.sin(angles)[:, None] * reach, centre[1] + np.cos(angles)[:, None] * reach]
    rays = [ndimage.map_coordinates(mask.astype(np.float32), at, order=1) for mask in masks]
    radii = [ray.round().sum(axis=1) * 0.5 for ray in rays]
    squares = np.stack([ndimage.gaussian_filter1d(r, 8, mode="wrap") ** 2 for r in radii])
    growth = np.polyfit(np.arange(len(masks)), squares, 1)[0]
    # What happens in one direction must happen in its neighbours too, or the dome gets petals.
    growth, size = (ndimage.gaussian_filter1d(a, 50, mode="wrap") for a in (growth, squares[-1]))
    return squares[-1], squares[-1] * growth / size


def level(
    fits: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    above: float,
    radius: NDArray[np.float64],
    turn: NDArray[np.intp],
) -> NDArray[np.float64]:
    """One level of the dome, so many slices above the last known: brain, skull, scalp, air."""
    inside = {name: radius**2 < (last + growth * above)[turn] for name, (last, growth) in fits.items()}
    return np.select(
        [inside["inner"], inside["skull"], inside["skin"]], [BRAIN_HU, SKULL_HU, SCALP_HU], AIR_HU
    )


def sharpen(volume: NDArray[np.float32], first_oblique: int) -> NDArray[np.float32]:
    """Undo some of the blur of averaging, in soft tissue only; even out what averaging tore.

    From slice ``first_oblique`` on the skull runs obliquely through the slices. There each exam's inner table
    lies elsewhere, and their mean has bright shreds, which no scan has: the thickness of a slice blurs them.
    """
    soft = ((volume > -10) & (volume < 75)).astype(np.float32)
    blurred = ndimage.gaussian_filter(volume * soft, (0, 1.8, 1.8))
    blurred /= np.maximum(ndimage.gaussian_filter(soft, (0, 1.8, 1.8)), 1e-3)
    out = volume + 0.8 * soft * (volume - blurred)
    for k in range(first_oblique, len(volume)):
        bone = ndimage.binary_opening(volume[k] > 200, np.ones((5, 5)))
        distance = ndimage.distance_transform_edt(~bone)
        band = np.clip(2 - distance / 20, 0, 1) * ~bone * ndimage.binary_fill_holes(bone)
        excess = np.clip(out[k] - 46, 0, 250)
        even = np.minimum(ndimage.gaussian_filter(excess, 3.5), 220 * np.exp(-distance / 12))
        out[k] += band * (even - excess)
    return np.asarray(np.clip(out, AIR_HU, 2000), np.float32)


def add_bleed(
    volume: NDArray[np.float32],
    centre: tuple[float, float, float],
    millilitres: float,
    spacing: tuple[float, float, float],
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put a lobulated hematoma of known volume into the brain, with oedema and a little mass effect.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.
    centre
        Slice, row, column.
    millilitres
        Volume of the bleed.
    spacing
        mm between slices, rows, columns.
    seed
        Of its outline.

    Returns
    -------
    volume
        The same, bled into.
    share
        ``(n, rows, columns)`` how much of each voxel is blood, 0 to 1.
    """
    rng = np.random.default_rng(seed)
    reach = [60 / s for s in spacing]
    box = tuple(slice(max(0, int(c - r)), int(c + r) + 1) for c, r in zip(centre, reach, strict=True))
    within = volume[box]
    z, y, x = (c - b.start for c, b in zip(centre, box, strict=True))
    distance = signed_distance(within.shape, (z, y, x), spacing, rng)
    voxel_ml = float(np.prod(spacing)) / 1000
    low, high = -10.0, 10.0
    for _ in range(18):
        middle = (low + high) / 2
        share = blood_share(distance, middle)
        low, high = (middle, high) if share.sum() * voxel_ml < millilitres else (low, middle)
    outside = distance.mean(axis=1) - middle
    pushed = push(within, outside, (z, y, x), spacing)
    width = np.clip(5.5 + 1.8 * texture(within.shape, rng, (0.8, 9, 9)), 2, 10)
    oedema = np.clip(1 - np.maximum(outside, 0) / width, 0, 1)
    oedema *= 0.9 * ((pushed > 18) & (pushed < 60))
    swollen = pushed + ndimage.gaussian_filter(oedema, (0.2, 2, 2)) * (20.0 - pushed)
    blood = 63 + 4 * texture(within.shape, rng, (0.6, 6, 6)) + 4 * np.clip(-outside / 8, 0, 1)
    out, shares = volume.copy(), np.zeros(volume.shape, np.float32)
    out[box], shares[box] = swollen + share * (blood - swollen), share
    return out, shares


def texture(
    shape: tuple[int, ...], rng: np.random.Generator, width: tuple[float, ...]
) -> NDArray[np.float64]:
    """Make smooth random values, mean 0, standard deviation 1."""
    values = ndimage.gaussian_filter(rng.normal(size=shape), width)
    return np.asarray((values - values.mean()) / values.std())


def signed_distance(
    shape: tuple[int, ...],
    centre: tuple[float, float, float],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Tell how many mm, about, a point lies outside the bleed: ``(n, _PARTS, rows, columns)``."""
    n, rows, columns = shape
    z = ((np.arange(n * _PARTS) + 0.5) / _PARTS - 0.5 - centre[0]) * spacing[0]
    y, x = (np.arange(rows) - centre[1]) * spacing[1], (np.arange(columns) - centre[2]) * spacing[2]
    fields = []
    for (cz, cy, cx), (rz, ry, rx) in _LOBES:
        squared = ((z - cz) / rz)[:, None, None] ** 2 + ((y - cy) / ry)[:, None] ** 2 + ((x - cx) / rx) ** 2
        fields.append((np.sqrt(squared.astype(np.float32)) - 1) * np.cbrt(rz * ry * rx))
    soft_minimum = -2.0 * np.log(sum(np.exp(-np.minimum(f, 60) / 2.0) for f in fields))
    coarse = texture((-(-n * _PARTS // 2), -(-rows // 8), -(-columns // 8)), rng, (1.5, 1.2, 1.2))
    rough = ndimage.zoom(coarse, (2, 8, 8), order=1)
    rough = rough[: n * _PARTS, :rows, :columns]
    return np.asarray(soft_minimum + 2.0 * rough, np.float32).reshape(n, _PARTS, rows, columns)


def blood_share(distance: NDArray[np.float32], surface: float) -> NDArray[np.float32]:
    """Return the share of blood in each voxel; the edge is 1 mm wide, a slice the mean of its levels."""
    return np.asarray(np.clip(0.5 - (distance - surface) / 1.0, 0, 1).mean(axis=1), dtype=np.float32)


def push(
    volume: NDArray[np.float32],
    outside: NDArray[np.float32],
    centre: tuple[float, float, float],
    spacing: tuple[float, float, float],
    mm: float = 4.0,
) -> NDArray[np.float32]:
    """Move the brain away from the bleed within each slice, the most at its edge, not at all beside bone."""
    out = volume.copy()
    for k in np.flatnonzero((outside < 30).any(axis=(1, 2))):
        bone = ndimage.binary_opening(volume[k] > 150, np.ones((3, 3)))
        if not bone.any():
            continue
        free = np.clip(ndimage.distance_transform_edt(~bone) * spacing[1] / 14 - 0.2, 0, 1)
        near = np.exp(-np.maximum(outside[k], 0) / 14) * ndimage.gaussian_filter(free, 4)
        rows, columns = np.indices(volume.shape[1:])
        down, right = rows - centre[1], columns - centre[2]
        length = np.maximum(np.hypot(down, right), 12)
        shift = near * mm / spacing[1]
        at = [rows - shift * down / length, columns - shift * right / length]
        out[k] = ndimage.map_coordinates(volume[k], at, order=1)
    return out


def add_noise(volume: NDArray[np.float32], hu: float, seed: int) -> NDArray[np.int16]:
    """Add the grain of a smooth kernel at 5 mm; more where more of the head is in the way.

    Air outside stays even, as scanners leave it beyond the circle they reconstruct: so the exam packs well.
    """
    rng = np.random.default_rng(seed)
    white = rng.normal(size=volume.shape)
    grain = ndimage.gaussian_filter(white, (0, 0.75, 0.75))
    grain -= 0.7 * ndimage.gaussian_filter(white, (0, 2.2, 2.2))
    grain /= grain.std()
    bone = ndimage.gaussian_filter((volume > 300).astype(np.float32), (0, 60, 60))
    amount = hu * np.clip(0.85 + 1.2 * bone, 0.85, 1.35)
    body = ndimage.binary_dilation(volume > -950, np.ones((1, 3, 3)), iterations=2)
    noisy = np.clip(np.where(body, volume + amount * grain, AIR_HU), -1024, 2500)
    return np.asarray(np.rint(noisy), np.int16)

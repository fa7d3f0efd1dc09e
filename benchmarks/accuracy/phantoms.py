"""How far off are volumes? Heads with bleeds of exactly known volume, in many geometries; prints a table.

Usage: python -m benchmarks.accuracy.phantoms [--detect] [--bundle NAME|PATH] [--every N]

Without ``--detect`` a perfect map is given (the true region at the map's own resolution), and what is measured
is the way from a map to millilitres; the bound is the error of the best mask that these slices allow (voxels at
least half blood). With ``--detect`` the whole of ``ichor.detect`` is measured, as it ships.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.detecting import detect, load_bundle
from ichor.detecting.localise import localise
from ichor.exam import Exam, Geometry, Source
from ichor.preparing import GridTransform, plan_grid

BRAIN, BLOOD, BONE, SCALP, FLUID, AIR = 35.0, 65.0, 900.0, 20.0, 6.0, -1000.0
INNER = np.array([66.0, 84.0, 74.0])
"""Half axes of the space within the skull, mm."""
SKULL_MM, SCALP_MM = 7.0, 5.0
SHAPES = ("ellipsoid", "lens", "crescent")
VOLUMES_ML = (1.0, 5.0, 20.0, 60.0)
HEIGHT_MM = 150.0
SUB = 4
"""Points a voxel is sampled at, along each in-plane axis; across the slice one every 0.4 mm, at least 2."""
Floats = NDArray[np.floating]
Inside = Callable[[Floats], NDArray[np.bool_]]


@dataclass(frozen=True)
class Layout:
    """How a series lies: gaps between slices (each as thick as its gap), pixel, tilt in degrees."""

    name: str
    gaps: tuple[float, ...]
    pixel: float
    tilt: float = 0.0
    sheared: bool = True

    @property
    def title(self) -> str:
        """Return it in words."""
        how = "gantry" if self.sheared else "normal"
        return f"{self.name}, {self.pixel} mm pixels, " + (
            f"{how} {self.tilt:g}°" if self.tilt else "no tilt"
        )


def layouts() -> list[Layout]:
    even = {f"{step:g} mm": (step,) * round(HEIGHT_MM / step) for step in (0.6, 1.25, 2.5, 5.0)}
    gaps = {**even, "4 and 7 mm": (4.0,) * 18 + (7.0,) * 12}
    pixels = {"0.6 mm": 0.5, "1.25 mm": 0.4, "2.5 mm": 0.6, "5 mm": 0.45, "4 and 7 mm": 0.5}
    tilts = [(0.0, True), (10.0, True), (20.0, True), (10.0, False), (20.0, False)]
    every = itertools.product(gaps, tilts)
    return [Layout(name, gaps[name], pixels[name], tilt, how) for name, (tilt, how) in every]


def bleed(shape: str, ml: float) -> Inside:
    """Return the test whether points ``(..., 3)`` lie in a bleed whose volume is ``ml``."""
    if shape == "ellipsoid":
        ratios = np.array([1.0, 1.35, 1.1])
        axes = ratios * (ml * 1000 * 3 / 4 / np.pi / ratios.prod()) ** (1 / 3)
        return lambda p: (((p - np.array([27.0, 6.0, 4.0])) / axes) ** 2).sum(axis=-1) <= 1

    def ends(size: float, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Return from where to where along x it reaches: all shapes at the skull are between two surfaces."""
        skull = INNER[0] * np.sqrt(np.clip(1 - (y / INNER[1]) ** 2 - (z / INNER[2]) ** 2, 0, None))
        if shape == "crescent":  # between the skull and the brain that gave way, long and thin
            k = (ml / 60) ** (1 / 3)
            depth = size * np.clip(1 - (y / (65 * k)) ** 2 - (z / (45 * k)) ** 2, 0, None)
            return np.where(depth > 0, skull - depth, np.inf), skull
        radius = 38.0  # a lens: what a sphere from the outside cuts off the brain, as an epidural does
        depth = radius**2 - (y + 8) ** 2 - (z - 6) ** 2
        return np.where(depth > 0, INNER[0] + 34 - size - np.sqrt(np.clip(depth, 0, None)), np.inf), skull

    side = np.arange(-90, 90, 0.25) + 0.125
    y, z = np.meshgrid(side, side, indexing="ij")

    def volume_ml(size: float) -> float:
        low, high = ends(size, y, z)
        return float(np.clip(high - low, 0, None).sum() * 0.25**2 / 1000)

    below, above = 0.0, 60.0
    for _ in range(40):
        middle = (below + above) / 2
        below, above = (middle, above) if volume_ml(middle) < ml else (below, middle)

    def inside(p: Floats) -> NDArray[np.bool_]:
        low, high = ends(above, p[..., 1], p[..., 2])
        return np.asarray((p[..., 0] >= low) & (p[..., 0] <= high))

    return inside


def head_hu(points: Floats) -> Floats:
    """HU without a bleed at points ``(..., 3)`` mm."""

    def shell(mm: float) -> NDArray[np.bool_]:
        return np.asarray(((points / (INNER + mm)) ** 2).sum(axis=-1) <= 1)

    side = np.array([11.0, -4.0, 8.0])
    fluid = (((np.abs(points) * [1, 0, 0] + points * [0, 1, 1] - side) / [6, 26, 10]) ** 2).sum(axis=-1) <= 1
    out = np.where(shell(SKULL_MM + SCALP_MM), SCALP, AIR)
    out = np.where(shell(SKULL_MM), BONE, out)
    return np.where(shell(0.0), np.where(fluid, FLUID, BRAIN), out)


def make(layout: Layout, inside: Inside, seed: int = 0) -> tuple[Exam, NDArray[np.float32]]:
    """Return an exam, and the part of each voxel that is blood, ``(n, rows, columns)`` float32."""
    angle = np.radians(layout.tilt)
    across, along = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), np.sin(angle)])
    normal = np.cross(across, along)
    walk = np.array([0, 0, 1 / np.cos(angle)]) if layout.sheared else normal
    z = np.concatenate([[0.0], np.cumsum(layout.gaps)]) - sum(layout.gaps) / 2
    thickness = np.array([*layout.gaps, layout.gaps[-1]])
    side = round(205 / layout.pixel)
    corner = -(side - 1) / 2 * layout.pixel * (across + along)
    positions = corner + z[:, None] * walk
    geometry = Geometry(positions, across, along, (layout.pixel, layout.pixel), thickness=thickness)
    rng = np.random.default_rng(seed)
    noise = 4.0 * np.sqrt(5.0 / max(1.2, float(np.median(thickness))))
    volume = np.empty((len(z), side, side), np.int16)
    blood = np.zeros(volume.shape, np.float32)
    plane = np.arange(side) * layout.pixel
    flat = plane[:, None, None] * along + plane[None, :, None] * across
    for k, position in enumerate(positions):
        points = flat + position
        hu = head_hu(points)
        subs = max(2, round(thickness[k] / 0.4))
        offsets = ((np.arange(subs) + 0.5) / subs - 0.5) * thickness[k]
        near = ndimage.binary_dilation(
            np.any([inside(points + t * normal) for t in offsets[:: max(1, subs // 4)]], axis=0), iterations=4
        )
        if near.any():
            rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
            box = np.s_[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]
            steps = ((np.arange(SUB) + 0.5) / SUB - 0.5) * layout.pixel
            shifts = [
                t * normal + u * along + v * across for t, u, v in itertools.product(offsets, steps, steps)
            ]
            hu[box], blood[k][box] = _sampled(points[box], inside, shifts)
        grain = ndimage.gaussian_filter(rng.normal(size=hu.shape), 0.7)
        volume[k] = np.clip(
            np.rint(ndimage.gaussian_filter(hu, 0.6) + noise * grain / grain.std()), -1024, 3000
        )
    return Exam(volume, geometry, Source("phantom", "dicom")), blood


def _sampled(points: Floats, inside: Inside, shifts: list[Floats]) -> tuple[Floats, Floats]:
    """Mean HU and share of blood of each voxel, over its centre ``(rows, columns, 3)`` shifted by ``(3,)`` each."""
    hu, share = np.zeros(points.shape[:2]), np.zeros(points.shape[:2])
    for shift in shifts:
        at = points + shift
        blood = inside(at)
        hu += np.where(blood, BLOOD, head_hu(at))
        share += blood
    return hu / len(shifts), share / len(shifts)


def perfect_map(blood: NDArray[np.float32], transform: GridTransform, subtype: int) -> NDArray[np.float32]:
    """Logits of the share of blood in each pixel of a map of stride 2."""
    share = np.clip(transform.native_to_grid(np.rint(blood * 1000).astype(np.int16)), 0, 1000) / 1000
    share = share.reshape(len(share), share.shape[1] // 2, 2, share.shape[2] // 2, 2).mean(axis=(2, 4))
    share = np.clip(share, 0.001, 0.999)
    maps = np.full((len(share), 6, *share.shape[1:]), -7, np.float32)
    maps[:, 0] = maps[:, subtype] = np.log(share / (1 - share))
    return maps


@dataclass(frozen=True)
class Found:
    """What was found of one phantom; the probability of any hemorrhage where the whole was measured."""

    layout: str
    shape: str
    ml: float
    found: float
    bound: float
    probability: float | None = None

    @property
    def error(self) -> float:
        """Return the relative error of the volume found."""
        return self.found / self.ml - 1


def measure(layout: Layout, shape: str, ml: float, bundle: str, whole: bool) -> Found:
    inside = bleed(shape, ml)
    exam, blood = make(layout, inside)
    ml_voxel = exam.geometry.slice_extents * layout.pixel**2 / 1000
    best = float((ml_voxel * (blood >= 0.5).sum(axis=(1, 2))).sum())
    if whole:
        findings = detect(exam, bundle=bundle)
        found = float("nan") if findings.volume_ml is None else findings.volume_ml
        return Found(layout.title, shape, ml, found, best / ml - 1, findings.probabilities.any)
    manifest = load_bundle(bundle).manifest
    transform = plan_grid(exam.volume, exam.geometry, manifest.preparation.grid)
    maps = perfect_map(blood, transform, {"ellipsoid": 2, "lens": 1, "crescent": 5}[shape])
    regions = localise(maps, exam.volume, transform, manifest.localisation)
    return Found(layout.title, shape, ml, float(regions.volume_ml or 0.0), best / ml - 1)


def phantoms(bundle: str, whole: bool, every: int) -> Iterator[Found]:
    cases = []
    for number, layout in enumerate(layouts()):
        for (i, shape), (j, ml) in itertools.product(enumerate(SHAPES), enumerate(VOLUMES_ML)):
            # All bleeds where nothing is tilted; of tilted layouts three each, in turn.
            # The network, which sees slabs of 5 mm at least, is asked of slices from 2.5 mm on.
            if (
                (not layout.tilt and max(layout.gaps) > 2)
                if whole
                else (not layout.tilt or (number + i + j) % 4 == 0)
            ):
                cases.append((layout, shape, ml))
    for layout, shape, ml in cases[::every]:
        yield measure(layout, shape, ml, bundle, whole)


def main() -> None:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--detect", action="store_true", help="measure the whole of ichor.detect")
    arguments.add_argument("--bundle", default="default")
    arguments.add_argument("--every", type=int, default=1, help="only each N-th phantom")
    options = arguments.parse_args()
    began = time.perf_counter()
    heading("slices", "shape", "true mL", "found mL", "error", "best mask's error", "P of any")
    found = []
    for one in phantoms(options.bundle, options.detect, options.every):
        found.append(one)
        row(
            one.layout,
            one.shape,
            f"{one.ml:g}",
            f"{one.found:.2f}",
            f"{one.error:+.1%}",
            f"{one.bound:+.1%}",
            None if one.probability is None else f"{one.probability:.2f}",
        )
    print()
    heading("true mL", "n", "mean absolute error", "largest", "within 5 % or the best mask's error")
    for ml in (*VOLUMES_ML, None):
        some = [r for r in found if ml is None or r.ml == ml]
        if some:
            errors = np.abs([r.error for r in some])
            good = sum(abs(r.error) <= max(0.05, abs(r.bound)) + 1e-9 for r in some)
            which = "all" if ml is None else f"{ml:g}"
            row(which, len(some), f"{errors.mean():.1%}", f"{errors.max():.1%}", f"{good} of {len(some)}")
    print(f"\n{len(found)} phantoms in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

"""Can the shift of the midline be measured honestly? Prints the errors of an estimate; not part of ichor.

Usage: python -m benchmarks.accuracy.midline [--data DIR] [--exams N]

Takes the ct-ich exams without hemorrhage whose spacing is known, moves their midline by known smooth displacements,
and measures what an estimate by symmetry finds: the ideal midline is fitted to the inner table's chords, the actual
one is the axis about which the middle of the brain is most symmetrical, on the four slices that show most of the
ventricles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.ct_ich import CtIch
from ichor.preparing import Preparation, plan_grid
from ichor.preparing.skull import bone_hu, intracranial

HALF_MM, LONG_MM = 60, 80
"""Half the width and half the length of what is looked at, a millimetre a pixel."""
MIDDLE = slice(45, 110)
SHIFTS = np.arange(-16, 16.25, 0.5)
Floats = NDArray[np.floating]
TRUE_MM = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0)
SLICES = 4


def ideal_midline(space: NDArray[np.bool_]) -> tuple[float, float, Floats] | None:
    """Fit the line through the middles of the chords: its angle, its distance from the centre of mass, that centre."""
    centre = np.array(ndimage.center_of_mass(space))
    rows, columns = np.nonzero(space)
    angle, offset = 0.0, 0.0
    for _ in range(4):
        c, s = np.cos(angle), np.sin(angle)
        x = (columns - centre[1]) * c - (rows - centre[0]) * s
        y = np.rint((columns - centre[1]) * s + (rows - centre[0]) * c).astype(int)
        low, high = np.percentile(y, [6, 94])
        chords = [(k, x[y == k]) for k in range(int(low), int(high))]
        middles = [(k, (along.min() + along.max()) / 2) for k, along in chords if len(along) > 20]
        if len(middles) < 20:
            return None
        rows_of, middle_of = np.array(middles, np.float64).T
        slope, offset = np.polyfit(rows_of, middle_of, 1)
        angle += float(np.arctan(slope)) * 0.7
    return angle, float(offset), centre


def upright(plane: Floats, line: tuple[float, float, Floats], pixel_mm: float) -> Floats:
    """Turn a slice so that its ideal midline is the middle column; a millimetre a pixel."""
    angle, offset, centre = line
    y, x = np.mgrid[-LONG_MM : LONG_MM + 1, -HALF_MM : HALF_MM + 1] / pixel_mm
    x = x + offset
    c, s = np.cos(angle), np.sin(angle)
    at = [-x * s + y * c + centre[0], x * c + y * s + centre[1]]
    return np.asarray(ndimage.map_coordinates(plane.astype(np.float32), at, order=1, cval=-50))


def symmetry(plane: Floats) -> Floats:
    """Return for each of ``SHIFTS`` how alike left and right of it are."""
    smooth = ndimage.gaussian_filter(np.clip(plane, 0, 50), 1.0)[MIDDLE]
    smooth = smooth - ndimage.gaussian_filter(smooth, (0, 12))
    away = np.arange(1, 19)
    weight = np.exp(-((away / 10.0) ** 2) / 2)
    found = []
    for shift in SHIFTS:
        right, left = (
            ndimage.map_coordinates(
                smooth,
                np.meshgrid(np.arange(len(smooth)), HALF_MM + shift + side * away, indexing="ij"),
                order=1,
            )
            for side in (1, -1)
        )
        scale = np.sqrt((right**2 * weight).sum() * (left**2 * weight).sum())
        found.append((right * left * weight).sum() / (scale + 1e-6))
    return np.array(found)


def estimate(planes: list[Floats]) -> float:
    """Return the shift in mm: the most symmetrical axis of all slices together."""
    return float(SHIFTS[np.sum([symmetry(p) for p in planes], axis=0).argmax()])


def ventricle_slices(volume: NDArray[np.int16], pixel_mm: float) -> list[Floats]:
    """Return the slices, turned upright, that show most fluid in the middle of a wide brain."""
    bone = bone_hu(volume)
    upper = range(len(volume) // 3, len(volume))
    spaces = {k: intracranial(volume[k], bone) for k in upper}
    widest = max(space.sum() for space in spaces.values())
    found = []
    for k, space in spaces.items():
        line = ideal_midline(space) if space.sum() >= 0.8 * widest else None
        if line is not None:
            plane = upright(np.clip(volume[k], -50, 120), line, pixel_mm)
            core = plane[MIDDLE, HALF_MM - 25 : HALF_MM + 26]
            found.append((float(((core > 0) & (core < 16)).mean()), plane))
    found.sort(key=lambda pair: -pair[0])
    return [plane for _, plane in found[:SLICES]]


def moved(plane: Floats, mm: float, place: tuple[float, float, float]) -> Floats:
    """Move the midline by a smooth displacement that fades towards the skull."""
    row, length, width = place
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]].astype(float)
    along = np.exp(-(((y - row) / length) ** 2) / 2)
    source = x - mm * along
    for _ in range(8):  # where a pixel came from: a fixed point
        source = x - mm * along * np.exp(-(((source - HALF_MM) / width) ** 2) / 2)
    return np.asarray(ndimage.map_coordinates(plane, [y, source], order=1))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--exams", type=int, help="of the data set, the first so many")
    options = arguments.parse_args()
    dataset = CtIch(options.data / "ct-ich")
    rng = np.random.default_rng(0)
    unmoved: list[float] = []
    errors: dict[float, list[float]] = {mm: [] for mm in TRUE_MM}
    for patient, labels in list(dataset.patients().items())[: options.exams]:
        exam = dataset.load(patient).exam if labels[0] == 0 else None
        if exam is None or not exam.geometry.spacing_known:
            continue
        transform = plan_grid(exam.volume, exam.geometry, Preparation().grid)
        planes = ventricle_slices(transform.native_to_grid(exam.volume).astype(np.int16), transform.pixel_mm)
        if len(planes) < SLICES:
            continue
        unmoved.append(abs(estimate(planes)))
        for mm in TRUE_MM:
            way = mm * rng.choice([-1, 1])
            place = (rng.uniform(70, 85), rng.uniform(28, 40), rng.uniform(22, 32))
            errors[mm].append(abs(estimate([moved(p, way, place) for p in planes]) - way))
    every = [e for some in errors.values() for e in some]
    if not every:
        raise SystemExit("found no exam that could be measured; expected some; take more of them")
    heading("true shift, mm", "n", "mean absolute error, mm", "95th percentile")
    for name, some in {**{f"{mm:g}": some for mm, some in errors.items()}, "all": every}.items():
        row(name, len(some), f"{np.mean(some):.1f}", f"{np.percentile(some, 95):.1f}")
    print(
        f"\nFalse shift of {len(unmoved)} exams as they are: median {np.median(unmoved):.1f} mm, "
        f"95th percentile {np.percentile(unmoved, 95):.1f} mm, largest {max(unmoved):.1f} mm"
    )


if __name__ == "__main__":
    main()

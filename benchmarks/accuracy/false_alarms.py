"""Where a network sees blood in exams that have none: a table and, with --pictures, a sheet to look at.

Usage: python -m benchmarks.accuracy.false_alarms RUN [--data DIR] [--cache DIR] [--pictures FILE.png]

RUN is a finished run of a map model on ct-ich, with its weights. Each exam without hemorrhage that is called out of
fold (at 90 % sensitivity on the other folds) is drawn by the network that did not see the patient: its most suspicious
slice, bare and with the map over it. The table says what lies at the map's maximum.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.accuracy.locating import Networks
from benchmarks.shared import tables
from benchmarks.shared.arguments import parser
from ichor.datasets.ct_ich import CtIch
from ichor.detecting.heat_map import heat_map
from ichor.evaluating.failures import Failure, failures
from ichor.evaluating.predictions import read_predictions
from ichor.labels import LABEL_NAMES
from ichor.preparing import plan_grid
from ichor.preparing.windows import BRAIN
from ichor.training.run_folder import read_recipe

BONE_HU = 200
AROUND_MM = 2.0
"""HU are the median of what lies so near and is no bone."""


def describe(networks: Networks, dataset: CtIch, failure: Failure, part: str) -> Image.Image:
    """Print an exam's row, and return its slice beside itself with the map over it."""
    exam = dataset.load(failure.patient)
    geometry = exam.exam.geometry
    transform = plan_grid(exam.exam.volume, geometry, networks.recipe.preparation.grid)
    maps = np.asarray(1 / (1 + np.exp(-networks.maps(part, dataset, exam))), np.float32)
    plane = exam.exam.volume[failure.index]
    native = np.stack(
        [
            transform.grid_to_native(np.ascontiguousarray(maps[:, j]), [failure.index])[0]
            for j in range(len(LABEL_NAMES))
        ]
    )
    row, column = np.unravel_index(int(native[0].argmax()), plane.shape)
    spacing = np.array(geometry.spacing)
    depth = ndimage.distance_transform_edt(plane < BONE_HU, sampling=spacing)
    rows, columns = np.indices(plane.shape)
    away = np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1])
    around = plane[(away <= AROUND_MM) & (plane < BONE_HU)]
    tables.row(
        failure.patient,
        f"{failure.probability:.2f}",
        f"{failure.index + 1} of {failure.n_slices}",
        f"{native[0, row, column]:.2f}",
        LABEL_NAMES[1 + int(native[1:, row, column].argmax())],
        f"{depth[row, column]:.0f}",
        f"{np.median(around):.0f}" if around.size else None,
    )
    return _side_by_side(
        plane, heat_map(maps[:, 0], transform)[failure.index], f"{failure.patient}: {failure.probability:.2f}"
    )


def _side_by_side(plane: NDArray[np.int16], heat: NDArray[np.uint8], caption: str) -> Image.Image:
    grey = np.repeat(BRAIN.to_grey(plane)[..., None], 3, axis=2)
    share = (heat / 255.0)[..., None] * 0.7
    warm = grey * (1 - share) + np.array([255, 90, 0]) * share
    both = Image.fromarray(np.hstack([grey, warm.astype(np.uint8)]))
    both.thumbnail((900, 450))
    ImageDraw.Draw(both).text((8, 8), caption, fill=(255, 255, 255))
    return both


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--cache", type=Path, help="maps and graphs are kept here")
    arguments.add_argument("--pictures", type=Path, help="where the sheet goes")
    options = arguments.parse_args()
    dataset = CtIch(options.data / "ct-ich")
    oof = read_predictions(options.run, dataset)
    parts = dict(zip(oof.patients.tolist(), oof.folds.tolist(), strict=True))
    tables.heading("exam", "P", "slice", "map's maximum", "most probable there", "mm from bone", "HU there")
    with tempfile.TemporaryDirectory() as scratch:
        networks = Networks(options.run, read_recipe(options.run), options.cache or Path(scratch))
        rows = [
            describe(networks, dataset, failure, f"fold-{parts[failure.patient]}")
            for failure in failures(oof, dataset)
            if not failure.missed
        ]
    if options.pictures and rows:
        sheet = Image.new("RGB", (2 * rows[0].width, -(-len(rows) // 2) * rows[0].height))
        for k, picture in enumerate(rows):
            sheet.paste(picture, ((k % 2) * rows[0].width, k // 2 * rows[0].height))
        sheet.save(options.pictures)


if __name__ == "__main__":
    main()

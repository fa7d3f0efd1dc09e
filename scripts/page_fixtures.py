"""Write what the page's unit tests compare with: numbers from the Python side.

``python scripts/page_fixtures.py`` writes ``web/tests/fixtures/``; ``--check`` only says whether those files are
what the code gives today. Nothing in them comes from a patient: volumes count their voxels, planes are formulas.

- ``volumes.json``: exams (tilted gantry, tilted head, prone, anisotropic) as the server writes them for the page,
  each with the patient position of its native voxels; and one volume stored by nibabel in several orientations,
  types and byte orders.
- ``windows.json``: greys of every HU in each window.
- ``regions.json``: planes of a mask with their regions' pixels, pieces and holes as scipy counts them.
- ``measures.json``: means and deviations in ellipses.
- ``words.json``: probabilities, volumes and ranges of slices as the report writes them.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sections import ROOT

from ichor.exam import AIR_HU, Exam, Geometry, Source
from ichor.jobs.display import display_of
from ichor.jobs.volumes import write_volume
from ichor.preparing.windows import WINDOWS
from ichor.reporting.words import number_ranges, probability, volume

FOLDER = ROOT / "web/tests/fixtures"
_HU = range(-1200, 3101)
_SMALLEST_HOLE = 60
"""Pixels of the smallest hole that the page outlines."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a file is out of date"
    )
    check = parser.parse_args().check
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, content in fixtures():
        path = FOLDER / name
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {len(text):,} characters")
    if stale:
        print(f"web/tests/fixtures: out of date: {', '.join(stale)}; run python scripts/page_fixtures.py")
    return 1 if stale else 0


def fixtures() -> Iterator[tuple[str, Any]]:
    """Give each file's name and content."""
    yield "volumes.json", {"exams": exams(), "stored": stored()}
    yield "windows.json", windows()
    yield "regions.json", regions()
    yield "measures.json", measures()
    yield "words.json", words()


# -- volumes -------------------------------------------------------------------------------------------


def exams() -> list[dict[str, Any]]:
    """Small exams whose voxels count from 0 as HU, so that each can be found again on the page."""
    return [_as_shown(name, geometry, rows, columns) for name, geometry, rows, columns in geometries()]


def geometries() -> Iterator[tuple[str, Geometry, int, int]]:
    """Give names, geometries, rows and columns.

    Slices of a tilted gantry are shown moved by whole pixels: here they are moved so, and none is rounded.
    """
    spacing = (0.62, 0.45)
    turned = _rotation(0.11, "z") @ _rotation(-0.06, "y") @ _rotation(0.2, "x")
    yield "tilted head, anisotropic", _geometry(4, 3.7, spacing, turned), 6, 5
    yield "tilted gantry", _geometry(5, 2.9, spacing, np.eye(3), shift=(1, 0)), 6, 5
    yield "tilted gantry and head", _geometry(4, 4.1, spacing, turned, shift=(-2, 1)), 7, 6
    prone = np.diag([-1.0, -1.0, 1.0])
    yield "prone", _geometry(3, 5.0, spacing, prone), 4, 6
    sideways = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    yield "on the side", _geometry(3, 1.25, spacing, sideways), 4, 6


def _geometry(
    n: int,
    step: float,
    spacing: tuple[float, float],
    axes: NDArray[np.float64],
    shift: tuple[int, int] = (0, 0),
) -> Geometry:
    """Slices ``step`` apart along the third of the axes, each moved by whole rows and columns against the one below."""
    row, column, normal = axes.T
    between = step * normal + shift[0] * spacing[0] * column + shift[1] * spacing[1] * row
    first = np.array([-113.4, -81.25, 912.7])
    return Geometry(first + np.arange(n)[:, None] * between, row, column, spacing)


def _rotation(angle: float, axis: str) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def _as_shown(name: str, geometry: Geometry, rows: int, columns: int) -> dict[str, Any]:
    n = geometry.n_slices
    hu = np.arange(n * rows * columns, dtype=np.int16).reshape(n, rows, columns)
    plan, native = display_of(Exam(hu, geometry, Source("made", "nifti")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        planes = (plan.plane(native, k, AIR_HU) for k in range(len(plan.source)))
        write_volume(path, planes, len(plan.source), plan.affine, "made")
        # Unpacked: another version of zlib packs otherwise.
        content = gzip.decompress(path.read_bytes())
    places = geometry.voxel_to_patient(np.argwhere(hu >= 0))
    return {
        "name": name,
        "nifti": _text(content),
        "size": [plan.shape[1], plan.shape[0], len(plan.source)],
        "step": np.round(np.linalg.norm(plan.affine[:3, :3], axis=0), 9).tolist(),
        "air": AIR_HU,
        "patient_mm": np.round(places, 9).tolist(),
    }


def stored() -> dict[str, Any]:
    """One volume in the orientations, types and byte orders that NIfTI allows."""
    size, step = (5, 4, 3), np.array([0.5, 0.75, 3.0])
    voxels = (np.arange(math.prod(size), dtype=np.int16) * 7 - 200).reshape(size)
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = [-40.0, 12.5, 88.0]
    original = nibabel.Nifti1Image(voxels, affine)
    files = {}
    for code in ("LPS", "RAS", "ASL", "IPR", "SRA"):
        start = nibabel.io_orientation(affine)
        turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(tuple(code)))
        image = original.as_reoriented(turn)
        image.set_sform(image.affine, code=1)
        image.set_qform(image.affine, code=0)
        files[f"{code}, int16"] = image.to_bytes()
        if code == "ASL":
            image.set_qform(image.affine, code=1)
            image.set_sform(None, code=0)
            files[f"{code}, quaternion"] = image.to_bytes()
    header = nibabel.Nifti1Header(endianness=">")
    files["RAS, int16, big-endian"] = nibabel.Nifti1Image(voxels, affine, header).to_bytes()
    for kind in (np.int32, np.float32):
        files[f"RAS, {np.dtype(kind).name}"] = nibabel.Nifti1Image(voxels.astype(kind), affine).to_bytes()
    scaled = nibabel.Nifti1Image((voxels // 7 + 1000).astype(np.uint16), affine)
    scaled.header.set_slope_inter(7, float(voxels[0, 0, 0]) - 7 * float(voxels[0, 0, 0] // 7 + 1000))
    files["RAS, uint16 with slope and intercept"] = scaled.to_bytes()
    upright = voxels[::-1, ::-1]  # columns to the left, rows to the back
    corner = affine @ [size[0] - 1, size[1] - 1, 0, 1]
    return {
        "files": {name: _text(content) for name, content in files.items()},
        "size": list(size),
        "step": step.tolist(),
        "origin": [-float(corner[0]), -float(corner[1]), float(corner[2])],
        "voxels": upright.transpose(2, 1, 0).ravel().tolist(),
    }


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


# -- what the viewer computes --------------------------------------------------------------------------


def windows() -> dict[str, Any]:
    """Greys of every HU, as the networks' and the report's windows give them."""
    hu = np.array(_HU)
    shown = {
        name: {"level": window.level, "width": window.width, "greys": _text(window.to_grey(hu).tobytes())}
        for name, window in WINDOWS.items()
    }
    return {"first_hu": _HU[0], "last_hu": _HU[-1], "windows": shown}


def regions() -> list[dict[str, Any]]:
    """Planes of a mask and, by scipy, what their outlines must enclose."""
    return [_counted(name, plane) for name, plane in planes()]


def planes() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and plane: rings, pixels that touch by a corner, regions at the edge, and noise."""
    plane = np.zeros((40, 48), np.uint8)
    rows, columns = np.indices(plane.shape)
    away = np.hypot(rows - 19, columns - 22)
    plane[(away < 15) & (away > 6)] = 1
    plane[away < 3] = 2
    yield "ring around a disc", plane
    plane = np.zeros((40, 48), np.uint8)
    plane[0:12, 0:20] = 1
    plane[4:6, 4:9] = 0
    plane[30:40, 36:48] = 2
    plane[12, 20] = 1  # by a corner
    yield "at the edges, with a small hole and a corner", plane
    noise = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=(60, 70)), 1.2)
    plane = np.zeros((60, 70), np.uint8)
    plane[noise > 0.08] = 3
    plane[noise < -0.2] = 5
    yield "noise", plane


def _counted(name: str, plane: NDArray[np.uint8]) -> dict[str, Any]:
    found = {}
    for region in np.unique(plane[plane > 0]):
        inside = plane == region
        # Pixels of a region hang together by edges, those of a hole by corners too: what is outside reaches around.
        _, pieces = ndimage.label(inside)
        outside, n = ndimage.label(np.pad(~inside, 1, constant_values=True), np.ones((3, 3)))
        sizes = np.bincount(outside.ravel(), minlength=n + 1)[1:]
        holes = np.delete(sizes, outside[0, 0] - 1)
        found[str(region)] = {"pixels": int(inside.sum()), "pieces": pieces, "holes": sorted(holes.tolist())}
    return {"name": name, "shape": list(plane.shape), "values": _text(plane.tobytes()), "regions": found}


def measures() -> list[dict[str, Any]]:
    """Means and deviations of the pixels whose centres lie in an ellipse."""
    plane = np.random.default_rng(3).integers(-100, 120, (24, 30)).astype(np.int16)
    rows, columns = np.indices(plane.shape)
    found = []
    for box in ((3.2, 4.1, 14.7, 20.3), (20.0, 2.0, 9.5, 11.25), (-6.0, 10.0, 12.0, 40.0)):
        x0, y0, x1, y1 = box
        across, down = abs(x1 - x0) / 2, abs(y1 - y0) / 2
        u, v = (columns + 0.5 - (x0 + x1) / 2) / across, (rows + 0.5 - (y0 + y1) / 2) / down
        inside = plane[u * u + v * v <= 1].astype(np.float64)
        numbers = {
            "mean": inside.mean(),
            "deviation": inside.std(),
            "least": inside.min(),
            "most": inside.max(),
        }
        found.append(
            {"box": list(box), "count": len(inside), **{k: round(float(v), 9) for k, v in numbers.items()}}
        )
    return [{"shape": list(plane.shape), "values": plane.ravel().tolist(), "ellipses": found}]


def words() -> dict[str, Any]:
    """Write probabilities, volumes and ranges as the report does."""
    pairs = [
        (0.2, 0.5), (0.4996, 0.5), (0.49996, 0.5), (0.001, 0.5), (0.9994, 0.995), (0.999996, 0.5), (0.0, 0.1)
    ]  # fmt: skip
    values = [0.0, 0.0049, 0.005, 0.0051, 0.12, 0.305, 0.5, 0.9949, 0.995, 0.996, 1.0]
    lists = [[3, 4, 5, 9], [0], [7, 6, 5, 5], [1, 3, 5], list(range(30))]
    return {
        "probability": [[v, probability(v)] for v in values],
        "apart": [[a, b, probability(a, against=b)] for a, b in pairs],
        "volume": [[v, volume(v)] for v in (0.0, 0.02, 0.05, 0.06, 1.24, 36.96)],
        "ranges": [[v, number_ranges(v)] for v in lists],
    }


if __name__ == "__main__":
    sys.exit(main())

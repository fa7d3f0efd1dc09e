"""The bundle that ships, and heads made of a formula."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

import ichor
from ichor.exam import Exam, Geometry, Source

SHIPPED = Path(ichor.__file__).parent / "bundles" / "default"


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "copy"))


@pytest.fixture
def edit_manifest(bundle_copy: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Change the copy's ``bundle.json``."""

    def edit(change: Callable[[dict[str, Any]], None]) -> Path:
        path = bundle_copy / "bundle.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        return bundle_copy

    return edit


def _head_hu(points: NDArray[np.float64], seed: int) -> NDArray[np.int16]:
    """Skull, brain with grain, ventricles and scalp at patient points ``(n, rows, columns, 3)``."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(((points / [72.0, 90.0, 75.0]) ** 2).sum(axis=-1))
    grain = ndimage.gaussian_filter(rng.normal(size=radius.shape), (0, 4, 4))
    brain = 32 + 5 * grain / grain.std() + rng.normal(0, 2, radius.shape)
    ventricle = (
        (np.abs(np.abs(points[..., 0]) - 9) < 5)
        & (np.abs(points[..., 1]) < 28)
        & (np.abs(points[..., 2]) < 18)
    )
    brain = np.where(ventricle, 8 + rng.normal(0, 2, radius.shape), brain)
    hu = np.where(radius < 0.92, brain, np.where(radius < 0.99, 900, np.where(radius < 1.06, 20, -1000)))
    return hu.astype(np.int16)


@pytest.fixture(scope="session")
def make_exam() -> Callable[..., Exam]:
    """Make a head without a bleed (each layout once); ``shift`` moves it, ``gaps`` and ``tilt`` lay the slices."""

    made: dict[str, Exam] = {}

    def make(**layout: Any) -> Exam:
        key = repr(sorted(layout.items()))
        if key not in made:
            made[key] = build(**layout)
        return made[key]

    def build(
        *,
        gaps: Any = (5.0,) * 27,
        tilt: float = 0.0,
        spacing: tuple[float, float] = (0.9, 0.9),
        shape: tuple[int, int] = (256, 256),
        shift: tuple[float, float] = (0.0, 0.0),
        down: tuple[float, float, float] = (0.0, 1.0, 0.0),
        with_uids: bool = False,
    ) -> Exam:
        z = np.concatenate([[0.0], np.cumsum(gaps)]) - np.sum(gaps) / 2
        across, along = np.array([1.0, 0, 0]), np.asarray(down)
        corner = -across * spacing[1] * (shape[1] - 1) / 2 - along * spacing[0] * (shape[0] - 1) / 2
        corner = corner - np.array([*shift, 0.0])
        positions = corner + z[:, None] * (np.array([0, 0, 1.0]) + tilt * along)
        geometry = Geometry(positions, across, along, spacing)
        n = len(z)
        index = np.stack(np.meshgrid(np.arange(n), *map(np.arange, shape), indexing="ij"), axis=-1)
        uids = tuple(f"1.2.3.{k}" for k in range(n)) if with_uids else ()
        source = Source("head", "dicom", "1.2.3" if with_uids else "", "1.2.4" if with_uids else "", uids)
        return Exam(_head_hu(geometry.voxel_to_patient(index), 7), geometry, source)

    return make


@pytest.fixture(scope="session")
def head_exam(make_exam: Callable[..., Exam]) -> Exam:
    """The plain head."""
    return make_exam(with_uids=True)

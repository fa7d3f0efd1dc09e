"""Exams whose content is a formula of patient coordinates, in every geometry that scanners send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ichor.exam import Exam, Geometry, Source

CENTRE = np.array([6.0, -14.0, 40.0])
RADII = np.array([72.0, 92.0, 70.0])
X, Y, Z = np.eye(3)


def _turn(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Rotation matrix (Rodrigues)."""
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    a = np.radians(degrees)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


def make_geometry(
    *,
    across: NDArray[np.float64] = X,
    down: NDArray[np.float64] = Y,
    spacing: tuple[float, float] = (0.9, 0.9),
    gaps: NDArray[np.float64] | None = None,
    tilt_mm: float = 0.0,
    shape: tuple[int, int] = (256, 256),
) -> Geometry:
    """Slices about the head's centre; ``tilt_mm`` slides each by so much per mm of its distance, down the image."""
    gaps = np.full(27, 5.0) if gaps is None else gaps
    normal = np.cross(across, down)
    normal = -normal if normal[2] < 0 else normal
    z = np.concatenate([[0.0], np.cumsum(gaps)]) - gaps.sum() / 2
    corner = CENTRE - across * spacing[1] * (shape[1] - 1) / 2 - down * spacing[0] * (shape[0] - 1) / 2
    return Geometry(
        positions=corner + z[:, None] * (normal + tilt_mm * down),
        row_direction=across,
        column_direction=down,
        spacing=spacing,
    )


_OBLIQUE = _turn(X, 14.0) @ _turn(Y, 8.0) @ _turn(Z, 6.0)
GEOMETRIES: dict[str, tuple[Geometry, tuple[int, int]]] = {
    "upright": (make_geometry(), (256, 256)),
    "rows flipped": (make_geometry(down=-Y), (256, 256)),
    "columns flipped": (make_geometry(across=-X), (256, 256)),
    "turned half": (make_geometry(across=-X, down=-Y), (256, 256)),
    "transposed": (make_geometry(across=Y, down=X), (256, 256)),
    "turned quarter": (make_geometry(across=-Y, down=X), (256, 256)),
    "oblique": (make_geometry(across=_OBLIQUE @ X, down=_OBLIQUE @ Y), (256, 256)),
    "tilted": (make_geometry(tilt_mm=np.tan(np.radians(18.5))), (256, 256)),
    "tilted the other way, flipped": (make_geometry(down=-Y, tilt_mm=0.25), (256, 256)),
    "uneven": (make_geometry(gaps=np.repeat([4.0, 7.0, 10.0], [12, 8, 3])), (256, 256)),
    "thin": (make_geometry(gaps=np.full(109, 1.25), spacing=(1.1, 1.1), shape=(200, 200)), (200, 200)),
    "thin and tilted": (
        make_geometry(gaps=np.full(69, 2.0), spacing=(1.1, 1.1), tilt_mm=0.2, shape=(200, 200)),
        (200, 200),
    ),
    "oblong pixels": (make_geometry(spacing=(1.3, 0.8), shape=(180, 256)), (180, 256)),
    "coarse": (make_geometry(spacing=(2.0, 2.0), shape=(128, 128)), (128, 128)),
}


@dataclass
class Head:
    """An ellipsoid of brain in a shell of bone, and what can be put into it."""

    exam: Exam

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """``(slices, rows, columns, 3)`` patient mm of every voxel."""
        n, rows, columns = self.exam.volume.shape
        grid = np.stack(
            np.meshgrid(np.arange(n), np.arange(rows), np.arange(columns), indexing="ij"), axis=-1
        )
        return self.exam.geometry.voxel_to_patient(grid)

    def with_dot(
        self, at: NDArray[np.float64], sigma: float = 4.0, height: float = 900.0
    ) -> NDArray[np.int16]:
        """The volume with a bright ball (Gaussian, mm) at a patient point."""
        lit = self.exam.volume.copy()
        # Only slices and rows near the ball are worth computing.
        near = np.abs(self.points - at).max(axis=-1) <= 5 * sigma
        distance = ((self.points[near] - at) ** 2).sum(axis=-1)
        lit[near] += np.rint(height * np.exp(-distance / 2 / sigma**2)).astype(np.int16)
        return lit


def make_head(geometry: Geometry, shape: tuple[int, int]) -> Head:
    """Render the head on a geometry."""
    n = geometry.n_slices
    empty = Head(Exam(np.zeros((n, *shape), np.int16), geometry, Source("phantom", "dicom")))
    radius = np.sqrt((((empty.points - CENTRE) / RADII) ** 2).sum(axis=-1))
    hu = np.where(radius < 0.92, 32, np.where(radius < 0.985, 900, np.where(radius < 1.02, 20, -1000)))
    return Head(Exam(hu.astype(np.int16), geometry, Source("phantom", "dicom")))


@pytest.fixture(scope="session", params=list(GEOMETRIES))
def head(request: pytest.FixtureRequest) -> Head:
    """The head in one geometry after the other."""
    return make_head(*GEOMETRIES[request.param])


@pytest.fixture
def head_in() -> Callable[[str], Head]:
    """Make the head in a geometry by its name."""
    return lambda name: make_head(*GEOMETRIES[name])


@pytest.fixture(scope="session", params=["cq500/CQ500-CT-0", "dicom-oddities/ge_head_tilt_varspacing"])
def tilted_exam(request: pytest.FixtureRequest, shared_data: Path) -> Exam:
    """Two real exams with gantry tilt; the second with uneven gaps, too."""
    from ichor.reading.context import ReadContext
    from ichor.reading.dicom import read_dicom
    from ichor.reading.files import InputFile
    from ichor.reading.limits import Limits

    files = [InputFile(p, p.name) for p in sorted((shared_data / request.param).rglob("*")) if p.is_file()]
    found = list(read_dicom(files, ReadContext.begin(request.param, Limits())))
    assert len(found) == 1
    assert isinstance(found[0], Exam)
    return found[0]

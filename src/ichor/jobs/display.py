"""The volume that is shown: rectangular, evenly spaced and upright, whatever the gantry did.

A viewer takes a volume for a box of even voxels. Slices of a tilted exam slide against each other: each is shifted
back by whole pixels, so that every pixel shown is one that was measured. Uneven slices are repeated where they stand
for more of the patient, never mixed; a hole in the stack is shown as air.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.exam import AIR_HU, Exam, Geometry, Picture
from ichor.preparing.stacks import picture_volume

__all__ = ["Display", "display_of"]

_MOST_VOXELS = 160_000_000
"""Of a volume that a browser is given; above it, rows, columns and slices are thinned."""
_EVEN_SHARE = 0.02
"""Gaps that differ by less than this share of the usual one are even."""
_MOST_REPEATED = 4
"""Slices shown, over slices there are, at most."""


@dataclass(frozen=True)
class Display:
    """How the shown volume is made from native slices.

    Attributes
    ----------
    source
        ``(m,)`` native slice behind each shown one; -1 for a hole.
    shifts
        ``(n, 2)`` rows and columns by which each native slice is moved.
    transpose, flip_rows, flip_columns
        What turns native slices upright, in this order.
    shape
        Rows and columns shown.
    step
        Every how manieth row and column is shown: 1, unless the volume is huge.
    affine
        ``(4, 4)`` from (column, row, slice) shown to RAS millimetres.
    spacing_known
        Whether its millimetres are real.
    orientation_known
        Whether left, right, front and back are known.
    """

    source: NDArray[np.int64]
    shifts: NDArray[np.int64]
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    shape: tuple[int, int]
    step: int
    affine: NDArray[np.float64]
    spacing_known: bool
    orientation_known: bool = True

    def plane(self, native: NDArray[Any], shown: int, empty: int) -> NDArray[Any]:
        """Return one shown slice.

        Parameters
        ----------
        native
            ``(n, rows, columns)``.
        shown
            Its index, 0 to ``len(source) - 1``.
        empty
            Value where nothing was measured.

        Returns
        -------
        numpy.ndarray
            ``shape``, of the type of ``native``.
        """
        out = np.full(self.shape, empty, native.dtype)
        k = int(self.source[shown])
        if k < 0:
            return out
        plane = _turned(native[k], self.transpose, self.flip_rows, self.flip_columns)
        r, c = (int(v) for v in self.shifts[k])
        full = np.full((self.shape[0] * self.step, self.shape[1] * self.step), empty, native.dtype)
        part = plane[: full.shape[0] - r, : full.shape[1] - c]
        full[r : r + part.shape[0], c : c + part.shape[1]] = part
        out[:] = full[:: self.step, :: self.step]
        return out

    def shown_of(self, native: int) -> int | None:
        """Return the shown slice in the middle of those that show a native one; None where none does."""
        where = np.flatnonzero(self.source == native)
        return int(where[len(where) // 2]) if len(where) else None

    def as_dict(self) -> dict[str, Any]:
        """Return what a viewer needs, in plain types."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        return {
            "shape": [len(self.source), *self.shape],
            "spacing_mm": [round(float(v), 4) for v in spacing[::-1]] if self.spacing_known else None,
            "source": [None if k < 0 else int(k) for k in self.source],
            "orientation_known": self.orientation_known,
        }


def display_of(image: Exam | Picture) -> tuple[Display, NDArray[np.int16]]:
    """Plan how an exam or a picture is shown, and give what it is made from.

    Returns
    -------
    Display, numpy.ndarray
        The plan, and ``(n, rows, columns)`` HU.
    """
    if isinstance(image, Picture):
        rows, columns = image.grey.shape
        flat = Display(
            source=np.zeros(1, np.int64),
            shifts=np.zeros((1, 2), np.int64),
            transpose=False,
            flip_rows=False,
            flip_columns=False,
            shape=(rows, columns),
            step=1,
            affine=np.diag([-1.0, -1.0, 1.0, 1.0]),
            spacing_known=False,
            orientation_known=False,
        )
        return flat, picture_volume(image)
    return _plan(image.geometry, image.volume.shape[1], image.volume.shape[2]), image.volume


def _plan(geometry: Geometry, rows: int, columns: int) -> Display:
    turn = _turn(geometry)
    down, right, spacing, shape = _turned_axes(geometry, turn, rows, columns)
    offsets = np.stack(
        [geometry.positions @ down / spacing[0], geometry.positions @ right / spacing[1]], axis=1
    )
    shifts = np.rint(offsets - offsets[0]).astype(np.int64)
    low = shifts.min(axis=0)
    shifts = shifts - low
    size = (shape[0] + int(shifts[:, 0].max()), shape[1] + int(shifts[:, 1].max()))
    source, along = _levels(geometry)
    step = max(1, int(np.ceil((len(source) * size[0] * size[1] / _MOST_VOXELS) ** (1 / 3))))
    source, along = source[::step], along[::step]
    # The first pixel of the upright first slice, carried to the corner of the box and to the first level.
    corner = _corner(geometry, turn, rows, columns) + low[0] * spacing[0] * down + low[1] * spacing[1] * right
    corner = corner + (along[0] - geometry.distances[0]) * geometry.normal
    between = along[1] - along[0] if len(along) > 1 else geometry.slice_step
    matrix = np.eye(4)
    matrix[:3, 0] = right * spacing[1] * step
    matrix[:3, 1] = down * spacing[0] * step
    matrix[:3, 2] = geometry.normal * between
    matrix[:3, 3] = corner
    return Display(
        source=source,
        shifts=shifts,
        transpose=turn[0],
        flip_rows=turn[1],
        flip_columns=turn[2],
        shape=(-(-size[0] // step), -(-size[1] // step)),
        step=step,
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix,
        spacing_known=geometry.spacing_known,
        orientation_known=geometry.orientation_known,
    )


def _levels(geometry: Geometry) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Native slice, -1 for none, and mm along the normal of each shown slice."""
    n, distances = geometry.n_slices, geometry.distances
    if n < 2:
        return np.zeros(n, np.int64), distances
    gaps, usual = geometry.gaps, geometry.slice_step
    if float(gaps.max() - gaps.min()) <= _EVEN_SHARE * usual:
        return np.arange(n), np.linspace(distances[0], distances[-1], n)
    covered = float(distances[-1] - distances[0])
    step = max(float(gaps.min()), covered / (_MOST_REPEATED * n))
    along = distances[0] + step * np.arange(int(covered / step + 0.5) + 1)
    nearest = np.abs(along[:, None] - distances[None]).argmin(axis=1)
    away = np.abs(along - distances[nearest])
    return np.where(away <= max(usual, step), nearest, -1), along


def _turn(geometry: Geometry) -> tuple[bool, bool, bool]:
    """Which of transpose, flipped rows and flipped columns bring the patient upright, left to the right."""
    across, along = geometry.row_direction, geometry.column_direction
    transpose = bool(abs(across[1]) + abs(along[0]) > abs(across[0]) + abs(along[1]))
    down, right = (across, along) if transpose else (along, across)
    return transpose, bool(down[1] < 0), bool(right[0] < 0)


def _turned_axes(
    geometry: Geometry, turn: tuple[bool, bool, bool], rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float], tuple[int, int]]:
    """Directions downward and to the right, their spacing, and the size, of upright slices."""
    across, along = geometry.row_direction, geometry.column_direction
    down, right = (across, along) if turn[0] else (along, across)
    spacing = geometry.spacing[::-1] if turn[0] else geometry.spacing
    shape = (columns, rows) if turn[0] else (rows, columns)
    return (-down if turn[1] else down), (-right if turn[2] else right), (spacing[0], spacing[1]), shape


def _corner(
    geometry: Geometry, turn: tuple[bool, bool, bool], rows: int, columns: int
) -> NDArray[np.float64]:
    """Patient coordinates of the first pixel of the first slice once it is upright."""
    down_end, right_end = (columns, rows) if turn[0] else (rows, columns)
    first = [(down_end - 1) if turn[1] else 0, (right_end - 1) if turn[2] else 0]
    row, column = first[::-1] if turn[0] else first
    return np.asarray(
        geometry.positions[0]
        + row * geometry.spacing[0] * geometry.column_direction
        + column * geometry.spacing[1] * geometry.row_direction
    )


def _turned(plane: NDArray[Any], transpose: bool, flip_rows: bool, flip_columns: bool) -> NDArray[Any]:
    plane = plane.T if transpose else plane
    return plane[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


AIR = AIR_HU
"""What is shown where nothing was measured, in HU."""

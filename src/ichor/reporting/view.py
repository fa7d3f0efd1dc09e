"""Slices as a radiologist expects them: upright, the patient's right on the left, square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.exam import Exam, Geometry, Picture
from ichor.preparing.head import head_boxes

__all__ = ["Marks", "View"]

_MARGIN = 0.04
"""Air left around the head, as a share of its larger side."""
_MINOR_AXIS = 0.35
"""A second letter is put on a mark where the direction leans this much (20 degrees) towards it."""


@dataclass(frozen=True)
class Marks:
    """Where the four edges of the picture point in the patient: ``L``, ``P``, ``AH`` and so on."""

    top: str
    right: str
    bottom: str
    left: str


@dataclass(frozen=True)
class View:
    """How native slices of one input become pictures.

    Made by :meth:`of`. Turning is by whole quarter turns and mirrors, so that every native pixel stays
    itself; then the head is cut out and brought to square pixels.

    Attributes
    ----------
    transpose, flip_rows, flip_columns
        Applied in this order.
    box
        First row, first column, end row, end column of what is shown, in turned native pixels.
    size
        Rows and columns of the picture.
    pixel_mm
        Side of a picture's pixel in mm; None where spacing is not known.
    marks
        Orientation letters; None where the input does not tell its orientation.
    native_shape
        Rows and columns of a native slice.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    pixel_mm: float | None
    marks: Marks | None
    native_shape: tuple[int, int]

    @classmethod
    def of(cls, image: Exam | Picture, slices: list[int], side: int = 480) -> View:
        """Plan the view of an exam or a picture.

        Parameters
        ----------
        image
            What is shown.
        slices
            Indices of the slices to be shown: the cut-out holds the head on all of them.
        side
            Pixels of the picture's longer side.
        """
        if isinstance(image, Picture):
            rows, columns = image.grey.shape
            scale = side / max(rows, columns)
            size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
            return cls(False, False, False, (0, 0, rows, columns), size, None, None, (rows, columns))
        turn = _turn(image.geometry)
        rows, columns = image.volume.shape[1:]
        shape = (columns, rows) if turn[0] else (rows, columns)
        spacing = image.geometry.spacing[::-1] if turn[0] else image.geometry.spacing
        box = _head(_turned(image.volume[slices], *turn), shape)
        sides = ((box[2] - box[0]) * spacing[0], (box[3] - box[1]) * spacing[1])
        pixel = max(sides) / side
        size = (max(1, round(sides[0] / pixel)), max(1, round(sides[1] / pixel)))
        return cls(
            *turn,
            box=box,
            size=size,
            pixel_mm=pixel if image.geometry.spacing_known else None,
            marks=_marks(image, turn),
            native_shape=(rows, columns),
        )

    def picture(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        """Turn, cut out and resize one native slice.

        Parameters
        ----------
        plane
            ``(rows, columns)`` HU or grey.

        Returns
        -------
        numpy.ndarray
            ``size`` float32, the same unit.
        """
        r0, c0, r1, c1 = self.box
        part = _turned(plane[None], self.transpose, self.flip_rows, self.flip_columns)[0, r0:r1, c0:c1]
        image = Image.fromarray(np.ascontiguousarray(part, dtype=np.float32))
        return np.asarray(image.resize(self.size[::-1], Image.Resampling.BICUBIC))

    def points(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Carry native pixel edges to the picture.

        Parameters
        ----------
        corners
            ``(k, 2)`` row and column, 0 at the outer edge of the first native pixel.

        Returns
        -------
        numpy.ndarray
            ``(k, 2)`` x and y in the picture, 0 at its upper left corner.
        """
        rows, columns = self.native_shape
        row, column = corners.T
        if self.transpose:
            row, column, rows, columns = column, row, columns, rows
        row = rows - row if self.flip_rows else row
        column = columns - column if self.flip_columns else column
        r0, c0, r1, c1 = self.box
        return np.stack(
            [(column - c0) * self.size[1] / (c1 - c0), (row - r0) * self.size[0] / (r1 - r0)], axis=1
        )


def _turn(geometry: Geometry) -> tuple[bool, bool, bool]:
    """Which of transpose, flipped rows and flipped columns bring the patient upright, left to the right."""
    across, along = geometry.row_direction, geometry.column_direction
    transpose = bool(abs(across[1]) + abs(along[0]) > abs(across[0]) + abs(along[1]))
    down, right = (across, along) if transpose else (along, across)
    return transpose, bool(down[1] < 0), bool(right[0] < 0)


def _turned(planes: NDArray[Any], transpose: bool, flip_rows: bool, flip_columns: bool) -> NDArray[Any]:
    planes = planes.swapaxes(1, 2) if transpose else planes
    return planes[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _head(planes: NDArray[np.int16], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box that holds the head on all planes, with a margin; the whole slice where none is found."""
    boxes, areas = head_boxes(planes)
    found = np.isfinite(boxes).all(axis=1) & (areas > 0.02 * shape[0] * shape[1])
    if not found.any():
        return 0, 0, *shape
    low, high = boxes[found, :2].min(axis=0), boxes[found, 2:].max(axis=0)
    margin = _MARGIN * float((high - low).max())
    r0, c0 = np.maximum(0, np.floor(low - margin)).astype(int)
    r1, c1 = np.minimum(shape, np.ceil(high + margin)).astype(int)
    return int(r0), int(c0), int(r1), int(c1)


def _marks(exam: Exam, turn: tuple[bool, bool, bool]) -> Marks | None:
    if not exam.geometry.orientation_known:
        return None
    across, along = exam.geometry.row_direction, exam.geometry.column_direction
    down, right = (across, along) if turn[0] else (along, across)
    down, right = (-down if turn[1] else down), (-right if turn[2] else right)
    return Marks(_letters(-down), _letters(right), _letters(down), _letters(-right))


def _letters(direction: NDArray[np.float64]) -> str:
    """Name a direction in the patient (LPS) by its main axis and by others it leans to."""
    order = np.argsort(-np.abs(direction))
    kept = [axis for place, axis in enumerate(order) if place == 0 or abs(direction[axis]) > _MINOR_AXIS]
    return "".join("LPH"[axis] if direction[axis] > 0 else "RAF"[axis] for axis in kept)

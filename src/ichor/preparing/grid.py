"""The model's grid: an upright box around the head, and the way there and back.

The grid is rectangular in the patient, whatever the gantry did: its slices lie in the planes of the exam,
its columns of voxels along their normal. A tilted exam, whose slices slide against each other, is so
straightened by shifting each slice; nothing is interpolated between slices that are as thick as the model
wants, and thin slices are averaged to slabs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ichor.exam import AIR_HU, Geometry, interpolate
from ichor.preparing.head import head_boxes, robust_box

__all__ = [
    "GridSpec",
    "GridTransform",
    "Layout",
    "Orientation",
    "SliceDistances",
    "area_means",
    "laid_out",
    "orientation",
    "plan_grid",
]

_IDENTITY_SHARE = 0.7
"""Slices at least this share of a slab apart are taken as they are."""


@dataclass(frozen=True)
class GridSpec:
    """Size of the grid and how it lies about the head.

    Attributes
    ----------
    rows, columns
        Pixels of a slice of the grid.
    margin
        Free border around the head's box, as a share of the box, both sides together.
    slab_mm
        Distance of the grid's slices for exams whose own slices are thinner.
    border
        Pixels of ``rows`` and ``columns`` on each side that do not count when the head is fitted: training
        keeps some surroundings for its augmentation, at the scale that detection has.
    """

    rows: int
    columns: int
    margin: float
    slab_mm: float
    border: int = 0


class SliceDistances(NamedTuple):
    """Where slices lie along their normal, in mm; both rise.

    Attributes
    ----------
    grid
        ``(m,)`` of the model's grid.
    native
        ``(n,)`` of the exam's own slices.
    """

    grid: NDArray[np.float64]
    native: NDArray[np.float64]


@dataclass(frozen=True)
class GridTransform:
    """The way from an exam's voxels to the grid and back.

    Attributes
    ----------
    spec
        Size of the grid.
    geometry
        The exam's own geometry.
    native_shape
        Rows and columns of the exam's slices.
    averaged
        Whether a grid pixel is the mean of the native ones that it covers, instead of antialiased bilinear.
    transpose, flip_rows, flip_columns
        What turns a native slice upright (face up, patient's left on the right): first transpose, then flip.
    origins
        ``(n, 2)`` row, column, in upright native pixels, of the centre of grid pixel (0, 0) in each slice.
    scale
        Upright native pixels for one grid pixel, along rows and along columns.
    pixel_mm
        Side of a grid pixel in mm (a guess where the exam's spacing is unknown).
    corner
        ``(3,)`` patient mm of grid pixel (0, 0), less its part along the normal.
    down, right
        Unit vectors ``(3,)``: growing rows and columns of the grid.
    distances
        ``(m,)`` mm along the normal of the grid's slices.
    to_grid_weights
        ``(m, n)`` weights that make the grid's slices from native ones; rows sum to 1.
    to_native_weights
        ``(n, m)`` weights that carry values of the grid's slices to native ones; rows sum to 1.
    """

    spec: GridSpec
    geometry: Geometry
    native_shape: tuple[int, int]
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    origins: NDArray[np.float64]
    scale: tuple[float, float]
    pixel_mm: float
    corner: NDArray[np.float64]
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    distances: NDArray[np.float64]
    to_grid_weights: NDArray[np.float32]
    to_native_weights: NDArray[np.float32]
    averaged: bool = False

    @property
    def slice_distances(self) -> SliceDistances:
        """Where the grid's slices and the exam's own lie along their normal."""
        return SliceDistances(self.distances, self.geometry.distances)

    @property
    def n_slices(self) -> int:
        """Slices of the grid."""
        return len(self.distances)

    def grid_to_patient(self, voxels: ArrayLike) -> NDArray[np.float64]:
        """Patient mm ``(..., 3)`` of grid voxels ``(..., 3)``: slice, row, column, fractions allowed."""
        voxels = np.asarray(voxels, dtype=np.float64)
        z = interpolate(voxels[..., 0], np.arange(self.n_slices), self.distances, self.spec.slab_mm)
        return np.asarray(
            self.corner
            + z[..., None] * self.geometry.normal
            + voxels[..., 1:2] * self.pixel_mm * self.down
            + voxels[..., 2:3] * self.pixel_mm * self.right
        )

    def patient_to_grid(self, points: ArrayLike) -> NDArray[np.float64]:
        """Grid voxels ``(..., 3)`` of patient mm ``(..., 3)``: the inverse of :meth:`grid_to_patient`."""
        offset = np.asarray(points, dtype=np.float64) - self.corner
        z = offset @ self.geometry.normal
        index = self._slice_index(z)
        return np.stack(
            [index, offset @ self.down / self.pixel_mm, offset @ self.right / self.pixel_mm], axis=-1
        )

    def _slice_index(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        step = self.spec.slab_mm or self.geometry.slice_step
        return interpolate(distances, self.distances, np.arange(self.n_slices), 1 / step)

    def voxels_to_grid(self, voxels: ArrayLike) -> NDArray[np.float64]:
        """Grid voxels ``(..., 3)`` of native voxels ``(..., 3)``: slice, row, column, slices whole."""
        native = np.asarray(voxels, dtype=np.float64)
        k = native[..., 0].astype(np.intp)
        places = native[..., :0:-1] if self.transpose else native[..., 1:]
        shape = self.native_shape[::-1] if self.transpose else self.native_shape
        upright = [
            shape[axis] - 1 - places[..., axis] if flipped else places[..., axis]
            for axis, flipped in enumerate((self.flip_rows, self.flip_columns))
        ]
        index = self._slice_index(self.geometry.distances[k])
        in_plane = [(upright[a] - self.origins[k, a]) / self.scale[a] for a in range(2)]
        return np.stack([index, *in_plane], axis=-1)

    def upright(self, planes: NDArray[np.generic]) -> NDArray[np.generic]:
        """Turn native planes ``(..., rows, columns)`` upright; a view."""
        if self.transpose:
            planes = planes.swapaxes(-1, -2)
        return planes[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def native_to_grid(self, volume: NDArray[np.int16]) -> NDArray[np.float32]:
        """Resample an exam's volume to the grid.

        Each slice is resized with an antialiased bilinear filter; outside the scan is air.

        Parameters
        ----------
        volume
            ``(n, rows, columns)`` HU.

        Returns
        -------
        numpy.ndarray
            ``(m, spec.rows, spec.columns)`` float32 HU.
        """
        size = (self.spec.columns, self.spec.rows)
        planes = np.empty((len(volume), self.spec.rows, self.spec.columns), np.float32)
        for k, plane in enumerate(self.upright(volume)):
            if self.averaged:
                planes[k] = area_means(plane, planes.shape[1:])
                continue
            starts = [o + 0.5 - 0.5 * s for o, s in zip(self.origins[k], self.scale, strict=True)]
            ends = [a + n * s for a, n, s in zip(starts, planes.shape[1:], self.scale, strict=True)]
            before = [max(0, int(np.ceil(-a))) for a in starts]
            after = [max(0, int(np.ceil(b)) - n) for b, n in zip(ends, plane.shape, strict=True)]
            # Only what the box needs (and what the filter reaches beyond it) is converted and padded.
            reach = [int(np.ceil(s)) + 1 for s in self.scale]
            low = [max(0, int(a) - r) for a, r in zip(starts, reach, strict=True)]
            high = [min(n, int(np.ceil(b)) + r) for b, n, r in zip(ends, plane.shape, reach, strict=True)]
            if high[0] <= low[0] or high[1] <= low[1]:
                planes[k] = AIR_HU
                continue
            part = plane[low[0] : high[0], low[1] : high[1]].astype(np.float32)
            if any(before) or any(after):
                part = np.pad(part, list(zip(before, after, strict=True)), constant_values=AIR_HU)
            shift = [b - a for a, b in zip(low, before, strict=True)]
            box = (starts[1] + shift[1], starts[0] + shift[0], ends[1] + shift[1], ends[0] + shift[0])
            box = (max(0.0, box[0]), max(0.0, box[1]), min(part.shape[1], box[2]), min(part.shape[0], box[3]))
            planes[k] = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BILINEAR, box=box))
        if self.to_grid_weights.shape[0] == self.to_grid_weights.shape[1]:
            return planes
        return np.tensordot(self.to_grid_weights, planes, axes=1)

    def grid_to_native(
        self, maps: NDArray[np.float32], slices: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Carry maps on the grid back to native slices.

        Parameters
        ----------
        maps
            ``(m, h, w)``; ``h`` and ``w`` may be a whole fraction of the grid's rows and columns (a map of
            stride 2 has half of them). Outside the grid the result is 0.
        slices
            Native slices wanted; all by default.

        Returns
        -------
        numpy.ndarray
            ``(len(slices), rows, columns)`` float32, native orientation.
        """
        wanted = np.arange(len(self.origins)) if slices is None else np.asarray(slices, dtype=np.intp)
        stride = (self.spec.rows / maps.shape[1], self.spec.columns / maps.shape[2])
        out = np.zeros((len(wanted), *self.native_shape), np.float32)
        upright = self.upright(out)
        at_slices = np.tensordot(self.to_native_weights[wanted], maps, axes=1)
        for plane, values, k in zip(upright, at_slices, wanted, strict=True):
            # Native pixels whose centre lies within the grid, and where the map has them.
            spans, boxes = [], []
            for axis in range(2):
                step = self.scale[axis] * stride[axis]
                start = self.origins[k][axis] + 0.5 - 0.5 * self.scale[axis]
                first = max(0, int(np.ceil(start)))
                end = min(plane.shape[axis], int(np.floor(start + maps.shape[axis + 1] * step)))
                spans.append((first, end))
                boxes.append(((first - start) / step, (end - start) / step))
            (r0, r1), (c0, c1) = spans
            if r1 <= r0 or c1 <= c0:
                continue
            (b0, b1), (a0, a1) = boxes
            box = (a0, b0, min(a1, values.shape[1]), min(b1, values.shape[0]))
            image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
            plane[r0:r1, c0:c1] = np.asarray(
                image.resize((c1 - c0, r1 - r0), Image.Resampling.BILINEAR, box=box)
            )
        return out

    def grid_values_to_native(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Carry one row of values a grid slice ``(m, ...)`` to native slices ``(n, ...)``, linearly."""
        return np.tensordot(self.to_native_weights.astype(np.float64), values, axes=1)


def plan_grid(volume: NDArray[np.int16], geometry: Geometry, spec: GridSpec) -> GridTransform:
    """Lay the grid about the head of an exam.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.
    geometry
        Of the same exam.
    spec
        Size of the grid.

    Returns
    -------
    GridTransform
        Where no tissue is found, the grid covers the whole slice.
    """
    way = orientation(geometry, volume.shape[1:])
    shape, spacing, corner = way.shape, way.spacing, way.corner
    # Upright pixel (0, 0) of each slice in the plane's own pixels, relative to the first slice: gantry tilt.
    slide = corner - corner[0]
    drift = np.stack([slide @ way.down / spacing[0], slide @ way.right / spacing[1]], axis=1)

    boxes, areas = head_boxes(volume)
    boxes = _upright_boxes(boxes, volume.shape[1:], way.transpose, way.flip_rows, way.flip_columns)
    box = robust_box(boxes + np.tile(drift, 2), areas)
    if box is None:
        box = np.array([0.0, 0.0, *shape])
    sides = (box[2:] - box[:2]) * spacing
    fitted = (spec.rows - 2 * spec.border, spec.columns - 2 * spec.border)
    pixel_mm = float(max(sides / fitted)) * (1 + spec.margin)
    scale = (pixel_mm / spacing[0], pixel_mm / spacing[1])
    centre = (box[:2] + box[2:]) / 2 - 0.5
    half = (np.array([spec.rows, spec.columns]) - 1) / 2 * scale
    origins = centre - half - drift  # in upright pixels of each slice
    return laid_out(geometry, spec, way, Layout(origins, scale, pixel_mm))


class Orientation(NamedTuple):
    """What turns an exam's slices upright, and how they lie then.

    Attributes
    ----------
    transpose, flip_rows, flip_columns
        See :class:`GridTransform`.
    down, right
        Unit vectors ``(3,)`` of growing upright rows and columns.
    spacing, shape
        mm between upright rows and columns, and how many there are.
    native_shape
        Rows and columns as read.
    corner
        ``(n, 3)`` patient mm of upright pixel (0, 0) of each slice.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    native_shape: tuple[int, int]
    corner: NDArray[np.float64]


class Layout(NamedTuple):
    """Where a grid lies: see :class:`GridTransform`."""

    origins: NDArray[np.float64]
    scale: tuple[float, float]
    pixel_mm: float
    averaged: bool = False


def orientation(geometry: Geometry, native_shape: tuple[int, int]) -> Orientation:
    """Find what turns slices upright: face up, the patient's left on the right."""
    # Which native axis runs to the back, which to the left (LPS y and x)?
    across, along = geometry.row_direction, geometry.column_direction
    transpose = bool(abs(across[1]) + abs(along[0]) > abs(across[0]) + abs(along[1]))
    down, right = (across, along) if transpose else (along, across)
    rows, columns = native_shape
    spacing = geometry.spacing[::-1] if transpose else geometry.spacing
    shape = (columns, rows) if transpose else (rows, columns)
    corner = geometry.positions.astype(np.float64)
    flip_rows, flip_columns = bool(down[1] < 0), bool(right[0] < 0)
    if flip_rows:
        corner = corner + down * (shape[0] - 1) * spacing[0]
    if flip_columns:
        corner = corner + right * (shape[1] - 1) * spacing[1]
    down, right = (-down if flip_rows else down), (-right if flip_columns else right)
    return Orientation(
        transpose, flip_rows, flip_columns, down, right, spacing, shape, (rows, columns), corner
    )


def laid_out(geometry: Geometry, spec: GridSpec, way: Orientation, layout: Layout) -> GridTransform:
    """Return the transform of a grid that lies so."""
    origin = layout.origins[0]
    point = way.corner[0] + origin[0] * way.spacing[0] * way.down + origin[1] * way.spacing[1] * way.right
    distances, to_grid_weights, to_native_weights = _slabs(geometry, spec.slab_mm)
    return GridTransform(
        spec=spec,
        geometry=geometry,
        native_shape=way.native_shape,
        transpose=way.transpose,
        flip_rows=way.flip_rows,
        flip_columns=way.flip_columns,
        origins=layout.origins,
        scale=layout.scale,
        pixel_mm=layout.pixel_mm,
        corner=point - (point @ geometry.normal) * geometry.normal,
        down=way.down,
        right=way.right,
        distances=distances,
        to_grid_weights=to_grid_weights,
        to_native_weights=to_native_weights,
        averaged=layout.averaged,
    )


def area_means(plane: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a plane: each new pixel is the mean of the old ones that it covers, by the share that it covers."""
    weights = []
    for n, m in zip(plane.shape, shape, strict=True):
        edges = np.arange(m + 1) * (n / m)
        old = np.arange(n)
        share = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
        share = np.clip(share, 0, None)
        weights.append((share / share.sum(axis=1, keepdims=True)).astype(np.float32))
    return np.asarray(weights[0] @ plane.astype(np.float32) @ weights[1].T)


def _upright_boxes(
    boxes: NDArray[np.float64], shape: tuple[int, int], transpose: bool, flip_rows: bool, flip_columns: bool
) -> NDArray[np.float64]:
    r0, c0, r1, c1 = boxes.T
    rows, columns = shape
    if transpose:
        r0, c0, r1, c1, rows, columns = c0, r0, c1, r1, columns, rows
    if flip_rows:
        r0, r1 = rows - r1, rows - r0
    if flip_columns:
        c0, c1 = columns - c1, columns - c0
    return np.stack([r0, c0, r1, c1], axis=1)


def _slabs(
    geometry: Geometry, slab_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Distances of the grid's slices, and the weights there and back."""
    n, z = geometry.n_slices, geometry.distances
    if n < 2 or np.mean(geometry.gaps >= _IDENTITY_SHARE * slab_mm) >= 0.8:
        eye = np.eye(n, dtype=np.float32)
        return z, eye, eye
    m = max(2, round((z[-1] - z[0]) / slab_mm) + 1)
    distances = np.linspace(z[0], z[-1], m)
    half = slab_mm / 2
    # Each native slice reaches half-way to its neighbours; a slab takes the share that lies within it.
    edges = np.concatenate([[z[0] - half], (z[1:] + z[:-1]) / 2, [z[-1] + half]])
    low = np.maximum(edges[None, :-1], distances[:, None] - half)
    high = np.minimum(edges[None, 1:], distances[:, None] + half)
    to_grid = np.clip(high - low, 0, None)
    to_grid /= to_grid.sum(axis=1, keepdims=True)
    at = np.interp(z, distances, np.arange(m))
    base = np.minimum(at.astype(int), m - 2)
    to_native = np.zeros((n, m))
    to_native[np.arange(n), base] = 1 - (at - base)
    to_native[np.arange(n), base + 1] = at - base
    return distances, to_grid.astype(np.float32), to_native.astype(np.float32)

"""The grid of networks that take a volume: voxels of one size, resampled as the network's publisher does it.

Slices of an exam may be unevenly spaced, or slide against each other (a gantry's tilt): such a stack is first brought
to even slices, linearly. Then each axis is resampled by splines, aligned as the publisher aligns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy import ndimage

from ichor.exam import AIR_HU, Geometry
from ichor.preparing.grid import GridSpec, GridTransform, Layout, laid_out, orientation

__all__ = ["VolumeFrame", "VolumeTransform", "plan_volume"]

_OWN_AXES = ("SI", "PA", "LR")
"""Where slices, rows and columns of the grid grow to, and the opposite ways."""
_EVEN_SHARE = 0.02
"""Gaps that differ from their median by no more than this share are even."""
_MOST_SLIDE = 0.5
"""Pixels by which slices may slide against each other and still lie straight above each other."""


class VolumeFrame(BaseModel):
    """How a volume is resampled to the network's voxels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voxel_mm: tuple[float, float, float]
    """Side of a voxel along each of `axes`."""
    axes: str = "SPL"
    """Where the network's axes grow to, in letters: superior or inferior, posterior or anterior, left or right."""
    order: Literal[0, 1, 3] = 1
    """Of the spline: nearest, linear or cubic."""
    order_slices: Literal[0, 1, 3] = 1
    """The same across slices, where `separate_above` has them resampled by themselves."""
    separate_above: float | None = Field(default=None, gt=1)
    """Slices are resampled in their planes first, and then across, where a voxel of the exam (or, failing that, of the
    grid) is more than so many times as high as wide; by default never."""
    aligned: Literal["edges", "centres"] = "edges"
    """Whether exam and grid share the outer edges, with voxels stretched to fit, or the centre of the first voxel."""
    clipped: Literal["before", "after"] = "after"
    """Whether HU are clipped to the channel's window before resampling, or after it."""

    @field_validator("voxel_mm")
    @classmethod
    def _is_a_size(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(0 < side < float("inf") for side in value):
            raise ValueError("expected three lengths in mm, above 0")
        return value

    @field_validator("axes")
    @classmethod
    def _names_each_axis_once(cls, value: str) -> str:
        if len(value) != 3 or any(sum(letter in own for letter in value) != 1 for own in _OWN_AXES):
            raise ValueError("expected one letter each of S or I, P or A, L or R")
        return value

    @property
    def places(self) -> tuple[int, ...]:
        """For slices, rows and columns of the grid, which of :attr:`axes` each is."""
        return tuple(next(k for k in range(3) if self.axes[k] in own) for own in _OWN_AXES)

    @property
    def runs_back(self) -> tuple[bool, ...]:
        """For slices, rows and columns of the grid, whether the network's axis runs the other way."""
        return tuple(self.axes[place] == own[1] for place, own in zip(self.places, _OWN_AXES, strict=True))

    def to_axes(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Turn a volume ``(..., slices, rows, columns)`` to the network's axes; a view."""
        lead = tuple(range(volume.ndim - 3))
        turned = volume[self._turned]
        own = np.argsort(self.places)  # the own axis that each of the network's is
        return np.asarray(turned.transpose(*lead, *(len(lead) + int(k) for k in own)))

    def from_axes(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_axes`; a view."""
        lead = tuple(range(volume.ndim - 3))
        turned = volume.transpose(*lead, *(len(lead) + k for k in self.places))
        return np.asarray(turned[self._turned])

    @property
    def _turned(self) -> Any:
        """What turns those axes of the grid around that the network has the other way."""
        return (..., *(slice(None, None, -1 if back else 1) for back in self.runs_back))


class _Axis(NamedTuple):
    """How one axis is resampled: voxel ``i`` of ``size`` lies at ``start + i * scale``, in voxels of the exam."""

    size: int
    start: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class VolumeTransform(GridTransform):
    """The way from an exam's voxels to a volume's grid and back.

    Attributes
    ----------
    axes
        Of slices, rows and columns, from an even, straight stack of upright slices.
    order, order_slices
        Of the splines; ``order_slices`` None: across slices as within.
    clip
        HU below and above which values are clipped before resampling; None: not then.
    straightening
        ``(k, n)`` weights that make even slices of the exam's; None where they are even and straight.
    slide
        ``(n, 2)`` upright pixels by which each slice is shifted to lie straight above the middle one.
    """

    axes: tuple[_Axis, _Axis, _Axis]
    order: int
    order_slices: int | None
    clip: tuple[float, float] | None
    straightening: NDArray[np.float32] | None
    slide: NDArray[np.float64]

    def native_to_grid(self, volume: NDArray[np.int16]) -> NDArray[np.float32]:
        """Resample an exam's volume ``(n, rows, columns)`` of HU to the grid, ``(m, spec.rows, spec.columns)``."""
        planes: NDArray[np.float32] = np.asarray(self.upright(volume), dtype=np.float32)
        if self.clip is not None:
            planes = np.clip(planes, *self.clip)
        if self.straightening is not None:
            air = AIR_HU if self.clip is None else self.clip[0]
            moved = [
                ndimage.shift(plane, by, order=1, cval=air) if np.abs(by).max() > 0 else plane
                for plane, by in zip(planes, self.slide, strict=True)
            ]
            planes = np.tensordot(self.straightening, np.stack(moved), axes=1)
        return _resampled(planes, self.axes, self.order, self.order_slices)


def plan_volume(
    volume: NDArray[np.int16],
    geometry: Geometry,
    spec: GridSpec,
    frame: VolumeFrame,
    clip: tuple[float, float] | None,
) -> VolumeTransform:
    """Lay a grid of the network's voxels over an exam.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.
    geometry
        Of the same exam.
    spec
        Its size is not looked at: the grid is as large as the exam.
    frame
        The network's voxels.
    clip
        HU to which values are clipped where the frame asks for that before resampling.

    Returns
    -------
    VolumeTransform
        The way there and back. Where an exam's spacing is unknown, that of its geometry stands in.
    """
    n = len(volume)
    way = orientation(geometry, volume.shape[1:])
    straight = _straightening(geometry, way.corner, way.down, way.right, way.spacing)
    even, weights, drift = straight
    step = float(even[-1] - even[0]) / (len(even) - 1) if len(even) > 1 else geometry.slice_step
    spacing = (step, *way.spacing)
    own_mm = [frame.voxel_mm[place] for place in frame.places]
    sizes = zip((len(even), *way.shape), spacing, own_mm, frame.runs_back, strict=True)
    axes = tuple(_axis(size, own, mm, frame.aligned, back) for size, own, mm, back in sizes)
    across, down, right = axes
    distances = even[0] + (across.start + across.scale * np.arange(across.size)) * step
    origins = np.array([[down.start, right.start]]) - drift
    scale = (down.scale, right.scale)
    size = GridSpec(down.size, right.size, spec.margin, step * across.scale)
    plain = laid_out(geometry, size, way, Layout(origins, scale, scale[0] * way.spacing[0]))
    there = _linear(distances, geometry.distances) if n > 1 else np.ones((len(distances), 1), np.float32)
    back = _linear(geometry.distances, distances)
    return VolumeTransform(
        **vars(plain)
        | {"distances": distances, "to_grid_weights": there, "to_native_weights": back, "averaged": False},
        axes=(across, down, right),
        order=frame.order,
        order_slices=frame.order_slices if _separate(spacing, own_mm, frame.separate_above) else None,
        clip=clip if frame.clipped == "before" else None,
        straightening=weights,
        slide=drift,
    )


def _straightening(
    geometry: Geometry,
    corner: NDArray[np.float64],
    down: NDArray[np.float64],
    right: NDArray[np.float64],
    spacing: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None, NDArray[np.float64]]:
    """Return distances of even slices, what makes them of the exam's (None: nothing has to), and each one's slide."""
    z = geometry.distances
    slide = corner - corner[len(corner) // 2]
    drift = np.stack([slide @ down / spacing[0], slide @ right / spacing[1]], axis=1)
    straight = bool(np.abs(drift).max() <= _MOST_SLIDE)
    if straight:
        drift = np.zeros_like(drift)
    gaps = geometry.gaps
    even = len(z) < 3 or bool(np.abs(gaps - np.median(gaps)).max() <= _EVEN_SHARE * np.median(gaps))
    if even and straight:
        return z, None, drift
    step = geometry.slice_step
    places = z if even else np.linspace(z[0], z[-1], max(2, round((z[-1] - z[0]) / step) + 1))
    return places, _linear(places, z), drift


def _linear(at: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return weights ``(len(at), len(known))`` of linear interpolation, flat beyond the ends."""
    weights = np.zeros((len(at), len(known)), np.float32)
    if len(known) == 1:
        weights[:] = 1
        return weights
    places = np.interp(at, known, np.arange(len(known)))
    low = np.minimum(places.astype(int), len(known) - 2)
    rows = np.arange(len(at))
    weights[rows, low] = 1 - (places - low)
    weights[rows, low + 1] = places - low
    return weights


def _axis(size: int, spacing: float, mm: float, aligned: str, back: bool) -> _Axis:
    """Resample an axis of ``size`` voxels; one that the network has the other way is counted from its other end."""
    if aligned == "edges":
        new = max(1, round(size * spacing / mm))
        scale = size / new
        return _Axis(new, 0.5 * scale - 0.5, scale)
    new = max(1, round((size - 1) * spacing / mm + 1))
    scale = mm / spacing
    return _Axis(new, size - 1 - (new - 1) * scale if back else 0.0, scale)


def _separate(spacing: tuple[float, ...], own_mm: list[float], above: float | None) -> bool:
    """Tell whether slices are to be resampled in their planes first: the exam decides, else the grid."""
    if above is None:
        return False
    for sides in (spacing, own_mm):
        if max(sides) / min(sides) > above:
            # Only slices that lie far apart are meant, and no pixels that are longer than wide.
            return sides[0] == max(sides) and max(sides[1:]) < max(sides)
    return False


def _resampled(
    planes: NDArray[np.float32], axes: tuple[_Axis, _Axis, _Axis], order: int, order_slices: int | None
) -> NDArray[np.float32]:
    """Resample by splines; no value leaves the range of those that it comes from."""
    if all(axis == (size, 0.0, 1.0) for axis, size in zip(axes, planes.shape, strict=True)):
        return planes
    if order_slices is None:
        return _splines(planes, axes, order)
    across, *within = axes
    if any(axis != (size, 0.0, 1.0) for axis, size in zip(within, planes.shape[1:], strict=True)):
        planes = np.stack([_splines(plane, within, order) for plane in planes])
    if across == (len(planes), 0.0, 1.0):
        return planes
    if order_slices == 0:
        # Summed so that what lies half-way between two slices does so exactly where edges are shared.
        moved = across.start - (0.5 * across.scale - 0.5)
        at = (np.arange(across.size) + 0.5) * across.scale - 0.5 + moved
        nearest = np.floor(at + 0.5).astype(int)
        return np.asarray(planes[np.clip(nearest, 0, len(planes) - 1)])
    same = [_Axis(size, 0.0, 1.0) for size in planes.shape[1:]]
    return _splines(planes, [across, *same], order_slices)


def _splines(values: NDArray[np.float32], axes: Any, order: int) -> NDArray[np.float32]:
    found: NDArray[np.float32] = ndimage.affine_transform(
        values,
        [axis.scale for axis in axes],
        offset=[axis.start for axis in axes],
        output_shape=tuple(axis.size for axis in axes),
        output=np.float32,
        order=order,
        mode="nearest",
    )
    np.clip(found, values.min(), values.max(), out=found)
    return found

"""From an exam or a picture to what the network takes: the one code path of training and detection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ichor.exam import AIR_HU, Exam, Geometry, Picture
from ichor.preparing.grid import GridSpec, GridTransform, plan_grid
from ichor.preparing.image_frame import plan_image
from ichor.preparing.volume_frame import VolumeFrame, plan_volume
from ichor.preparing.windows import BRAIN, Window, from_grey

__all__ = [
    "Channel",
    "Preparation",
    "Prepared",
    "neighbour_indices",
    "picture_geometry",
    "picture_volume",
    "prepare",
]


_CLIPPED_GREYS = 1
"""Greys from either end that a clipped value may have: compression ripples."""


class Channel(BaseModel):
    """One input channel of the network: a slice of the neighbourhood in one window."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: int
    """Which slice: 0 the one assessed, -1 the one below, +1 the one above."""
    level: float
    width: float


class Preparation(BaseModel):
    """Everything that fixes what the network sees; part of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(default=320, ge=1)
    columns: int = Field(default=256, ge=1)
    margin: float = 0.06
    slab_mm: float = Field(default=5.0, ge=0)
    max_gap_mm: float = 12.0
    """A slice farther away than this is no neighbour; the slice itself stands in."""
    frame: Literal["head", "image", "volume"] = "head"
    """What the grid covers: the head, at one scale; the image's own pixels, cropped or padded about its middle; or the
    whole exam, in voxels of the size that `volume` has (`rows`, `columns` and `slab_mm` then say nothing)."""
    volume: VolumeFrame | None = None
    """Of the frame `volume`: how the exam is resampled."""
    resize_above: int | None = Field(default=None, ge=1)
    """Of the frame `image`: an image with more rows or columns than this is averaged to the grid as a whole."""
    pixel_mm: tuple[float, float] | None = None
    """Of the frame `image`: mm between rows and between columns of the grid, to which images are resampled; by default
    they keep their own pixels."""
    beyond: Literal["nearest", "empty"] = "nearest"
    """What stands for a neighbour that is not there: the last slice that is, or air (black in every window)."""
    channels: tuple[Channel, ...] = (
        Channel(offset=-1, level=40, width=80),
        Channel(offset=0, level=40, width=80),
        Channel(offset=1, level=40, width=80),
        Channel(offset=0, level=80, width=200),
    )

    @model_serializer(mode="wrap")
    def _without_later_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that older versions lack where they say nothing new: hashes and files stay as they were."""
        later = {"frame": "head", "volume": None, "resize_above": None, "pixel_mm": None, "beyond": "nearest"}
        written: dict[str, Any] = write(self)
        return {k: v for k, v in written.items() if k not in later or v != later[k]}

    @model_validator(mode="after")
    def _volume_has_its_frame(self) -> Preparation:
        if (self.frame == "volume") != (self.volume is not None):
            raise ValueError("expected the frame 'volume' and the key volume, or neither")
        if self.volume is None:
            return self
        if any(channel.offset for channel in self.channels):
            raise ValueError("expected channels of offset 0: a volume has its neighbours itself")
        if self.volume.clipped == "before" and len({(c.level, c.width) for c in self.channels}) > 1:
            raise ValueError(
                "expected one window for all channels where values are clipped before resampling"
            )
        return self

    @property
    def grid(self) -> GridSpec:
        """The grid's size."""
        return GridSpec(self.rows, self.columns, self.margin, self.slab_mm)

    def plan(self, volume: NDArray[np.int16], geometry: Geometry) -> GridTransform:
        """Lay the grid over an exam's volume ``(n, rows, columns)`` of HU."""
        if self.volume is not None:
            window = Window(self.channels[0].level, self.channels[0].width)
            return plan_volume(volume, geometry, self.grid, self.volume, (window.low, window.high))
        if self.frame == "image":
            return plan_image(volume, geometry, self.grid, self.resize_above, self.pixel_mm)
        return plan_grid(volume, geometry, self.grid)

    def stack(self, hu: NDArray[np.float32], distances: NDArray[np.float64]) -> NDArray[np.float32]:
        """Window and stack slices of the grid.

        Parameters
        ----------
        hu
            ``(m, rows, columns)`` HU on the grid.
        distances
            ``(m,)`` mm along the normal.

        Returns
        -------
        numpy.ndarray
            ``(m, channels, rows, columns)`` float32, 0..1.
        """
        out = np.empty((len(hu), len(self.channels), *hu.shape[1:]), np.float32)
        near = {c.offset: neighbour_indices(distances, c.offset, self.max_gap_mm) for c in self.channels}
        there = {offset: index - np.arange(len(hu)) == offset for offset, index in near.items()}
        air = np.full((1, *hu.shape[1:]), AIR_HU, np.float32) if self.beyond == "empty" else None

        def planes(k: int) -> Callable[[int], NDArray[np.float32]]:
            def plane(offset: int) -> NDArray[np.float32]:
                if air is not None and not there[offset][k]:
                    return air
                return hu[near[offset][k : k + 1]]

            return plane

        for k in range(len(hu)):  # slice by slice: intermediate values stay in the processor's cache
            self.fill(out[k : k + 1], planes(k))
        return out

    def fill(self, out: Any, plane: Callable[[int], Any]) -> None:
        """Write the network's input: the one place where planes become channels, in detection and in training.

        Parameters
        ----------
        out
            ``(n, channels, rows, columns)`` float32, 0..1, of numpy or torch; is written to.
        plane
            Gives the neighbours ``(n, rows, columns)`` float32 HU at an offset, as the same kind of array.
        """
        for c, channel in enumerate(self.channels):
            window = Window(channel.level, channel.width)
            out[:, c] = ((plane(channel.offset) - window.low) / window.width).clip(0, 1)

    @property
    def reach(self) -> int:
        """How many places away the farthest neighbour lies that a channel shows."""
        return max(abs(channel.offset) for channel in self.channels)


@dataclass(frozen=True)
class Prepared:
    """An exam on the model's grid.

    Attributes
    ----------
    hu
        ``(m, rows, columns)`` float32 HU.
    transform
        The way back to the exam.
    stack
        ``(m, channels, rows, columns)`` float32, 0..1: the network's input.
    reach_mm
        Distances along the normal between which there may be brain; None where that is not known.
    """

    hu: NDArray[np.float32]
    transform: GridTransform
    stack: NDArray[np.float32]
    reach_mm: tuple[float, float] | None = None

    @property
    def near_brain(self) -> NDArray[np.bool_]:
        """``(m,)`` which slices may show brain: all where that is not known."""
        distances = self.transform.distances
        if self.reach_mm is None:
            return np.ones(len(distances), bool)
        return np.asarray((distances >= self.reach_mm[0]) & (distances <= self.reach_mm[1]))


def neighbour_indices(
    distances: NDArray[np.float64],
    offset: int,
    max_gap_mm: float,
    *,
    start: NDArray[np.intp] | None = None,
    exam: NDArray[np.integer] | None = None,
) -> NDArray[np.intp]:
    """Index of each slice's neighbour ``offset`` places away, walking over no gap wider than ``max_gap_mm``.

    Beyond the stack's ends, and beyond a gap, the walk stays where it is.

    Parameters
    ----------
    distances
        ``(n,)`` mm along the normal.
    offset
        Places upward; negative downward.
    max_gap_mm
        The widest gap that is walked over.
    start
        ``(k,)`` slices whose neighbours are asked for; by default all.
    exam
        ``(n,)`` number of the exam of each slice, where the slices of several follow each other: the walk stays in one.

    Returns
    -------
    numpy.ndarray
        ``(k,)``.
    """
    n = len(distances)
    index = np.arange(n) if start is None else np.asarray(start)
    step = int(np.sign(offset))
    for _ in range(abs(offset)):
        after = np.clip(index + step, 0, n - 1)
        near = np.abs(distances[after] - distances[index]) <= max_gap_mm
        if exam is not None:
            near &= exam[after] == exam[index]
        index = np.where(near, after, index)
    return index


def picture_geometry(n: int = 1) -> Geometry:
    """Stand-in geometry of ``n`` pictures, 5 mm apart, upright, without a known pixel size."""
    return Geometry(
        positions=np.stack([np.zeros(n), np.zeros(n), 5.0 * np.arange(n)], axis=1),
        row_direction=np.array([1.0, 0.0, 0.0]),
        column_direction=np.array([0.0, 1.0, 0.0]),
        spacing=(0.5, 0.5),
        spacing_known=False,
        positions_known=False,
    )


def picture_volume(picture: Picture) -> NDArray[np.int16]:
    """``(1, rows, columns)`` HU of a picture by its window, by the brain window where that is not known.

    What a narrower window than the brain window shows black or white may be anything beyond: it is taken to lie at
    that window's end, so that bone and blood do not look like brain.
    """
    window = BRAIN if picture.window is None else Window(picture.window.level, picture.window.width)
    hu = from_grey(picture.grey, window)
    if window.low > BRAIN.low:
        hu[picture.grey <= _CLIPPED_GREYS] = BRAIN.low
    if window.high < BRAIN.high:
        hu[picture.grey >= 255 - _CLIPPED_GREYS] = BRAIN.high
    return hu[None]


def prepare(subject: Exam | Picture, preparation: Preparation) -> Prepared:
    """Bring an exam or a picture to the model's grid and stack it.

    Parameters
    ----------
    subject
        What was read. A picture is turned into HU by its window.
    preparation
        From the bundle or the recipe.

    Returns
    -------
    Prepared
        The network's input and the way back.
    """
    if isinstance(subject, Picture):
        volume, geometry = picture_volume(subject), picture_geometry()
    else:
        volume, geometry = subject.volume, subject.geometry
    transform = preparation.plan(volume, geometry)
    hu = transform.native_to_grid(volume)
    return Prepared(hu, transform, preparation.stack(hu, transform.distances))

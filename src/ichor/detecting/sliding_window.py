"""A window that is moved over a volume: where it goes, and how what it gives is put together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["SlidingWindow", "slide"]


class SlidingWindow(BaseModel):
    """How a network of a fixed input goes over a volume; lengths are in voxels, along the network's own axes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[int, int, int]
    """What one window scores."""
    context: tuple[int, int, int] = (0, 0, 0)
    """How far the network looks beyond that, on either side: its input is so much larger."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again, at least."""
    placed: Literal["even", "steps", "tiles"] = "even"
    """`even`: at equal distances, from end to end. `steps`: at a fixed distance, the last one moved back to the end.
    `tiles`: the same without moving it back, so that it reaches beyond the end."""
    weights: Literal["uniform", "gaussian"] = "gaussian"
    """What the scores of a window count, in its middle and towards its borders, where windows overlap."""
    sigma: float = Field(default=0.125, gt=0)
    """Of the Gaussian, as a share of the window."""
    least: float = Field(default=0.0, ge=0, le=1)
    """Of the Gaussian, whose top is 1: no weight is below this."""
    middle: Literal["between", "upper"] = "between"
    """Of a window with an even number of voxels: its middle lies between two of them, or on the upper one."""
    beyond: float | Literal["edge"] = 0.0
    """What the network sees beyond the volume: a value, on the scale of its input (0..1 within the channel's window),
    or the outermost voxels again."""

    @field_validator("size")
    @classmethod
    def _holds_voxels(cls, size: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(size) < 1:
            raise ValueError("expected three numbers of voxels, 1 or more")
        return size

    @field_validator("context")
    @classmethod
    def _is_no_less_than_nothing(cls, context: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(context) < 0:
            raise ValueError("expected three numbers of voxels, 0 or more")
        return context

    @property
    def input_size(self) -> tuple[int, ...]:
        """What the network takes."""
        return tuple(size + 2 * more for size, more in zip(self.size, self.context, strict=True))

    def starts(self, length: int, axis: int) -> list[int]:
        """Return where windows begin along an axis of this length, at least that of a window."""
        size = self.size[axis]
        if self.placed == "even":
            count = int(np.ceil((length - size) / (size * (1 - self.overlap)))) + 1
            step = (length - size) / max(1, count - 1)
            return [int(np.round(step * k)) for k in range(count)]
        step = max(1, int(size * (1 - self.overlap)))
        count = max(0, -(-(length - size) // step)) + 1
        last = length if self.placed == "tiles" else length - size
        return [min(step * k, last) for k in range(count)]

    def weight(self) -> NDArray[np.float32]:
        """Return what each voxel of a window counts, ``size``."""
        if self.weights == "uniform":
            return np.ones(self.size, np.float32)
        whole = np.ones((1, 1, 1))
        for axis, size in enumerate(self.size):
            middle = size // 2 if self.middle == "upper" else (size - 1) / 2
            bell = np.exp(-0.5 * ((np.arange(size) - middle) / (self.sigma * size)) ** 2)
            whole = whole * np.expand_dims(bell, [k for k in range(3) if k != axis])
        return np.asarray(np.maximum(whole, max(self.least, 1e-9)), dtype=np.float32)


def slide(
    volume: NDArray[np.float32],
    plan: SlidingWindow,
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Score a volume window by window.

    A window that shows one value alone, as of air, is scored once for each such value.

    Parameters
    ----------
    volume
        ``(channels, a, b, c)``, the network's input.
    plan
        How the window goes.
    run
        Scores windows: ``(channels, *plan.input_size)`` to ``(classes, *plan.size)``.

    Returns
    -------
    numpy.ndarray
        ``(classes, a, b, c)``: the weighted mean of what windows give.
    """
    shape = volume.shape[1:]
    inner = [max(n, size) for n, size in zip(shape, plan.size, strict=True)]
    starts = [plan.starts(n, axis) for axis, n in enumerate(inner)]
    ends = [max(n, at[-1] + size) for n, at, size in zip(inner, starts, plan.size, strict=True)]
    before = [0 if plan.placed == "tiles" else (a - n) // 2 for a, n in zip(inner, shape, strict=True)]
    after = [end - n - b for end, n, b in zip(ends, shape, before, strict=True)]
    room = [(b + c, a + c) for b, a, c in zip(before, after, plan.context, strict=True)]
    padded = (
        np.pad(volume, [(0, 0), *room], mode="edge")
        if isinstance(plan.beyond, str)
        else np.pad(volume, [(0, 0), *room], constant_values=plan.beyond)
    )
    weight, total, covered = plan.weight(), np.empty(0, np.float32), np.zeros(ends, np.float32)
    plain: dict[bytes, NDArray[np.float32]] = {}
    for start in product(*starts):
        seen = tuple(slice(s, s + n) for s, n in zip(start, plan.input_size, strict=True))
        part = padded[(slice(None), *seen)]
        lowest = part.min(axis=(1, 2, 3))
        key = lowest.tobytes() if np.array_equal(lowest, part.max(axis=(1, 2, 3))) else b""
        scores = plain[key] if key in plain else run(np.ascontiguousarray(part))
        if key:
            plain[key] = scores
        if not total.size:
            total = np.zeros((len(scores), *ends), np.float32)
        place = tuple(slice(s, s + n) for s, n in zip(start, plan.size, strict=True))
        total[(slice(None), *place)] += scores * weight
        covered[place] += weight
    kept = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return np.asarray(total[(slice(None), *kept)] / covered[kept])

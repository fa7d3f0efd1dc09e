"""How well a bleed is located: overlap with drawn masks, and whether the highest point of the map lies in a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.evaluating.metrics import Interval, bootstrap

__all__ = ["Overlap", "Point", "mean_dice", "overlap", "peak_point", "pointing_accuracy", "pooled_dice"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Overlap:
    """What a slice's outlined pixels share with its drawn ones.

    Attributes
    ----------
    patient
        Whom intervals draw.
    shared, outlined, drawn
        Pixels in both, in ours, in the truth.
    """

    patient: str
    shared: int
    outlined: int
    drawn: int

    @property
    def dice(self) -> float:
        """Twice the shared over the sum of both; 1 where both are empty."""
        total = self.outlined + self.drawn
        return 2 * self.shared / total if total else 1.0


@dataclass(frozen=True)
class Point:
    """Where the map of a slice is highest, and whether that is in a box.

    Attributes
    ----------
    patient
        Whom intervals draw.
    hit
        Whether the point lies in any of the slice's boxes.
    area
        The boxes' share of the head in the slice: what a point thrown at random into the head would hit.
    """

    patient: str
    hit: bool
    area: float


def overlap(patient: str, outlined: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Overlap:
    """Compare one slice's masks, ``(rows, columns)`` both."""
    return Overlap(patient, int((outlined & drawn).sum()), int(outlined.sum()), int(drawn.sum()))


def peak_point(
    patient: str, plane: NDArray[np.floating], boxes: Sequence[Box], head: NDArray[np.bool_] | None = None
) -> Point:
    """Find a map's highest pixel and look whether it lies in a box, edges included.

    Parameters
    ----------
    patient
        Whom intervals draw.
    plane
        ``(rows, columns)`` of the slice's own pixels.
    boxes
        x0, y0, x1, y1 in the slice's pixels, where a pixel's centre has whole numbers.
    head
        ``(rows, columns)``; by default all of the plane.
    """
    y, x = np.unravel_index(int(plane.argmax()), plane.shape)
    within = np.ones(plane.shape, bool) if head is None else head
    covered = np.zeros(plane.shape, bool)
    for x0, y0, x1, y1 in boxes:
        covered[max(0, int(np.ceil(y0))) : int(y1) + 1, max(0, int(np.ceil(x0))) : int(x1) + 1] = True
    hit = any(x0 - 0.5 <= x <= x1 + 0.5 and y0 - 0.5 <= y <= y1 + 0.5 for x0, y0, x1, y1 in boxes)
    return Point(patient, hit, float((covered & within).sum() / max(1, within.sum())))


def _ratio(labels: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    total = float(scores.sum())
    return float(labels.sum()) / total if total else float("nan")


def pooled_dice(found: Sequence[Overlap]) -> Interval:
    """Dice of all slices taken as one: twice all shared pixels over the sum of both; large bleeds weigh most."""
    return _interval([2.0 * o.shared for o in found], [float(o.outlined + o.drawn) for o in found], found)


def mean_dice(found: Sequence[Overlap]) -> Interval:
    """Return the mean over slices of each slice's Dice: small bleeds weigh as much as large ones."""
    return _interval([o.dice for o in found], [1.0] * len(found), found)


def pointing_accuracy(found: Sequence[Point]) -> Interval:
    """Return the share of slices whose highest point lies in a box."""
    return _interval([float(p.hit) for p in found], [1.0] * len(found), found)


def _interval(
    above: Sequence[float], below: Sequence[float], found: Sequence[Overlap] | Sequence[Point]
) -> Interval:
    """Sum above over sum below, with its interval over patients."""
    drawn = np.array([one.patient for one in found])
    return bootstrap(_ratio, np.array(above, np.float64), np.array(below, np.float64), drawn)

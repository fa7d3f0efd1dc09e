"""A screen, a film or a page that was photographed from the side: found by its four sides, and flattened.

A camera maps a plane to the picture by a homography. Four corners determine it up to the plane's proportions,
which follow from the camera's focal length: the corners give it where the perspective is strong, and it
hardly matters where it is weak (Zhang and He, Whiteboard scanning and image enhancement,
Digital Signal Processing 2007, 17:414).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = ["Plane", "apply_homography", "find_plane", "flatten", "homography"]

_COARSE_SIDE = 200
_FINE_SIDE = 1000
_LEVELS = (30, 45, 60, 80, 100, 125, 150, 180, 205)
"""Grey values that may part a screen or film from what it lies on."""
_MIN_SHARE = 0.12
"""Of the photograph's pixels; what is smaller is no screen that somebody photographed."""
_MIN_FILLED = 0.86
"""Share of the four-sided figure that the thing must fill: an ellipse fills 0.79."""
_FRAME = 2
"""Coarse pixels from the photograph's edge: a side there is where the photograph ends."""
_INSET = 0.008
"""Of each side, left out when flattening: what a screen lies on must not shine in along its edge."""
_STRAIGHT, _MIN_STRAIGHT = 1.5, 0.7
"""Pixels of the finer picture within which so many of a side's points must lie on its line: skulls bend."""
_CUT_OFF = 0.25
"""How much sooner a side along the photograph's edge is taken off than another: a corner may be cut off."""
_MIN_SIDE = 0.12
"""Of the photograph's longer side."""
_MOST_TURNED = 24.0
"""Degrees of a side from upright or level: a screen turned further was not meant to be read."""
_UPRIGHT = 0.006
"""Of the photograph's longer side: with all corners this near to an upright rectangle's, nothing is done."""
_FOCAL = (0.65, 2.2)
"""Plausible focal lengths in longer sides of the photograph: 24 to 80 mm on the old film of 36 mm."""
_USUAL_FOCAL = 1.0
_ASPECT = (0.4, 2.6)

_Line = tuple[NDArray[np.float64], float]
"""Unit normal n and distance d: the points p with n @ p = d."""


@dataclass(frozen=True)
class Plane:
    """A flat thing in a photograph.

    Attributes
    ----------
    corners
        ``(4, 2)`` x, y in the photograph (pixel centres at integers): upper left, upper right, lower right,
        lower left; some may lie outside of it.
    shape
        Rows and columns of the thing when flattened, without its outermost edge.
    slanted
        False where it is an upright rectangle already.
    """

    corners: NDArray[np.float64]
    shape: tuple[int, int]
    slanted: bool

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``(3, 3)`` from x, y of the flattened picture to x, y of the photograph, homogeneous."""
        right, bottom = self.shape[1] - 1.0, self.shape[0] - 1.0
        whole = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
        inset = whole + (whole - whole.mean(axis=0)) * (2 * _INSET / (1 - 2 * _INSET))
        return homography(inset, self.corners)


def homography(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ``(3, 3)`` matrix that maps four points x, y to four others."""
    x, y = source.T
    u, v = target.T
    one, none = np.ones(4), np.zeros((4, 3))
    plain = np.stack([x, y, one], axis=1)
    left = np.concatenate(
        [
            np.concatenate([plain, none, np.stack([-u * x, -u * y], axis=1)], axis=1),
            np.concatenate([none, plain, np.stack([-v * x, -v * y], axis=1)], axis=1),
        ]
    )
    return np.append(np.linalg.solve(left, np.concatenate([u, v])), 1.0).reshape(3, 3)


def apply_homography(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points ``(n, 2)`` x, y by a homography."""
    out = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(out[:, :2] / out[:, 2:])


def flatten(pixels: NDArray[np.uint8], plane: Plane) -> NDArray[np.uint8]:
    """Show a plane as if from straight above; what the photograph does not show of it is black.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.
    plane
        From :func:`find_plane`, of the same picture.

    Returns
    -------
    numpy.ndarray
        ``plane.shape`` (and 3) uint8.
    """
    # Pillow counts from the corner of a pixel, not from its centre.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = half @ plane.matrix @ np.linalg.inv(half)
    size = (plane.shape[1], plane.shape[0])
    return np.asarray(
        Image.fromarray(pixels).transform(
            size,
            Image.Transform.PERSPECTIVE,
            tuple((matrix / matrix[2, 2]).ravel()[:8]),
            Image.Resampling.BILINEAR,
        )
    )


def find_plane(grey: NDArray[np.uint8]) -> Plane | None:
    """Find the largest four-sided thing: darker or brighter than what it lies on, with four straight sides.

    Parameters
    ----------
    grey
        ``(rows, columns)`` uint8.

    Returns
    -------
    Plane or None
        None where there is none, or too little of it is in the photograph to know its four sides.
    """
    step = max(1, -(-max(grey.shape) // _COARSE_SIDE))
    small = np.asarray(Image.fromarray(grey).reduce(step))
    rough: list[tuple[float, NDArray[np.float64], int | None, bool]] = []
    for things, dark in _large_regions(small):
        sides = _four_sides(things)
        if sides is None:
            continue
        filled = _filled(things, sides[0])
        if filled >= _MIN_FILLED:
            # The largest, but not at the price of sides that fit worse.
            rough.append((float(things.mean()) * (filled - 0.8), *sides, dark))
    fine = max(1, -(-max(grey.shape) // _FINE_SIDE))
    sharp = ndimage.gaussian_filter(np.asarray(Image.fromarray(grey).reduce(fine), np.float32), 1.0)
    for _, corners, cut, dark in sorted(rough, key=lambda r: -r[0]):
        start = (corners + 0.5) * step / fine - 0.5
        refined = _refined(sharp, start, cut, reach=2.5 * step / fine, dark=dark)
        plane = None if refined is None else _as_plane((refined + 0.5) * fine - 0.5, grey.shape)
        if plane is not None:
            return plane
    return None


def _as_plane(corners: NDArray[np.float64], shape: tuple[int, ...]) -> Plane | None:
    corners = _ordered(corners)
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    longest = max(shape)
    along = np.roll(corners, -1, axis=0) - corners
    if sides.min() < _MIN_SIDE * longest or min(_cross(along[k - 1], along[k]) for k in range(4)) <= 0:
        return None
    along = np.abs(along)
    if np.degrees(np.arctan2(along.min(axis=1), along.max(axis=1))).max() > _MOST_TURNED:
        return None
    aspect = _aspect(corners, shape)
    if not _ASPECT[0] < aspect < _ASPECT[1]:
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    upright = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    slanted = bool(np.abs(corners - upright).max() > _UPRIGHT * longest)
    # As many pixels as the photograph gave it, so that nothing is lost; and no more than it has in all.
    width = max(sides[0], sides[2], aspect * max(sides[1], sides[3]))
    width = min(width, 1.5 * longest * max(1.0, aspect))
    return Plane(corners, (max(2, round(width / aspect)), max(2, round(width))), slanted)


def _large_regions(small: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.bool_], bool]]:
    """Large things that are all darker, or all brighter, than a level; with what is within them."""
    for dark in (True, False):
        for level in _LEVELS:
            own = small < level if dark else small > level
            own = np.pad(own, 6, mode="edge")
            # Slices on a sheet leave but thin gaps: closed first, lest the film fall into pieces.
            own = ndimage.binary_erosion(
                ndimage.binary_dilation(own, iterations=2), iterations=2, border_value=1
            )
            labels, count = ndimage.label(ndimage.binary_opening(own, iterations=2))
            labels = labels[6:-6, 6:-6]
            if not count:
                continue
            sizes = np.bincount(labels.ravel(), minlength=count + 1)
            sizes[0] = 0
            largest = int(sizes.argmax())
            if sizes[largest] < _MIN_SHARE / 3 * small.size:
                continue
            thing = ndimage.binary_fill_holes(labels == largest)
            if _MIN_SHARE < thing.mean() < 0.985:
                yield np.asarray(thing), dark


def _four_sides(thing: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int | None] | None:
    """Corners of the four-sided figure around a thing: its hull, less the sides that matter least.

    Taking a side off a convex figure and drawing its neighbours on to where they meet adds a triangle; the
    side whose triangle is smallest goes first. One side may be where the photograph ends: its number is returned.
    """
    edge = thing & ~ndimage.binary_erosion(thing, border_value=0)
    points = np.argwhere(edge)[:, ::-1].astype(float)
    from scipy.spatial import ConvexHull, QhullError  # slow to load, and most inputs are no photograph

    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return None
    while len(corners) > 4:
        n = len(corners)
        on_frame = _on_frame(corners, *thing.shape)
        best, least = -1, np.inf
        meeting = np.zeros(2)
        for k in range(n):
            before, a, b, after = (corners[(k + d) % n] for d in (-1, 0, 1, 2))
            met = _meeting(before, a, b, after)
            if met is None:
                continue
            area = 0.5 * abs(_cross(b - a, met - a)) * (_CUT_OFF if on_frame[k] else 1)
            if area < least:
                best, least, meeting = k, area, met
        if best < 0:
            return None
        corners = corners.copy()
        corners[best] = meeting
        corners = np.delete(corners, (best + 1) % n, axis=0)
    if len(corners) < 4 or np.abs(corners).max() > 3 * max(thing.shape):
        return None
    cut = np.flatnonzero(_on_frame(corners, *thing.shape))
    return None if len(cut) > 1 else (corners, int(cut[0]) if len(cut) else None)


def _on_frame(corners: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.bool_]:
    """Which sides, each from a corner to the next, lie along the picture's own edge."""
    after = np.roll(corners, -1, axis=0)
    out = np.zeros(len(corners), bool)
    for axis, end in ((0, columns - 1), (1, rows - 1)):
        out |= np.maximum(corners[:, axis], after[:, axis]) <= _FRAME
        out |= np.minimum(corners[:, axis], after[:, axis]) >= end - _FRAME
    return out


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _meeting(
    before: NDArray[np.float64],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    after: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Where the sides before and after the side a-b meet beyond it; None where they do not."""
    first, second = a - before, b - after
    turn = _cross(first, second)
    if abs(turn) < 1e-9:
        return None
    along = _cross(b - a, second) / turn
    back = _cross(b - a, first) / turn
    return None if along < 0 or back < 0 else np.asarray(a + along * first)


def _filled(thing: NDArray[np.bool_], corners: NDArray[np.float64]) -> float:
    """Overlap of a thing and a four-sided figure within the picture: intersection over union."""
    image = Image.new("1", thing.shape[::-1])
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in corners], fill=1, outline=1)
    figure = np.array(image, dtype=bool)
    return float((thing & figure).sum() / max(1, (thing | figure).sum()))


def _refined(
    grey: NDArray[np.float32], corners: NDArray[np.float64], cut: int | None, *, reach: float, dark: bool
) -> NDArray[np.float64] | None:
    """Corners where lines meet that were laid through the steepest points near each rough side."""
    lines: list[_Line] = []
    for k in range(4):
        line = (np.zeros(2), 0.0) if k == cut else _side(grey, corners, k, reach=reach, dark=dark)
        if line is None:
            return None
        lines.append(line)
    if cut is not None:
        last = _fourth(lines, cut, (corners[cut] + corners[(cut + 1) % 4]) / 2, grey.shape)
        if last is None:
            return None
        lines[cut] = last
    out = []
    for k in range(4):
        (n1, d1), (n2, d2) = lines[k - 1], lines[k]
        matrix = np.stack([n1, n2])
        if abs(np.linalg.det(matrix)) < 0.2:
            return None
        out.append(np.linalg.solve(matrix, [d1, d2]))
    return np.stack(out)


def _side(
    grey: NDArray[np.float32], corners: NDArray[np.float64], k: int, *, reach: float, dark: bool
) -> _Line | None:
    """Lay a line through the steepest points near the side from corner ``k`` to the next."""
    a, b = corners[k], corners[(k + 1) % 4]
    length = float(np.linalg.norm(b - a))
    along = (b - a) / max(length, 1e-9)
    outward = np.array([along[1], -along[0]])
    if outward @ (a - corners.mean(axis=0)) < 0:
        outward = -outward
    offsets = np.arange(-np.ceil(reach), np.ceil(reach) + 0.25, 0.5)
    at = np.linspace(0.06, 0.94, int(np.clip(length / 3, 12, 250)))[:, None] * (b - a) + a
    places = at[:, None, :] + offsets[None, :, None] * outward
    inside = ((places >= 0) & (places <= np.array(grey.shape[::-1]) - 1)).all(axis=(1, 2))
    if inside.sum() < 8:
        return None
    places = places[inside]
    values = ndimage.map_coordinates(grey, (places[..., 1], places[..., 0]), order=1)
    rise = np.diff(values, axis=1) * (1 if dark else -1)
    steepest = rise.argmax(axis=1)
    strong = rise[np.arange(len(rise)), steepest]
    points = at[inside] + (offsets[steepest] + 0.25)[:, None] * outward
    return _line(points, np.clip(strong, 0, None))


def _fourth(
    lines: list[_Line], cut: int, through: NDArray[np.float64], shape: tuple[int, ...]
) -> _Line | None:
    """Line of a side that the photograph does not show: parallel, on the thing itself, to the one opposite.

    Where the two sides beside it meet is one vanishing point; the other one lies on the side opposite, at a
    right angle to the first as the camera sees it, which a usual focal length tells.
    """
    longest, middle = max(shape), np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    first, opposite, second = (
        np.append(
            lines[(cut + d) % 4][0] * longest, lines[(cut + d) % 4][0] @ middle - lines[(cut + d) % 4][1]
        )
        for d in (1, 2, 3)
    )
    vanishing = np.cross(first, second)
    scale = np.array([1 / _USUAL_FOCAL**2, 1 / _USUAL_FOCAL**2, 1.0])
    other = np.cross(opposite, vanishing * scale)
    line = np.cross(other, np.append((through - middle) / longest, 1.0))
    size = float(np.linalg.norm(line[:2]))
    if size < 1e-9:
        return None
    normal = line[:2] / size
    return normal, float(normal @ middle - line[2] / size * longest)


def _line(points: NDArray[np.float64], weights: NDArray[np.float64]) -> _Line | None:
    """Lay a line through points, those far from it left out step by step: its normal and distance."""
    kept = weights > 0.2 * max(float(np.median(weights)), 1e-6)
    normal, distance = np.zeros(2), 0.0
    for bound in (3.0, 1.5, 1.0, 1.0):
        if kept.sum() < 6:
            return None
        w = weights[kept] / weights[kept].sum()
        centre = w @ points[kept]
        spread = (points[kept] - centre).T @ ((points[kept] - centre) * w[:, None])
        normal = np.linalg.eigh(spread)[1][:, 0]
        distance = float(normal @ centre)
        off = np.abs(points @ normal - distance)
        kept = (weights > 0) & (off <= max(bound, 1.5 * float(np.median(off[kept]))))
    straight = float(np.mean(np.abs(points @ normal - distance) <= _STRAIGHT))
    return (normal, distance) if straight >= _MIN_STRAIGHT else None


def _ordered(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clockwise as seen, from the upper left one: the way a camera held upright within 45 degrees has them."""
    x, y = (corners - corners.mean(axis=0)).T
    corners = corners[np.argsort(np.arctan2(y, x))]
    first = int((corners - corners.mean(axis=0)).sum(axis=1).argmin())
    return np.roll(corners, -first, axis=0)


def _aspect(corners: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Width over height of the rectangle that is seen, the camera's axis taken through the middle."""
    longest = max(shape)
    centred = (corners - [(shape[1] - 1) / 2, (shape[0] - 1) / 2]) / longest
    unit = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    matrix = homography(unit, centred)
    across, down = matrix[:, 0], matrix[:, 1]
    # Both sides are at right angles in space: that fixes the focal length, unless one of them is not foreshortened.
    product = across[2] * down[2]
    squared = -(across[:2] @ down[:2]) / product if abs(product) > 2e-3 else _USUAL_FOCAL**2
    focal = float(np.sqrt(np.clip(squared, _FOCAL[0] ** 2, _FOCAL[1] ** 2)))
    scale = np.array([1 / focal, 1 / focal, 1.0])
    return float(np.linalg.norm(across * scale) / np.linalg.norm(down * scale))

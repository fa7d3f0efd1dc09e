"""The grid of networks that take the image as it is: its own pixels, whatever they measure, about its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ichor.exam import Geometry
from ichor.preparing.grid import GridSpec, GridTransform, Layout, laid_out, orientation

__all__ = ["plan_image"]


def plan_image(
    volume: NDArray[np.int16],
    geometry: Geometry,
    spec: GridSpec,
    resize_above: int | None,
    pixel_mm: tuple[float, float] | None = None,
) -> GridTransform:
    """Lay the grid over the images of an exam.

    Slices are turned upright, and keep their own pixels: what reaches beyond the grid is cropped, what lacks is air,
    as much on either side (where it is odd, one pixel more below and on the right). A gantry's tilt is left as it is.

    Parameters
    ----------
    volume
        ``(n, rows, columns)`` HU.
    geometry
        Of the same exam.
    spec
        Size of the grid; its margin says nothing here. With ``slab_mm`` 0 all slices are taken, however thin.
    resize_above
        An image with more rows or columns than this is averaged to the grid as a whole, in either direction by itself.
    pixel_mm
        mm between rows and between columns of the grid, to which images are resampled about their middle; an image of
        unknown spacing keeps its pixels.

    Returns
    -------
    GridTransform
        The way there and back.
    """
    rows, columns = volume.shape[1:]
    way = orientation(geometry, (rows, columns))
    size = (spec.rows, spec.columns)
    resized = resize_above is not None and max(way.shape) > resize_above
    if resized:
        scale = (way.shape[0] / size[0], way.shape[1] / size[1])
        origin = [0.5 * s - 0.5 for s in scale]
    elif pixel_mm is not None and geometry.spacing_known:
        scale = (pixel_mm[0] / way.spacing[0], pixel_mm[1] / way.spacing[1])
        origin = [(n - 1) / 2 - s * (m - 1) / 2 for n, m, s in zip(way.shape, size, scale, strict=True)]
    else:
        scale = (1.0, 1.0)
        origin = [
            float((n - m) // 2) if n > m else -float((m - n) // 2)
            for n, m in zip(way.shape, size, strict=True)
        ]
    origins = np.tile(np.array(origin), (len(volume), 1))
    return laid_out(geometry, spec, way, Layout(origins, scale, scale[0] * way.spacing[0], resized))

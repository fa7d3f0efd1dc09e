"""The mixture of tissues in a few slices: enough to tell a head from an abdomen or a chest.

This serves the choice of a series and turns away what is plainly another part of the body. Whether the whole
exam is a head fit to be assessed is decided later, and more closely, where the model is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Region", "brain_density", "brain_noise", "region_of", "tissue_shares"]

Region = Literal["head", "elsewhere", "unclear"]

_BLOCK = 4
"""Pixels are averaged over squares of this side: the noise of thin or sharp slices must not count as fat."""
_BODY_HU = -300
_DENSE_HU = (5, 120)
"""Brain before and after contrast."""
_BRAIN_HU, _BONE_HU, _FAT_HU = (5, 80), 250, (-150, -40)


def tissue_shares(hu: NDArray[np.int16]) -> tuple[float, float, float] | None:
    """Shares of brain-like, bone and fat pixels within the body.

    Parameters
    ----------
    hu
        ``(rows, columns)`` HU of one slice.

    Returns
    -------
    tuple of float, or None
        Brain, bone, fat, each of 0 to 1; None where less than 2 % of the slice is body.
    """
    blocks = _blocks(hu)
    n = np.count_nonzero(blocks > _BODY_HU)
    if not blocks.size or n < 0.02 * blocks.size:
        return None
    brain = np.count_nonzero((blocks > _BRAIN_HU[0]) & (blocks < _BRAIN_HU[1])) / n
    bone = np.count_nonzero(blocks > _BONE_HU) / n
    fat = np.count_nonzero((blocks > _FAT_HU[0]) & (blocks < _FAT_HU[1])) / n
    return brain, bone, fat


def region_of(slices: Sequence[NDArray[np.int16]]) -> Region:
    """Return the part of the body from the medians of the tissue shares of middle slices of a series.

    A head is much brain in a shell of bone with little fat. A trunk is a quarter fat or more, and less than
    half of it has the density of brain. Measured on the exams that this was built with, slices of heads have
    1 to 20 % of fat, and those of abdomens and chests 33 to 58 %.
    """
    shares = [s for s in map(tissue_shares, slices) if s is not None]
    if not shares:
        return "unclear"
    brain, bone, fat = np.median(shares, axis=0)
    if fat > 0.28 and brain < 0.45:
        return "elsewhere"
    if brain > 0.35 and 0.04 < bone < 0.45 and fat < 0.25:
        return "head"
    return "unclear"


def brain_density(slices: Sequence[NDArray[np.int16]]) -> float | None:
    """Median HU of what is as dense as brain, before or after contrast, in slices of a head; None where nothing is."""
    medians = []
    for hu in slices:
        blocks = _blocks(hu)
        brain = blocks[(blocks > _DENSE_HU[0]) & (blocks < _DENSE_HU[1])]
        if brain.size:
            medians.append(float(np.median(brain)))
    return float(np.median(medians)) if medians else None


def brain_noise(slices: Sequence[NDArray[np.int16]]) -> float | None:
    """Noise in HU of what is as dense as brain: from neighbouring pixels; None where nothing is."""
    found = []
    for hu in slices:
        blocks = _blocks(hu)
        brain = np.kron(
            (blocks > _DENSE_HU[0]) & (blocks < _DENSE_HU[1]), np.ones((_BLOCK, _BLOCK), np.bool_)
        )
        rows, columns = brain.shape
        steps = np.abs(np.diff(hu[:rows, :columns].astype(np.float32), axis=1))
        within = brain[:, 1:] & brain[:, :-1]
        if within.any():
            # Half of normal noise lies within 0.674 deviations, and a difference has the noise of two pixels.
            found.append(float(np.median(steps[within])) / (0.6745 * np.sqrt(2)))
    return float(np.median(found)) if found else None


def _blocks(hu: NDArray[np.int16]) -> NDArray[np.float64]:
    """Means over squares of ``_BLOCK`` pixels."""
    rows, columns = (n // _BLOCK * _BLOCK for n in hu.shape)
    squares = hu[:rows, :columns].reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.float64)

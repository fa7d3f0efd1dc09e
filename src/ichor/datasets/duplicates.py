"""Pictures that are the same picture twice: copied, resized, mirrored, cut or windowed a little otherwise.

A perceptual hash (imagehash) proposes pairs, and the correlation of both pictures, one laid over the other,
decides: two neighbouring slices of a head hash alike, too, but do not correlate like copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ALIKE", "SAME", "DuplicatePair", "duplicate_pairs", "groups_of"]

_PROPOSED_BITS = 24
"""Of 64: pairs whose hashes differ by at most this are looked at."""
SAME = 0.94
"""Correlation from which two pictures are taken for one."""
ALIKE = 0.88
"""From which they may be of one head: neighbouring slices, too. Splits keep these together."""
_SIDE = 64


@dataclass(frozen=True)
class DuplicatePair:
    """Two pictures that are one.

    Attributes
    ----------
    first, second
        Their names.
    correlation
        Of both laid over each other, at most 1.
    exact
        Whether they are equal, pixel by pixel.
    mirrored
        Whether one is the other's mirror image.
    """

    first: str
    second: str
    correlation: float
    exact: bool
    mirrored: bool


def duplicate_pairs(pictures: Mapping[str, NDArray[np.uint8]], least: float = SAME) -> list[DuplicatePair]:
    """Find pictures that are copies of each other.

    Parameters
    ----------
    pictures
        ``(rows, columns)`` uint8 by name, each cut to its head.
    least
        Correlation from which a pair is given.

    Returns
    -------
    list of DuplicatePair
        In the order of the names.
    """
    names = sorted(pictures)
    if len(names) < 2:
        return []
    exact = {name: _digest(pictures[name]) for name in names}
    thumbs = {name: _thumbnail(pictures[name]) for name in names}
    hashes = np.stack([_hash(pictures[name]) for name in names])
    mirrored_hashes = np.stack([_hash(pictures[name][:, ::-1]) for name in names])
    pairs = []
    for i, first in enumerate(names):
        near = (hashes[i + 1 :] != hashes[i]).sum(axis=1) <= _PROPOSED_BITS
        near_mirrored = (mirrored_hashes[i + 1 :] != hashes[i]).sum(axis=1) <= _PROPOSED_BITS
        for j in i + 1 + np.flatnonzero(near | near_mirrored):
            second = names[j]
            plain = _best_correlation(thumbs[first], thumbs[second])
            mirror = _best_correlation(thumbs[first], thumbs[second][:, ::-1])
            same = exact[first] == exact[second]
            if same or max(plain, mirror) >= least:
                pairs.append(
                    DuplicatePair(first, second, 1.0 if same else max(plain, mirror), same, mirror > plain)
                )
    return pairs


def groups_of(names: list[str], pairs: list[DuplicatePair]) -> dict[str, str]:
    """Give each picture the first name of its group: those that are copies directly or by a chain.

    Parameters
    ----------
    names
        All pictures.
    pairs
        What :func:`duplicate_pairs` found.
    """
    group = {name: name for name in names}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for pair in pairs:
        a, b = sorted((root(pair.first), root(pair.second)))
        group[b] = a
    return {name: root(name) for name in names}


def _hash(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    import imagehash

    return np.asarray(imagehash.phash(Image.fromarray(np.ascontiguousarray(picture))).hash).ravel()


def _digest(picture: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def _best_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlate the middles of two thumbnails, the second shifted by up to two pixels."""
    inner = a[2:-2, 2:-2].ravel()
    inner = inner - inner.mean()
    best = -1.0
    for dy in range(5):
        for dx in range(5):
            other = b[dy : dy + _SIDE - 4, dx : dx + _SIDE - 4].ravel()
            other = other - other.mean()
            norm = float(np.linalg.norm(inner) * np.linalg.norm(other))
            best = max(best, float(inner @ other) / norm if norm else -1.0)
    return best

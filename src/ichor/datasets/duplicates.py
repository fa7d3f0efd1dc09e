"""Duplicates among pictures: stored again, resized, mirrored, turned, cut or windowed a little otherwise.

A perceptual hash (imagehash) proposes pairs, and the correlation of both pictures, one laid over the other,
decides: two neighbouring slices of a head hash alike, too, but do not correlate like duplicates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ALIKE", "PROPOSED_BITS", "SAME", "DuplicatePair", "duplicate_pairs", "groups_of"]

PROPOSED_BITS = 24
"""Of 64: pairs whose hashes differ by at most this are looked at."""
SAME = 0.94
"""Correlation from which two pictures are taken for one."""
ALIKE = 0.88
"""From which they may be of one head: neighbouring slices, too. Splits keep these together."""
_FORMS = [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]
_SIDE = 64
_SHIFT = 2
"""Pixels of a thumbnail by which one of a pair may be shifted."""


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
    turned
        Degrees by which one is turned against the other, after mirroring: 0, 90, 180 or 270.
    """

    first: str
    second: str
    correlation: float
    exact: bool
    mirrored: bool
    turned: int = 0


def duplicate_pairs(
    pictures: Mapping[str, NDArray[np.uint8]],
    least: float = SAME,
    *,
    bits: int = PROPOSED_BITS,
    apart: Mapping[str, str] | None = None,
) -> list[DuplicatePair]:
    """Find pictures that are duplicates of each other.

    Parameters
    ----------
    pictures
        ``(rows, columns)`` uint8 by name, each cut to its head.
    least
        Correlation from which a pair is given; turned by a quarter or more, it must reach :data:`SAME`.
    bits
        Of 64: pairs whose hashes differ by at most this are looked at.
    apart
        Exam by name: two slices of one exam are not compared.

    Returns
    -------
    list of DuplicatePair
        In the order of the names.
    """
    names = sorted(pictures)
    if len(names) < 2:
        return []
    digests = [_digest(pictures[name]) for name in names]
    thumbs = np.stack([_thumbnail(pictures[name]) for name in names])
    # (n, forms, 64): a picture's own hash is that of its first form.
    hashes = np.stack([[_hash(_form(pictures[name], *form)) for form in _FORMS] for name in names])
    exams = np.array([apart[name] if apart else name for name in names])
    pairs = []
    for i, first in enumerate(names[:-1]):
        differing = (hashes[i + 1 :] != hashes[i, 0]).sum(axis=2)
        proposed = (differing <= bits) & (exams[i + 1 :] != exams[i])[:, None]
        for j in i + 1 + np.flatnonzero(proposed.any(axis=1)):
            exact = digests[i] == digests[j]
            found = [
                (_best_correlation(thumbs[i], _form(thumbs[j], mirrored, turns)), mirrored, turns)
                for (mirrored, turns), near in zip(_FORMS, proposed[j - i - 1], strict=True)
                if near
            ]
            correlation, mirrored, turns = max(found, key=lambda f: f[0])
            if exact:
                pairs.append(DuplicatePair(first, names[j], 1.0, True, False))
            elif correlation >= (max(least, SAME) if turns else least):
                pairs.append(DuplicatePair(first, names[j], correlation, False, mirrored, 90 * turns))
    return pairs


def groups_of(names: list[str], pairs: list[DuplicatePair]) -> dict[str, str]:
    """Give each picture the first name of its group: those that are duplicates directly or by a chain.

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


def _form(picture: NDArray[Any], mirrored: bool, turns: int) -> NDArray[Any]:
    return np.rot90(picture[:, ::-1] if mirrored else picture, turns)


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
    inner = a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT].ravel()
    inner = inner - inner.mean()
    side = _SIDE - 2 * _SHIFT
    others = np.lib.stride_tricks.sliding_window_view(b, (side, side)).reshape(-1, side * side)
    others = others - others.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(inner) * np.linalg.norm(others, axis=1)
    return float(np.max(np.divide(others @ inner, norms, out=np.full(len(others), -1.0), where=norms > 0)))

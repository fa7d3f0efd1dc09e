"""The pictures of head-ct-hemorrhage: file, label, grey values, and which of them are near-duplicates."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LabelledPicture", "near_duplicates", "read_pictures"]

_ALIKE = 0.97
"""Correlation of two thumbnails from which pictures are near-duplicates."""


@dataclass(frozen=True)
class LabelledPicture:
    """One picture; ``grey`` ``(rows, columns)`` uint8."""

    number: int
    path: Path
    positive: bool
    grey: NDArray[np.uint8]


def read_pictures(data: Path) -> list[LabelledPicture]:
    """Read all, in the order of the data set's table."""
    root = data / "head-ct-hemorrhage"
    found = []
    with (root / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = root / "head_ct" / f"{int(row['id']):03d}.png"
            with Image.open(path) as image:
                grey = np.asarray(image.convert("L"))
            found.append(LabelledPicture(int(row["id"]), path, row["hemorrhage"] == "1", grey))
    return found


def near_duplicates(pictures: list[LabelledPicture]) -> NDArray[np.intp]:
    """Return the group of each picture, ``(n,)``: those whose thumbnails correlate, directly or by a chain."""
    thumbs = [Image.fromarray(p.grey).resize((32, 32)) for p in pictures]
    alike = np.corrcoef(np.stack([np.asarray(t, np.float64).ravel() for t in thumbs])) > _ALIKE
    group = np.arange(len(pictures))
    for i, j in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
        group[group == group[j]] = group[i]
    return group

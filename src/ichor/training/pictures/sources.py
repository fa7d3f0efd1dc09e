"""Slices for the network that measures a picture's window: heads in HU, and pictures of what is no head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.labelled import Dataset
from ichor.datasets.splits import split_of
from ichor.errors import RefusedInput
from ichor.preparing.head import head_boxes
from ichor.preparing.skull import bone_hu, intracranial

__all__ = ["HeadSlices", "head_slices"]

SIDE = 256
"""Pixels of a slice that is kept, cut to the head and a margin."""
WHOLE_RANGE_HU = 1500.0
"""A source clipped farther apart than this shows air, brain and bone, each as it is."""
_MARGIN = 0.25
"""Of the head's longer side, kept around it."""
_BRAIN_SHARE, _NO_BRAIN_SHARE = 0.12, 0.02
"""Of the head, from which on a slice shows brain, and below which it shows none."""
_BRAIN_HU = (5.0, 90.0)


@dataclass(frozen=True)
class HeadSlices:
    """Slices of several data sets; one entry a slice.

    Attributes
    ----------
    hu
        ``(n, SIDE, SIDE)`` int16, the head in the middle.
    ranges
        ``(n, 2)`` HU below and above which the source is clipped.
    brain
        ``(n,)`` 1 where brain is seen, 0 where none is, NaN where that is not known.
    source, group
        ``(n,)`` data set, and what must stay on one side of a split.
    known
        ``(n,)`` whether the HU are; else only that this is a head.
    """

    hu: NDArray[np.int16]
    ranges: NDArray[np.float64]
    brain: NDArray[np.float64]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    known: NDArray[np.bool_]


def head_slices(datasets: Sequence[Dataset], cache: Path) -> HeadSlices:
    """Cut every slice of some data sets to its head, once: they are kept in a folder.

    Parameters
    ----------
    datasets
        In HU as far as each knows them.
    cache
        Where what was cut is kept, a file a data set.
    """
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for dataset in datasets:
        path = cache / f"{dataset.name}.npz"
        if not path.exists():
            rows = list(_slices_of(dataset))
            columns = [np.array(column) for column in zip(*rows, strict=True)]
            names = ("hu", "ranges", "brain", "source", "group", "known")
            partial = path.with_suffix(".part.npz")
            arrays: dict[str, Any] = dict(zip(names, columns, strict=True))
            np.savez(partial, **arrays)
            partial.replace(path)
        with np.load(path, allow_pickle=False) as kept:
            parts.append(dict(kept))
    return HeadSlices(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _slices_of(
    dataset: Dataset,
) -> Iterator[tuple[NDArray[np.int16], tuple[float, float], float, str, str, bool]]:
    groups = split_of(dataset, 2, 0).groups
    for patient in dataset.patients():
        try:
            labelled = dataset.load(patient)
        except RefusedInput:
            continue
        known = labelled.hu_confidence != "unknown"
        group = f"{dataset.name}/{groups[patient]}"
        low, high = labelled.hu_range
        for plane in labelled.exam.volume:
            cut = _around_head(plane)
            if cut is not None:
                whole = high - low >= WHOLE_RANGE_HU  # in a window, the edge of brain is not told from bone's
                brain = _shows_brain(cut) if whole else float("nan")
                yield cut, (low, high), brain, dataset.name, group, known


def _around_head(plane: NDArray[np.int16]) -> NDArray[np.int16] | None:
    """Cut a square around the head, so that whatever is beyond the slice is as dark as its darkest."""
    box = head_boxes(plane[None])[0][0]
    if not np.isfinite(box).all():
        return None
    half = max(box[2] - box[0], box[3] - box[1]) * (0.5 + _MARGIN)
    row, column = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    pad = int(np.ceil(half))
    padded = np.pad(plane.astype(np.float32), pad, constant_values=float(plane.min()))
    area = (column - half + pad, row - half + pad, column + half + pad, row + half + pad)
    size = (SIDE, SIDE)
    return np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BOX, box=area)).astype(np.int16)


def _shows_brain(plane: NDArray[np.int16]) -> float:
    """Return 1 or 0 by the share of a slice's head that lies within closed bone; NaN in between."""
    head = plane > max(-200, int(plane.min()) + 5)
    if head.sum() < 0.02 * head.size:
        return float("nan")
    inside = intracranial(plane, bone_hu(plane))
    inside &= (plane > _BRAIN_HU[0]) & (plane < _BRAIN_HU[1])
    share = float(inside.sum() / head.sum())
    return 1.0 if share >= _BRAIN_SHARE else 0.0 if share < _NO_BRAIN_SHARE else float("nan")

"""Volumes with voxel masks: what the NIfTI data sets share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import exam_of
from ichor.errors import UsageError
from ichor.exam import Exam

__all__ = ["read_with_mask"]


def read_with_mask(image: Path, mask: Path, name: str) -> tuple[Exam, NDArray[np.int16]]:
    """Read a volume and its mask on the same voxels.

    Parameters
    ----------
    image, mask
        NIfTI files of the same shape.
    name
        For messages.

    Returns
    -------
    exam, classes
        ``(n, rows, columns)`` each, slices sorted towards the vertex.

    Raises
    ------
    UsageError
        Where the mask has another shape or cannot be read.
    """
    import nibabel

    exam, _ = exam_of(image, name)
    meta = exam.source.nifti
    if meta is None:
        raise UsageError(f"{image}: found no NIfTI volume; expected one")
    try:
        stored = np.asarray(nibabel.load(mask).dataobj)  # type: ignore[attr-defined]
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise UsageError(
            f"{mask}: found no mask that can be read ({type(error).__name__}); expected NIfTI; get it again"
        ) from None
    if stored.squeeze().shape != tuple(np.squeeze(np.empty(meta["shape"], bool)).shape):
        raise UsageError(f"{mask}: found a mask of {stored.shape}; expected {meta['shape']}, the volume's shape")
    turned = stored.reshape(meta["shape"][:3]).transpose(meta["axes"])
    flips = tuple(slice(None, None, -1 if flip else 1) for flip in meta["flips"])
    return exam, np.ascontiguousarray(np.rint(turned[flips]).astype(np.int16))

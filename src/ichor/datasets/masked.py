"""Volumes with voxel masks: what the NIfTI data sets share."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import broken, exam_of
from ichor.exam import Exam

__all__ = ["read_mask", "read_with_mask"]


def read_with_mask(image: Path, mask: Path, name: str) -> tuple[Exam, NDArray[np.int16]]:
    """Read a volume and its mask. Voxels belong together by their place in the files, as publishers pair them.

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
    RefusedInput
        Where either cannot be read, or the mask has another shape.
    """
    exam, _ = exam_of(image, name)
    meta = exam.source.nifti
    if meta is None:
        raise broken(name, f"no NIfTI volume in {image.name}", "one")
    stored = read_mask(mask, name)
    if stored.squeeze().shape != tuple(n for n in meta["shape"] if n > 1):
        raise broken(name, f"a mask of {stored.shape}", f"{meta['shape']}, as the volume")
    turned = stored.reshape(meta["shape"][:3]).transpose(meta["axes"])
    flips = tuple(slice(None, None, -1 if flip else 1) for flip in meta["flips"])
    return exam, np.ascontiguousarray(turned[flips])


def read_mask(path: Path, name: str) -> NDArray[np.int16]:
    """Read a mask as it lies in its file.

    Raises
    ------
    RefusedInput
        Where it cannot be read.
    """
    import nibabel

    try:
        stored = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (OSError, ValueError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise broken(
            name, f"no mask that can be read in {path.name} ({type(error).__name__})", "NIfTI"
        ) from None
    return np.asarray(np.rint(stored).astype(np.int16))

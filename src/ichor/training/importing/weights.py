"""Reading published weights: nothing is unpickled, every file is hashed, every tensor must have its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ichor.errors import BundleError, UsageError

__all__ = ["fetched", "hashes", "load_strictly", "place_strictly", "read_checkpoint"]

_CHECKSUMS = "checksums.json"
_MOST_NAMED = 3


def fetched(name: str, repository: str, files: Sequence[str], revision: str = "") -> tuple[Path, str]:
    """Fetch the files of a model from its hub.

    Parameters
    ----------
    name
        Of the model, as the command has it.
    repository, revision
        On the hub; by default its newest revision.
    files
        Which are wanted.

    Returns
    -------
    folder, revision
        Where they lie, and the commit that they are of.

    Raises
    ------
    UsageError
        Where the hub cannot be reached, with what to do instead.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=[*files, _CHECKSUMS])
        )
    except Exception as error:  # the hub's own, those of its HTTP client, of sockets and of files
        raise UsageError(
            f"{name}: found no way to fetch {repository} ({type(error).__name__}); expected a connection to "
            f"huggingface.co; fetch {', '.join(files)} from https://huggingface.co/{repository} on a machine that has "
            f"one, keep the names and folders, and run ichor bundle import {name} FOLDER -o BUNDLE"
        ) from None
    return folder, folder.name  # the hub's client keeps each revision in a folder of its name


def hashes(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of each file, checked with the publisher's own list where the folder has one.

    Raises
    ------
    UsageError
        Where a file is missing, or is not the one that was published.
    """
    found = {}
    for name in files:
        path = folder / name
        if not path.is_file():
            raise UsageError(
                f"{path}: found no such file; expected it as published; fetch it again, and keep the names and folders"
            )
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    listed = folder / _CHECKSUMS
    if listed.is_file():
        try:
            published = {row["path"]: row["sha256"] for row in json.loads(listed.read_text(encoding="utf-8"))}
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{listed}: found something else; expected a list of objects with path and sha256; fetch it again"
            ) from None
        for name, digest in found.items():
            if name in published and published[name] != digest:
                raise UsageError(
                    f"{folder / name}: found sha256 {digest[:12]}...; expected {published[name][:12]}... as "
                    f"{_CHECKSUMS} has it; fetch the file again"
                )
    return found


def load_strictly(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into a module: each of its tensors has a place of its shape, and no place is left.

    Raises
    ------
    BundleError
        Naming the tensor that is missing, unknown, of another shape, or no number.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{path}: found a file that cannot be read as safetensors ({type(error).__name__}); expected the published "
            "one; fetch it again"
        ) from None
    place_strictly(module, tensors, path)


def place_strictly(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give each tensor of a file its place in a module, in evaluation mode.

    Raises
    ------
    BundleError
        As :func:`load_strictly`.
    """
    places = module.state_dict()
    other = [
        f"{name} {tuple(tensors[name].shape)} in place of {tuple(place.shape)}"
        for name, place in places.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    wrong = {
        "lacks the tensor": sorted(places.keys() - tensors.keys()),
        "has the unknown tensor": sorted(tensors.keys() - places.keys()),
        "has the tensor of another shape": other,
        "has no finite numbers in": sorted(n for n, t in tensors.items() if not torch.isfinite(t).all()),
    }
    for what, names in wrong.items():
        if names:
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            raise BundleError(
                f"{path}: found a file that {what} {', '.join(names[:_MOST_NAMED])}{more}; expected the "
                f"{len(places)} tensors of the published network; fetch it again, or import the version it is of"
            )
    module.load_state_dict(dict(tensors), strict=True)
    module.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what torch saved, tensors and plain values alone: no object of any other kind is made.

    Raises
    ------
    BundleError
        Where the file holds anything else, or is broken.
    """
    # Scalars of numpy, which logs of training hold: made by these, and by nothing that does more.
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # of numpy 1, of numpy 2
    harmless: list[Any] = [np.dtype, *((scalar, name) for name in names)]
    harmless += [type(np.dtype(kind)) for kind in ("f4", "f8", "i8")]
    try:
        with torch.serialization.safe_globals(harmless):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of pickle, of zip files and of torch, without a common base
        raise BundleError(
            f"{path}: found a file that cannot be read as weights alone ({type(error).__name__}); expected tensors and "
            "plain values: what would run code is not loaded; save the weights again"
        ) from None
    if not isinstance(found, dict):
        raise BundleError(f"{path}: found a {type(found).__name__}; expected a checkpoint with named parts")
    return found

"""``blast-ct``: DeepMedic over voxels of 1 mm, its weights as published, its windows fused.

The network is that of its own package. A window of 30 voxels looks 40 voxels farther on every side; larger windows of
the same raster share that surrounding and give the same scores.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ichor.detecting.manifest import Localisation, TrainedOn
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.detecting.sliding_window import SlidingWindow
from ichor.errors import UsageError
from ichor.preparing import Channel, Preparation
from ichor.preparing.volume_frame import VolumeFrame
from ichor.training.importing.publication import Published
from ichor.training.importing.segmentation import (
    ClassLabels,
    WindowGraph,
    labels_of,
    write_volume_graphs,
)
from ichor.training.importing.weights import place_strictly, read_checkpoint

__all__ = ["NAME", "fetched_weights", "read_blast_ct", "weight_files"]

NAME = "blast-ct"
_CLASSES = ("background", "IPH", "EAH", "oedema", "IVH")
_FILE = re.compile(r"model_(\d+)\.torch_model")
_CONTEXT = 40
_WINDOW = 60
"""Voxels that a window scores, in place of the 30 that the network was made for: about half the work for each."""
_LOW, _HIGH = -15.0, 100.0
_REPOSITORY = "https://github.com/biomedia-mira/blast-ct"
_EXTRA = "run pip install -e '.[blast-ct]' in the clone"
_LIMITS = (
    "EAH (extra-axial hemorrhage) is subdural and epidural together: it counts as any hemorrhage and as none of the "
    "subtypes. Oedema counts as none.",
    "The model does not know: epidural, subarachnoid, subdural. Their scores mean nothing.",
    "HU are interpolated and not cut to whole numbers, which blast-ct does of files with whole numbers.",
)


def weight_files(folder: Path) -> list[str]:
    """Return the published weights in a folder, in their order: one network, or several that are averaged.

    Raises
    ------
    UsageError
        Where there is none.
    """
    found = sorted(
        (int(match[1]), path.name) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))
    )
    if not found:
        raise UsageError(
            f"{folder}: found no model_1.torch_model; expected blast-ct's published weights, one or several, from "
            f"{_REPOSITORY} (blast_ct/data/saved_models); keep their names"
        )
    return [name for _, name in found]


def fetched_weights() -> Path:
    """Have blast-ct's own package fetch its first network, and return the folder.

    Raises
    ------
    UsageError
        Where the package or a connection is missing, with what to do instead.
    """
    try:
        from blast_ct.assets import get_model_path
    except ImportError as error:
        raise UsageError(f"{NAME}: found no {error.name}; expected the extra 'blast-ct'; {_EXTRA}") from error
    try:
        return Path(get_model_path(1)).parent
    except OSError as error:
        raise UsageError(
            f"{NAME}: found no way to fetch its weights ({type(error).__name__}); expected a connection to github.com; "
            f"fetch blast_ct/data/saved_models/model_1.torch_model from {_REPOSITORY} on a machine that has one, keep "
            f"the name, and run ichor bundle import {NAME} FOLDER -o BUNDLE"
        ) from None


def read_blast_ct(folder: Path, files: list[str], window: int = _WINDOW) -> Published:
    """Read blast-ct's networks.

    Parameters
    ----------
    folder
        With the weights.
    files
        Which, see :func:`weight_files`; the shares of several are averaged, as its option ``--ensemble`` does.
    window
        Voxels that a window scores: a multiple of 15, on which the network's coarser paths repeat.

    Raises
    ------
    UsageError
        Where the package is missing.
    BundleError
        Where a file holds anything but the network's tensors.
    """
    networks = [_Scores(_network(folder / name), window) for name in files]
    graph = WindowGraph(networks, 2.0, -1.0, shares=len(networks) > 1)
    labels = ClassLabels(labels_of(folder, _CLASSES))
    plan = SlidingWindow(
        size=(window, window, window),
        context=(_CONTEXT, _CONTEXT, _CONTEXT),
        overlap=0,
        placed="tiles",
        weights="uniform",
        beyond="edge",
    )
    channel = Channel(offset=0, level=(_LOW + _HIGH) / 2, width=_HIGH - _LOW)
    frame = VolumeFrame(voxel_mm=(1, 1, 1), axes="SPL", order=1, aligned="centres", clipped="after")
    return Published(
        name=NAME,
        version="2.1",
        description=f"blast-ct (DeepMedic), {len(files)} network(s); imported as published.",
        licence="Apache-2.0",
        authors="M. Monteiro, V.F.J. Newcombe, F. Mathieu et al.",
        citation=(
            "Monteiro et al., Multiclass semantic segmentation and quantification of traumatic brain injury lesions on "
            "head CT using deep learning: an algorithm development and multicentre validation study, The Lancet "
            "Digital Health 2020, 2(6):e314-e322"
        ),
        url=_REPOSITORY,
        write=partial(write_volume_graphs, network=graph, labels=labels, plan=plan),
        preparation=Preparation(frame="volume", volume=frame, channels=(channel,)),
        slice_rule=SliceRule(),
        exam_rule=ExamRule(),
        map_stride=1,
        localisation=Localisation(),
        trained_on=(TrainedOn(name="CENTER-TBI", licence="not open", note="as its authors state"),),
        restrictions=(),
        claimed=(),
        limits=_LIMITS,
        sliding_window=plan,
    )


class _Scores(nn.Module):
    """DeepMedic over windows of one size, by its own layers.

    Its own ``forward`` computes sizes of the input's shape, which torch cannot trace; here they are numbers.
    """

    def __init__(self, network: Any, window: int) -> None:
        super().__init__()
        self.network = network
        self.size = tuple(network.get_output_size((window + 2 * _CONTEXT,) * 3))

    def forward(self, window: Tensor) -> Tensor:
        parts = [path(window, self.size) for path in self.network.paths]
        scores: Tensor = self.network.fully_connected(torch.cat(parts, dim=1))
        return scores


def _network(path: Path) -> Any:
    try:
        from blast_ct.models.deepmedic import DeepMedic
    except ImportError as error:
        raise UsageError(f"{path}: found no {error.name}; expected the extra 'blast-ct'; {_EXTRA}") from error
    network: nn.Module = DeepMedic(input_channels=1, num_classes=len(_CLASSES))
    place_strictly(network, read_checkpoint(path), path)
    return network

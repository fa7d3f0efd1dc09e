"""An nnU-Net v2 export, its configuration ``2d`` or ``3d_fullres``: plans, labels and weights to a bundle.

The networks are those of nnU-Net's own package of architectures, built by name from a list; a checkpoint is read
without unpickling objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ichor.detecting.manifest import Localisation
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.detecting.sliding_window import SlidingWindow
from ichor.preparing import Channel, Preparation
from ichor.preparing.volume_frame import VolumeFrame
from ichor.training.export import write_graphs
from ichor.training.families.family import Graph
from ichor.training.importing.nnunet_plans import (
    DATASET,
    PLANS,
    Configuration,
    DatasetFile,
    Intensities,
    Plans,
    checkpoints_of,
    class_names,
    configuration_of,
    network_of,
    read_json,
)
from ichor.training.importing.publication import (
    TOLERANCE,
    Outputs,
    Published,
    compared_stacks,
    write_published,
)
from ichor.training.importing.segmentation import (
    ClassLabels,
    WindowGraph,
    labels_of,
    unknown_labels,
    write_volume_graphs,
)
from ichor.training.importing.weights import hashes

__all__ = ["DATASET", "PLANS", "import_nnunet"]

_HEAD_MM = 250.0
"""A window that is smaller than this does not hold every head: the grid is made larger."""
_ANISOTROPY = 3.0
"""From this ratio of a voxel's height and width on, nnU-Net resamples slices in their planes first."""
_LEAST_WEIGHT = 2**-24 / 10
"""nnU-Net holds weights up to 10 in half precision, and none is 0."""
_LIMITS = {
    "2d": (
        "One window of the image's middle, resampled bilinearly, without mirrored copies: nnU-Net itself moves a "
        "window, resamples by splines and averages mirrored copies.",
    ),
    "3d_fullres": (
        "Without mirrored copies, as nnUNetv2_predict --disable_tta: nnU-Net by default averages eight of them.",
        "The images lie as DICOM has them: slices upward, rows to the back, columns to the patient's left. A network "
        "that learned from images that lie otherwise (NIfTI files of some converters) would see them mirrored.",
    ),
}


def import_nnunet(folder: Path, output: Path) -> Path:
    """Make a bundle of a trained nnU-Net.

    Parameters
    ----------
    folder
        Holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``; the logits of several folds are
        averaged, as nnU-Net does.
    output
        Of the bundle.

    Raises
    ------
    UsageError
        Where a file is missing, or the configuration is none that ichor runs.
    BundleError
        Where a file is not of its form, a tensor has no place, or the graph differs from the network.
    """
    plans, dataset = read_json(folder / PLANS, Plans), read_json(folder / DATASET, DatasetFile)
    name, configuration = configuration_of(folder, plans)
    names = class_names(folder / DATASET, dataset)
    classes = labels_of(folder / DATASET, names)
    checkpoints = checkpoints_of(folder)
    intensities = plans.foreground_intensity_properties_per_channel["0"]
    networks = [network_of(folder, configuration, len(classes), path) for path in checkpoints]
    low, high = intensities.span
    scale, offset = (high - low) / intensities.std, (low - intensities.mean) / intensities.std
    plan: SlidingWindow | None = None
    write: Callable[[Path], tuple[dict[str, Outputs], str]]
    if name == "2d":
        preparation = _preparation(configuration, intensities)
        write = _slice_writer(SegmentationGraph(networks, classes, scale, offset).eval(), preparation)
    else:
        preparation = _volume_preparation(configuration, intensities)
        plan = _window(configuration, -offset / scale)
        network, labels = WindowGraph(networks, scale, offset), ClassLabels(classes)
        write = partial(write_volume_graphs, network=network, labels=labels, plan=plan)
    files = hashes(folder, (PLANS, DATASET, *(str(path.relative_to(folder)) for path in checkpoints)))
    published = Published(
        name=dataset.name.lower().replace(" ", "-") or "nnunet",
        version="1",
        description=f"nnU-Net v2, configuration {name}, {len(checkpoints)} fold(s) averaged; imported as exported.",
        licence=dataset.licence,
        authors="not stated",
        citation=(
            "Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, "
            "Nature Methods 2021, 18:203-211; and the data that the network learned from."
        ),
        url=dataset.reference,
        write=write,
        preparation=preparation,
        slice_rule=SliceRule(),
        exam_rule=ExamRule(),
        map_stride=1,
        localisation=Localisation(),
        trained_on=(),
        restrictions=(),
        claimed=(),
        limits=(*_LIMITS[name], *unknown_labels(classes)),
        sliding_window=plan,
    )
    return write_published(published, output, files)


class SegmentationGraph(nn.Module):
    """Networks that score classes pixel by pixel, as a map and a score of our six labels.

    Parameters
    ----------
    networks
        Of the same classes; their logits are averaged.
    classes
        For each class the label of ours that it is, or an empty string.
    scale, offset
        From our input, 0..1, to what the networks take.
    """

    def __init__(self, networks: list[nn.Module], classes: list[str], scale: float, offset: float) -> None:
        super().__init__()
        self.window = WindowGraph(networks, scale, offset)
        self.labels = ClassLabels(classes)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits: a map ``(n, 6, rows, columns)`` and its highest values ``(n, 6)``."""
        found = self.labels(self.window(stack))
        return found, found.amax(dim=(2, 3))


def _slice_writer(
    graph: SegmentationGraph, preparation: Preparation
) -> Callable[[Path], tuple[dict[str, Outputs], str]]:
    def write(home: Path) -> tuple[dict[str, Outputs], str]:
        example = torch.zeros(2, 1, preparation.rows, preparation.columns)
        graphs = [Graph("slice", ("stack",), ("map", "slice"), graph, example, traced=True)]
        _, difference = write_graphs(graphs, home, compared_stacks(preparation), TOLERANCE)
        remark = f"Between the published network and the graph a logit differs by {difference:.1e} at most."
        return {"slice": ("map", "slice")}, remark

    return write


def _preparation(configuration: Configuration, intensities: Intensities) -> Preparation:
    strides = configuration.architecture.arch_kwargs.get("strides", [])
    steps = [math.prod(s if isinstance(s, int) else s[axis] for s in strides) for axis in range(2)]
    # A network of convolutions takes more pixels than it was trained on; whole steps, lest skips not fit.
    size = [
        max(patch, step * math.ceil(_HEAD_MM / mm / step))
        for patch, step, mm in zip(configuration.patch_size, steps, configuration.spacing, strict=True)
    ]
    return Preparation(
        rows=size[0],
        columns=size[1],
        slab_mm=0,
        frame="image",
        pixel_mm=(configuration.spacing[0], configuration.spacing[1]),
        channels=(_channel(intensities),),
    )


def _volume_preparation(configuration: Configuration, intensities: Intensities) -> Preparation:
    resampling, (slices, rows, columns) = configuration.resampling_fn_data_kwargs, configuration.spacing
    return Preparation(
        frame="volume",
        volume=VolumeFrame(
            voxel_mm=(slices, rows, columns),
            axes="SPL",
            order=resampling.order,
            order_slices=resampling.order_z,
            separate_above=_ANISOTROPY if resampling.force_separate_z is None else None,
            aligned="edges",
            clipped="before",
        ),
        channels=(_channel(intensities),),
    )


def _channel(intensities: Intensities) -> Channel:
    low, high = intensities.span
    return Channel(offset=0, level=(low + high) / 2, width=high - low)


def _window(configuration: Configuration, beyond: float) -> SlidingWindow:
    """Return the window as nnU-Net moves it; beyond the image it sees 0 after normalisation."""
    slices, rows, columns = configuration.patch_size
    return SlidingWindow(
        size=(slices, rows, columns),
        overlap=0.5,
        placed="even",
        weights="gaussian",
        least=_LEAST_WEIGHT,
        middle="upper",
        beyond=beyond,
    )

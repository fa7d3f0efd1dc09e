"""An nnU-Net v2 export, its configuration ``2d``: plans, labels and weights to a bundle that draws maps.

The networks are those of nnU-Net's own package of architectures, built by name from a list; a checkpoint is read
without unpickling objects. Configurations in 3D are refused: the core runs slices.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from ichor.detecting.manifest import Localisation
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.errors import BundleError, UsageError
from ichor.labels import LABEL_NAMES, LABELS
from ichor.preparing import Channel, Preparation
from ichor.training.export import write_graphs
from ichor.training.families.family import Graph
from ichor.training.importing.publication import (
    TOLERANCE,
    Outputs,
    Published,
    compared_stacks,
    write_published,
)
from ichor.training.importing.weights import hashes, place_strictly, read_checkpoint

__all__ = ["DATASET", "PLANS", "import_nnunet"]

PLANS, DATASET = "plans.json", "dataset.json"
_CONFIGURATION = "2d"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_CLASSES = ("PlainConvUNet", "ResidualEncoderUNet")
_HOME = "dynamic_network_architectures.architectures.unet."
_LAYERS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.conv.Conv2d": nn.Conv2d,
    "torch.nn.modules.instancenorm.InstanceNorm2d": nn.InstanceNorm2d,
    "torch.nn.modules.batchnorm.BatchNorm2d": nn.BatchNorm2d,
    "torch.nn.LeakyReLU": nn.LeakyReLU,
    "torch.nn.modules.activation.LeakyReLU": nn.LeakyReLU,
    "torch.nn.ReLU": nn.ReLU,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
}
"""What plans may name; nothing else is imported."""
_HEAD_MM = 250.0
"""A window that is smaller than this does not hold every head: the grid is made larger."""
_ABSENT = -16.0
_ALIASES = {
    **{word: label.name for label in LABELS for word in (label.name, label.abbreviation.lower())},
    **dict.fromkeys(
        ("hemorrhage", "haemorrhage", "bleed", "bleeding", "blood", "hematoma", "haematoma"), "any"
    ),
    **dict.fromkeys(("extradural",), "epidural"),
}
_EXPECTED = "expected the folder of a trained nnU-Net v2 (nnUNetTrainer__nnUNetPlans__2d)"


class _Part(BaseModel):
    """What must be as this module has it, or may differ; other keys say nothing to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Architecture(_Part):
    network_class_name: str
    arch_kwargs: dict[str, Any]


class _Configuration(_Part):
    patch_size: tuple[int, int]
    spacing: tuple[float, float]
    normalization_schemes: tuple[Literal["CTNormalization"]]
    architecture: _Architecture


class _Intensities(_Part):
    mean: float
    std: float = Field(gt=0)
    percentile_00_5: float
    percentile_99_5: float


class _Plans(_Part):
    configurations: dict[str, Any]
    transpose_forward: tuple[Literal[0], Literal[1], Literal[2]]
    foreground_intensity_properties_per_channel: dict[str, _Intensities]


class _Dataset(_Part):
    name: str = "nnunet"
    channel_names: dict[str, str]
    labels: dict[str, int | list[int]]
    licence: str = "not stated"
    reference: str = ""


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
    plans, dataset = _read(folder / PLANS, _Plans), _read(folder / DATASET, _Dataset)
    if _CONFIGURATION not in plans.configurations:
        raise UsageError(
            f"{folder / PLANS}: found the configurations {', '.join(plans.configurations)}; expected {_CONFIGURATION}: "
            f"ichor runs slices, and no 3D windows; train nnU-Net with the configuration {_CONFIGURATION}"
        )
    configuration = _checked(folder / PLANS, plans.configurations[_CONFIGURATION], _Configuration)
    classes = _classes(folder / DATASET, dataset)
    checkpoints = _checkpoints(folder)
    intensities = plans.foreground_intensity_properties_per_channel["0"]
    networks = [_network(folder, configuration, len(classes), path) for path in checkpoints]
    preparation = _preparation(configuration, intensities)
    graph = SegmentationGraph(
        networks, classes, intensities.mean, intensities.std, _range(intensities)
    ).eval()

    def write(home: Path) -> tuple[dict[str, Outputs], str]:
        example = torch.zeros(2, 1, preparation.rows, preparation.columns)
        graphs = [Graph("slice", ("stack",), ("map", "slice"), graph, example, traced=True)]
        _, difference = write_graphs(graphs, home, compared_stacks(preparation), TOLERANCE)
        remark = f"Between the published network and the graph a logit differs by {difference:.1e} at most."
        return {"slice": ("map", "slice")}, remark

    files = hashes(folder, (PLANS, DATASET, *(str(path.relative_to(folder)) for path in checkpoints)))
    return write_published(_published(dataset, preparation, classes, len(checkpoints), write), output, files)


class SegmentationGraph(nn.Module):
    """Networks that score classes pixel by pixel, as a map and a score of our six labels.

    Parameters
    ----------
    networks
        Of the same classes; their logits are averaged.
    classes
        For each class the label of ours that it is, or an empty string.
    mean, std
        By which HU were normalised.
    span
        HU of black and white of the input.
    """

    def __init__(
        self,
        networks: list[nn.Module],
        classes: list[str],
        mean: float,
        std: float,
        span: tuple[float, float],
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.scale, self.offset = (span[1] - span[0]) / std, (span[0] - mean) / std
        of_label = {name: [k for k, own in enumerate(classes) if own == name] for name in LABEL_NAMES}
        of_label["any"] = [k for k, own in enumerate(classes) if own]
        self.places = [of_label[name] for name in LABEL_NAMES]
        self.n_classes = len(classes)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits: a map ``(n, 6, rows, columns)`` and its highest values ``(n, 6)``."""
        taken = stack * self.scale + self.offset
        logits = torch.stack([network(taken) for network in self.networks]).mean(dim=0)
        columns = [self._logit(logits, places) for places in self.places]
        found = torch.stack(columns, dim=1).clamp(_ABSENT, -_ABSENT)
        return found, found.amax(dim=(2, 3))

    def _logit(self, logits: Tensor, places: list[int]) -> Tensor:
        """Logit of the classes' shares together, exact where they are near 0 or 1."""
        if not places:
            return torch.full_like(logits[:, 0], _ABSENT)
        rest = [k for k in range(self.n_classes) if k not in places]
        return torch.logsumexp(logits[:, places], dim=1) - torch.logsumexp(logits[:, rest], dim=1)


def _read(path: Path, form: type[Any]) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: found no file that can be read ({error.strerror}); {_EXPECTED}") from None
    return _checked(path, content, form)


def _checked(path: Path, content: Any, form: type[BaseModel]) -> Any:
    try:
        return (
            form.model_validate_json(content) if isinstance(content, bytes) else form.model_validate(content)
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "no JSON object"
        raise BundleError(
            f"{path}: found {where} wrong: {first['msg']}; expected what nnU-Net v2 writes for CT in axial slices; "
            "export the model again, or use an ONNX graph with model.yaml (docs/how-to/add-a-model.md)"
        ) from None


def _classes(path: Path, dataset: _Dataset) -> list[str]:
    """Return for each class the label of ours that it is."""
    if len(dataset.channel_names) != 1:
        raise UsageError(f"{path}: found {len(dataset.channel_names)} channels; expected one, CT")
    regions = [name for name, value in dataset.labels.items() if not isinstance(value, int)]
    if regions:
        raise UsageError(
            f"{path}: found regions ({', '.join(regions)}); expected classes that exclude each other; export the model "
            "as ONNX, with model.yaml"
        )
    by_value = {value: name for name, value in dataset.labels.items() if isinstance(value, int)}
    if sorted(by_value) != list(range(len(by_value))) or len(by_value) < 2:
        raise BundleError(
            f"{path}: found the labels {dataset.labels}; expected 0 for the background, and on without gaps"
        )
    own = [_ALIASES.get(by_value[k].strip().lower(), "") if k else "" for k in range(len(by_value))]
    if not any(own):
        raise UsageError(
            f"{path}: found the labels {', '.join(by_value.values())}; expected one that is a hemorrhage: "
            f"{', '.join(sorted(_ALIASES))}; rename the label in {DATASET}"
        )
    return own


def _checkpoints(folder: Path) -> list[Path]:
    found = []
    for fold in sorted(folder.glob("fold_*")):
        path = next((fold / name for name in _CHECKPOINTS if (fold / name).is_file()), None)
        if path is not None:
            found.append(path)
    if not found:
        raise UsageError(f"{folder}: found no fold_*/{_CHECKPOINTS[0]}; {_EXPECTED}; copy the weights, too")
    return found


def _network(folder: Path, configuration: _Configuration, n_classes: int, checkpoint: Path) -> nn.Module:
    """Build the network that the plans name, and give each tensor of a checkpoint its place."""
    try:
        from dynamic_network_architectures.architectures import unet
    except ImportError as error:
        raise UsageError(
            f"{folder}: found an export of nnU-Net, and no {error.name}, which has its networks; expected the extra "
            "'nnunet'; run pip install -e '.[nnunet]' in the clone"
        ) from error

    named = configuration.architecture.network_class_name
    kind = named.removeprefix(_HOME)
    if kind not in _CLASSES or not named.startswith(_HOME):
        raise UsageError(
            f"{folder / PLANS}: found the network {named}; expected {' or '.join(_CLASSES)} of nnU-Net's own "
            "architectures; export the model as ONNX, with model.yaml"
        )
    arguments = dict(configuration.architecture.arch_kwargs)
    for key in ("conv_op", "norm_op", "dropout_op", "nonlin"):
        if arguments.get(key) is not None:
            if arguments[key] not in _LAYERS:
                raise UsageError(
                    f"{folder / PLANS}: found {key} {arguments[key]}; expected one of {', '.join(_LAYERS)}"
                )
            arguments[key] = _LAYERS[arguments[key]]
    arguments |= {"input_channels": 1, "num_classes": n_classes, "deep_supervision": False}
    try:
        network: nn.Module = getattr(unet, kind)(**arguments)
    except (TypeError, ValueError, AssertionError, IndexError) as error:
        raise BundleError(
            f"{folder / PLANS}: found arguments that {kind} does not take ({type(error).__name__}); expected those of "
            "nnU-Net v2; use an ichor that knows the newer version"
        ) from None
    tensors = read_checkpoint(checkpoint).get("network_weights")
    if not isinstance(tensors, dict):
        raise BundleError(
            f"{checkpoint}: found no network_weights; expected a checkpoint of nnU-Net v2; export it again"
        )
    place_strictly(network, {name.removeprefix("module."): t for name, t in tensors.items()}, checkpoint)
    return network


def _range(intensities: _Intensities) -> tuple[float, float]:
    return intensities.percentile_00_5, intensities.percentile_99_5


def _preparation(configuration: _Configuration, intensities: _Intensities) -> Preparation:
    strides = configuration.architecture.arch_kwargs.get("strides", [])
    steps = [math.prod(s if isinstance(s, int) else s[axis] for s in strides) for axis in range(2)]
    # A network of convolutions takes more pixels than it was trained on; whole steps, lest skips not fit.
    size = [
        max(patch, step * math.ceil(_HEAD_MM / mm / step))
        for patch, step, mm in zip(configuration.patch_size, steps, configuration.spacing, strict=True)
    ]
    low, high = _range(intensities)
    return Preparation(
        rows=size[0],
        columns=size[1],
        slab_mm=0,
        frame="image",
        pixel_mm=configuration.spacing,
        channels=(Channel(offset=0, level=(low + high) / 2, width=high - low),),
    )


def _published(
    dataset: _Dataset, preparation: Preparation, classes: list[str], folds: int, write: Any
) -> Published:
    absent = [name for name in LABEL_NAMES[1:] if name not in classes]
    limits = [
        "One window of the image's middle, resampled bilinearly, without mirrored copies: nnU-Net itself moves a "
        "window, resamples by splines and averages mirrored copies.",
    ]
    if absent:
        limits.append(f"The model does not know: {', '.join(absent)}. Their scores mean nothing.")
    return Published(
        name=dataset.name.lower().replace(" ", "-") or "nnunet",
        version="1",
        description=f"nnU-Net v2, configuration {_CONFIGURATION}, {folds} fold(s) averaged; imported as exported.",
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
        limits=tuple(limits),
    )

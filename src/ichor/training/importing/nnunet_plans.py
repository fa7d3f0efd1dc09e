"""What an nnU-Net v2 export says of itself: plans and labels, checked, and the networks that its checkpoints hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from ichor.errors import BundleError, UsageError
from ichor.training.importing.weights import place_strictly, read_checkpoint

__all__ = [
    "CONFIGURATIONS",
    "DATASET",
    "PLANS",
    "Configuration",
    "DatasetFile",
    "Intensities",
    "Plans",
    "checkpoints_of",
    "class_names",
    "configuration_of",
    "network_of",
    "read_json",
]

PLANS, DATASET = "plans.json", "dataset.json"
CONFIGURATIONS = ("2d", "3d_fullres")
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_CLASSES = ("PlainConvUNet", "ResidualEncoderUNet")
_HOME = "dynamic_network_architectures.architectures.unet."
_LAYERS: dict[str, type[nn.Module]] = {
    **{
        f"torch.nn.modules.{module}.{kind.__name__}": kind
        for module, kinds in {
            "conv": (nn.Conv2d, nn.Conv3d),
            "instancenorm": (nn.InstanceNorm2d, nn.InstanceNorm3d),
            "batchnorm": (nn.BatchNorm2d, nn.BatchNorm3d),
            "activation": (nn.LeakyReLU, nn.ReLU),
        }.items()
        for kind in kinds
    },
    "torch.nn.LeakyReLU": nn.LeakyReLU,
    "torch.nn.ReLU": nn.ReLU,
}
"""What plans may name; nothing else is imported."""
_EXPECTED = "expected the folder of a trained nnU-Net v2 (nnUNetTrainer__nnUNetPlans__2d or __3d_fullres)"


class _Part(BaseModel):
    """What must be as this module has it, or may differ; other keys say nothing to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Architecture(_Part):
    network_class_name: str
    arch_kwargs: dict[str, Any]


class _Resampling(_Part):
    order: Literal[0, 1, 3] = 3
    order_z: Literal[0, 1, 3] = 0
    force_separate_z: Literal[False] | None = None


class Configuration(_Part):
    """One configuration of the plans: rows and columns, or slices, rows and columns."""

    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    normalization_schemes: tuple[Literal["CTNormalization"]]
    architecture: _Architecture
    resampling_fn_data: Literal["resample_data_or_seg_to_shape"] = "resample_data_or_seg_to_shape"
    resampling_fn_data_kwargs: _Resampling = _Resampling()


class Intensities(_Part):
    """How HU were normalised."""

    mean: float
    std: float = Field(gt=0)
    percentile_00_5: float
    percentile_99_5: float

    @property
    def span(self) -> tuple[float, float]:
        """HU of black and white."""
        return self.percentile_00_5, self.percentile_99_5


class Plans(_Part):
    """``plans.json``."""

    configurations: dict[str, dict[str, Any]]
    transpose_forward: tuple[Literal[0], Literal[1], Literal[2]]
    foreground_intensity_properties_per_channel: dict[str, Intensities]


class DatasetFile(_Part):
    """``dataset.json``."""

    name: str = "nnunet"
    channel_names: dict[str, str]
    labels: dict[str, int | list[int]]
    licence: str = "not stated"
    reference: str = ""


def read_json(path: Path, form: type[Any]) -> Any:
    """Read a file that must be of a form.

    Raises
    ------
    UsageError
        Where it is missing.
    BundleError
        Where it is not of the form.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: found no file that can be read ({error.strerror}); {_EXPECTED}") from None
    return _checked(path, content, form)


def configuration_of(folder: Path, plans: Plans) -> tuple[str, Configuration]:
    """Return the configuration that the folder's networks are of: its name says so, or it is the only one.

    Raises
    ------
    UsageError
        Where it is none that ichor runs.
    BundleError
        Where it is not of the form.
    """
    path, known = folder / PLANS, plans.configurations
    whole = folder.resolve().name
    there = [name for name in CONFIGURATIONS if name in known]
    name = whole.rpartition("__")[2] if "__" in whole else there[0] if len(there) == 1 else ""
    if name not in there:
        raise UsageError(
            f"{path}: found the configurations {', '.join(known)}, and a network of {name or 'an unknown one'}; "
            f"expected one of {' or '.join(CONFIGURATIONS)}, which the folder's name ends in as nnU-Net writes it "
            "(nnUNetTrainer__nnUNetPlans__3d_fullres); others need a first network before them: train one of these"
        )
    merged, parent = dict(known[name]), known[name].get("inherits_from")
    for _ in known:
        if not isinstance(parent, str) or parent not in known:
            break
        merged, parent = known[parent] | merged, known[parent].get("inherits_from")
    found: Configuration = _checked(path, merged, Configuration)
    axes = 2 if name == "2d" else 3
    if len(found.patch_size) != axes or len(found.spacing) != axes:
        raise BundleError(
            f"{path}: found a patch of {len(found.patch_size)} axes and a spacing of {len(found.spacing)}; expected "
            f"{axes} each, as {name} has; export the model again"
        )
    return name, found


def class_names(path: Path, dataset: DatasetFile) -> list[str]:
    """Return the names of the classes, the background first.

    Raises
    ------
    UsageError
        Where there are several channels, or regions in place of classes.
    BundleError
        Where the labels do not count up from 0.
    """
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
    return [by_value[k] for k in range(len(by_value))]


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoint of each fold.

    Raises
    ------
    UsageError
        Where there is none.
    """
    found = []
    for fold in sorted(folder.glob("fold_*")):
        path = next((fold / name for name in _CHECKPOINTS if (fold / name).is_file()), None)
        if path is not None:
            found.append(path)
    if not found:
        raise UsageError(f"{folder}: found no fold_*/{_CHECKPOINTS[0]}; {_EXPECTED}; copy the weights, too")
    return found


def network_of(folder: Path, configuration: Configuration, n_classes: int, checkpoint: Path) -> nn.Module:
    """Build the network that the plans name, and give each tensor of a checkpoint its place.

    Raises
    ------
    UsageError
        Where it is none of the known networks, or the extra is missing.
    BundleError
        Where its arguments or tensors do not fit.
    """
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

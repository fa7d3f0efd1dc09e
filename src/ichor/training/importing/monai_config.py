"""What a MONAI bundle's configuration says, read as data: references are followed, expressions are never evaluated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ichor.detecting.sliding_window import SlidingWindow
from ichor.errors import BundleError, UsageError
from ichor.preparing import Channel, Preparation
from ichor.preparing.volume_frame import VolumeFrame

__all__ = [
    "CONFIGS",
    "METADATA",
    "Intensities",
    "Metadata",
    "config_of",
    "is_exclusive",
    "metadata_of",
    "part_of",
    "preparation_of",
    "window_of",
]

METADATA = "configs/metadata.json"
CONFIGS = tuple(f"configs/inference.{ending}" for ending in ("json", "yaml", "yml"))
_WITHOUT_EFFECT = ("LoadImage", "EnsureChannelFirst", "EnsureType", "ToTensor", "ToDevice")
_MOST_REFERENCES = 20
_REMEDY = "export the model as ONNX, with model.yaml (docs/how-to/add-a-model.md)"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Metadata(_Part):
    """``metadata.json``, as far as the bundle holds it."""

    name: str = "monai-bundle"
    version: str = "1"
    description: str = ""
    authors: str = "not stated"
    license: str = "not stated"
    copyright: str = ""
    references: tuple[str, ...] = ()
    data_source: str = ""
    eval_metrics: dict[str, Any] = {}
    network_data_format: dict[str, Any] = {}

    @property
    def classes(self) -> dict[int, str]:
        """Names of the network's outputs, by their place; empty where they are not given."""
        outputs = self.network_data_format.get("outputs", {})
        found: Any = next(iter(outputs.values()), {}) if isinstance(outputs, dict) else {}
        names = found.get("channel_def", {}) if isinstance(found, dict) else {}
        if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
            return {}
        return {int(key): str(value) for key, value in names.items()}


class _Strict(BaseModel):
    """A step of which every argument is known, lest one that matters is passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: str | list[str] = "image"
    allow_missing_keys: bool = False
    meta_keys: Any = None
    meta_key_postfix: str = ""
    dtype: Any = None
    lazy: bool = False


class _Orientation(_Strict):
    axcodes: str
    as_closest_canonical: Literal[False] = False


class _Spacing(_Strict):
    pixdim: tuple[float, float, float]
    mode: str | list[str] = "bilinear"
    padding_mode: Literal["border"] | list[Literal["border"]] = "border"
    align_corners: bool | list[bool] = False
    diagonal: Literal[False] = False
    recompute_affine: bool = False
    scale_extent: Literal[False] = False
    ensure_same_shape: bool = True


class Intensities(_Strict):
    """``ScaleIntensityRange``: HU from ``a_min`` to ``a_max`` become ``b_min`` to ``b_max``."""

    a_min: float
    a_max: float
    b_min: float
    b_max: float
    clip: Literal[True]


class _Inferer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    roi_size: tuple[int, int, int]
    overlap: float = Field(default=0.25, ge=0, lt=1)
    mode: Literal["constant", "gaussian"] = "constant"
    sigma_scale: float = Field(default=0.125, gt=0)
    padding_mode: Literal["constant"] = "constant"
    cval: float = 0.0
    sw_batch_size: Any = 1
    sw_device: Any = None
    device: Any = None
    progress: Any = False
    cache_roi_weight_map: Any = False
    cpu_thresh: Any = None
    buffer_steps: Any = None
    buffer_dim: Any = -1


def metadata_of(folder: Path) -> Metadata:
    """Read ``metadata.json``.

    Raises
    ------
    UsageError
        Where it is missing.
    BundleError
        Where it is not of its form.
    """
    path = folder / METADATA
    found: Metadata = _checked(path, "", _parsed(path), Metadata)
    return found


def config_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Read the configuration of inference.

    Raises
    ------
    UsageError
        Where there is none.
    BundleError
        Where it is not of its form.
    """
    path = next((folder / name for name in CONFIGS if (folder / name).is_file()), folder / CONFIGS[0])
    found = _parsed(path)
    if not isinstance(found, dict):
        raise BundleError(f"{path}: found no object; expected what a MONAI bundle has; fetch it again")
    return path, found


def part_of(path: Path, config: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the first of some parts that is there, its references followed.

    Raises
    ------
    UsageError
        Where none is, or it says what it is only by an expression.
    """
    for name in names:
        if name in config and not _is_expression(config[name]):
            found = _followed(path, config, config[name], name)
            if isinstance(found, dict):
                return found
    raise UsageError(
        f"{path}: found no plain {' or '.join(names)}; expected one with a _target_: expressions are not evaluated; "
        f"{_REMEDY}"
    )


def preparation_of(path: Path, steps: Sequence[Any]) -> tuple[Preparation, Intensities]:
    """Return how an exam is prepared, of the transforms before the network.

    Raises
    ------
    UsageError
        Naming the transform or the argument that ichor does not know.
    """
    order: list[str] = []
    found: dict[str, Any] = {}
    known: dict[str, type[_Strict]] = {
        "Orientation": _Orientation,
        "Spacing": _Spacing,
        "ScaleIntensityRange": Intensities,
    }
    for step in steps:
        name = _kind(step)
        if name in _WITHOUT_EFFECT:
            continue
        if name not in known or name in found:
            raise UsageError(
                f"{path}: found the transform {_target(step) or step!r}; expected each of {', '.join(known)} once, and "
                f"{', '.join(_WITHOUT_EFFECT)}; {_REMEDY}"
            )
        arguments = {key: value for key, value in step.items() if key != "_target_"}
        found[name] = _checked(path, f"{_target(step)}.", arguments, known[name])
        order.append(name)
    if set(order) != set(known) or order.index("Orientation") > order.index("Spacing"):
        raise UsageError(
            f"{path}: found the transforms {', '.join(order) or 'none'}; expected {', '.join(known)}, orientation "
            f"before spacing; {_REMEDY}"
        )
    intensities, spacing, axes = (found[name] for name in ("ScaleIntensityRange", "Spacing", "Orientation"))
    modes = {"bilinear": 1, "nearest": 0, "0": 0, "1": 1}
    mode = str(spacing.mode if isinstance(spacing.mode, str) else next(iter(spacing.mode), ""))
    if mode not in modes or intensities.a_max <= intensities.a_min or intensities.b_max == intensities.b_min:
        raise UsageError(
            f"{path}: found Spacing.mode {mode!r} and HU {intensities.a_min:g} to {intensities.a_max:g} scaled to "
            f"{intensities.b_min:g} to {intensities.b_max:g}; expected bilinear or nearest, and rising HU; {_REMEDY}"
        )
    try:
        frame = VolumeFrame(
            voxel_mm=spacing.pixdim,
            axes=axes.axcodes,
            order=1 if modes[mode] else 0,
            aligned="centres",
            clipped="before" if order.index("ScaleIntensityRange") < order.index("Spacing") else "after",
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise UsageError(
            f"{path}: found {first['loc'][0]} wrong: {first['msg']}; expected axcodes such as RAS, and pixdim in mm; "
            f"{_REMEDY}"
        ) from None
    level, width = (intensities.a_min + intensities.a_max) / 2, intensities.a_max - intensities.a_min
    channel = Channel(offset=0, level=level, width=width)
    return Preparation(frame="volume", volume=frame, channels=(channel,)), intensities


def window_of(path: Path, inferer: dict[str, Any], intensities: Intensities) -> SlidingWindow:
    """Return how the network goes over a volume.

    Raises
    ------
    UsageError
        Where it is no sliding window that ichor knows.
    """
    if _kind(inferer) != "SlidingWindowInferer":
        raise UsageError(
            f"{path}: found the inferer {_target(inferer)}; expected SlidingWindowInferer; {_REMEDY}"
        )
    arguments = {key: value for key, value in inferer.items() if key != "_target_"}
    found = _checked(path, "inferer.", arguments, _Inferer)
    if min(found.roi_size) < 1:
        raise UsageError(
            f"{path}: found inferer.roi_size {found.roi_size}; expected three numbers of voxels, 1 or more; {_REMEDY}"
        )
    return SlidingWindow(
        size=found.roi_size,
        overlap=found.overlap,
        placed="steps",
        weights="gaussian" if found.mode == "gaussian" else "uniform",
        sigma=found.sigma_scale,
        least=1e-3,
        beyond=(found.cval - intensities.b_min) / (intensities.b_max - intensities.b_min),
    )


def is_exclusive(path: Path, steps: Sequence[Any]) -> bool:
    """Tell from the transforms after the network whether its classes exclude each other (softmax or argmax).

    Raises
    ------
    UsageError
        Where nothing tells.
    """
    for step in steps:
        if isinstance(step, dict):
            if step.get("softmax") is True or step.get("argmax") is True:
                return True
            if step.get("sigmoid") is True:
                return False
    raise UsageError(
        f"{path}: found no softmax, sigmoid or argmax after the network; expected Activationsd or AsDiscreted with one "
        f"of them; {_REMEDY}"
    )


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: found no file that can be read ({type(error).__name__}); expected a MONAI bundle: {METADATA}, "
            f"{CONFIGS[0]} and models/model.pt; copy the whole folder"
        ) from None
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise BundleError(f"{path}: found neither JSON nor plain YAML; expected it; fetch it again") from None


def _followed(path: Path, config: dict[str, Any], value: Any, where: str, depth: int = 0) -> Any:
    """Replace references (``@name``, ``@name#key``, ``@name::key``) by what they stand for."""
    if depth > _MOST_REFERENCES:
        raise BundleError(
            f"{path}: found references at {where} that lead in a circle; expected none; mend it"
        )
    if isinstance(value, dict):
        return {
            key: _followed(path, config, one, f"{where}#{key}", depth + 1)
            for key, one in value.items()
            if key != "_requires_"
        }
    if isinstance(value, list):
        return [_followed(path, config, one, where, depth + 1) for one in value]
    if isinstance(value, str) and value.startswith("@"):
        found: Any = config
        for key in value[1:].replace("::", "#").split("#"):
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise BundleError(
                    f"{path}: found the reference {value} at {where}, which leads nowhere; expected it in the file"
                )
        return _followed(path, config, found, where, depth + 1)
    return value


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$", "%"))


def _target(step: Any) -> str:
    return str(step.get("_target_", "")) if isinstance(step, dict) else ""


def _kind(step: Any) -> str:
    """Return a step's name without its module, and without the letter of the form that takes dictionaries."""
    name = _target(step).rpartition(".")[2]
    for ending in ("Dict", "D", "d"):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return name


def _checked(path: Path, where: str, content: Any, form: type[Any]) -> Any:
    try:
        return form.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(
            f"{path}: found {where}{place} wrong: {first['msg']}; expected what ichor computes as MONAI does; {_REMEDY}"
        ) from None

"""A MONAI bundle: configuration, names of its classes and weights to a bundle of ours.

The networks are MONAI's own, built by name from a list. The configuration is read as data and the weights without
unpickling objects: nothing in the folder is run.
"""

from __future__ import annotations

import inspect
import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ichor.detecting.manifest import Localisation, Measured
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.errors import BundleError, UsageError
from ichor.training.importing.monai_config import (
    METADATA,
    Metadata,
    config_of,
    is_exclusive,
    metadata_of,
    part_of,
    preparation_of,
    window_of,
)
from ichor.training.importing.publication import Published, write_published
from ichor.training.importing.segmentation import (
    ClassLabels,
    WindowGraph,
    labels_of,
    unknown_labels,
    write_volume_graphs,
)
from ichor.training.importing.weights import hashes, place_strictly, read_checkpoint

__all__ = ["METADATA", "NETWORKS", "import_monai"]

NETWORKS = ("BasicUNet", "DynUNet", "SegResNet", "UNet")
"""What a configuration may name; nothing else is built."""
_HOMES = ("", "monai.networks.nets", "monai.networks.nets.unet", "monai.networks.nets.dynunet")
_WEIGHTS, _SCRIPT = "models/model.pt", "models/model.ts"
_WRAPPERS = ("state_dict", "model", "network", "net")
"""Under which training scripts store the weights beside other things."""
_LIMITS = (
    "Computed as MONAI's inferer does on the network's voxels; its own postprocessing after that (largest component, "
    "filling of holes) is left out: regions are outlined as of any other model.",
)


def import_monai(folder: Path, output: Path) -> Path:
    """Make a bundle of ours of a MONAI bundle.

    Parameters
    ----------
    folder
        Holds ``configs/metadata.json``, ``configs/inference.json`` (or YAML) and ``models/model.pt``.
    output
        Of the bundle.

    Raises
    ------
    UsageError
        Where a file is missing, or the configuration asks for what ichor does not know, which is named.
    BundleError
        Where a file is not of its form, a tensor has no place, or the graph differs from the network.
    """
    metadata = metadata_of(folder)
    path, config = config_of(folder)
    preparation, intensities = preparation_of(path, _steps(path, config, "preprocessing"))
    plan = window_of(path, part_of(path, config, "inferer"), intensities)
    exclusive = is_exclusive(path, _steps(path, config, "postprocessing"))
    network, n_classes = _network(path, part_of(path, config, "network_def", "network"))
    classes = labels_of(folder / METADATA, _names(folder / METADATA, metadata, n_classes))
    weights = _weights(folder)
    tensors: Any = read_checkpoint(weights)
    for name in _WRAPPERS:
        if isinstance(tensors.get(name), dict):
            tensors = tensors[name]
            break
    others = [str(name) for name, tensor in tensors.items() if not hasattr(tensor, "shape")]
    if others:
        raise BundleError(
            f"{weights}: found {others[0]}, which is no tensor; expected the weights alone, or under one of "
            f"{', '.join(_WRAPPERS)}; save the network's state_dict"
        )
    place_strictly(network, {str(n).removeprefix("module."): t for n, t in tensors.items()}, weights)
    graph = WindowGraph([network], intensities.b_max - intensities.b_min, intensities.b_min)
    labels = ClassLabels(classes, exclusive=exclusive)
    files = hashes(folder, (METADATA, *(str(one.relative_to(folder)) for one in (path, weights))))
    published = Published(
        name=metadata.name.strip().lower().replace(" ", "-") or "monai-bundle",
        version=metadata.version,
        description=metadata.description or "A MONAI bundle, imported as published.",
        licence=metadata.license,
        authors=metadata.authors,
        citation="; ".join(metadata.references),
        url=metadata.data_source,
        write=partial(write_volume_graphs, network=graph, labels=labels, plan=plan),
        preparation=preparation,
        slice_rule=SliceRule(),
        exam_rule=ExamRule(),
        map_stride=1,
        localisation=Localisation(),
        trained_on=(),
        restrictions=(),
        claimed=_claimed(metadata),
        limits=(*_LIMITS, *unknown_labels(classes)),
        sliding_window=plan,
    )
    return write_published(published, output, files)


def _steps(path: Path, config: dict[str, Any], name: str) -> list[Any]:
    """Return the transforms of a part: of a ``Compose``."""
    found = part_of(path, config, name).get("transforms")
    if not isinstance(found, list):
        raise UsageError(f"{path}: found no list {name}.transforms; expected a Compose of transforms")
    return found


def _network(path: Path, described: dict[str, Any]) -> tuple[nn.Module, int]:
    """Build the network that the configuration names; return it, and how many classes it scores."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI's own, on what it imports
            from monai.networks import nets
    except ImportError as error:
        raise UsageError(
            f"{path}: found a MONAI bundle, and no {error.name}, which has its networks; expected the extra 'monai'; "
            "run pip install -e '.[monai]' in the clone"
        ) from error

    named = str(described.get("_target_", ""))
    home, _, kind = named.rpartition(".")
    if kind not in NETWORKS or home not in {*_HOMES, f"monai.networks.nets.{kind.lower()}"}:
        raise UsageError(
            f"{path}: found the network {named or 'without a name'}; expected one of {', '.join(NETWORKS)} of MONAI; "
            "export the model as ONNX, with model.yaml (docs/how-to/add-a-model.md)"
        )
    network: type[nn.Module] = getattr(nets, kind)
    arguments = {key: value for key, value in described.items() if key != "_target_"}
    expressions = [key for key, value in arguments.items() if "$" in str(value)]
    unknown = sorted(arguments.keys() - inspect.signature(network).parameters.keys())
    if expressions or unknown:
        raise UsageError(
            f"{path}: found the argument {(*expressions, *unknown)[0]} of {kind}; expected its own, as plain values: "
            "expressions are not evaluated; write the value in its place"
        )
    dims, channels = arguments.get("spatial_dims", 3), arguments.get("in_channels", 1)
    if (dims, channels) != (3, 1):
        raise UsageError(
            f"{path}: found a network of {dims} dimensions and {channels} channels; expected 3, and one channel, CT"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = network(**arguments)
    except Exception as error:  # whatever a network does of arguments that do not fit together
        raise BundleError(
            f"{path}: found arguments that {kind} does not take ({type(error).__name__}); expected those of MONAI; use "
            "the version of MONAI that the bundle names"
        ) from None
    default = inspect.signature(network).parameters["out_channels"].default
    return made, int(arguments.get("out_channels", default))


def _names(path: Path, metadata: Metadata, n_classes: int) -> list[str]:
    found = metadata.classes
    if sorted(found) != list(range(n_classes)):
        raise UsageError(
            f"{path}: found names of the classes {sorted(found)}; expected one for each of the network's {n_classes} "
            "outputs in network_data_format.outputs.pred.channel_def; add them"
        )
    return [found[k] for k in range(n_classes)]


def _weights(folder: Path) -> Path:
    path = folder / _WEIGHTS
    if path.is_file():
        return path
    if (folder / _SCRIPT).is_file():
        raise UsageError(
            f"{folder}: found {_SCRIPT} alone, which holds code besides weights; expected {_WEIGHTS}: nothing of a "
            "folder is run; fetch that file, or save the network's state_dict there"
        )
    raise UsageError(f"{path}: found no such file; expected the weights of a MONAI bundle; copy them, too")


def _claimed(metadata: Metadata) -> tuple[Measured, ...]:
    """Return the figures that the bundle states of itself."""
    return tuple(
        Measured(name=name, value=float(value), n=0, unit="not stated", protocol="as metadata.json states it")
        for name, value in metadata.eval_metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    )

"""``ipan``: i-pan/ct-head-hemorrhage-detection, a slice encoder, a sequence head and decoders, as published."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ichor.datasets.registry import DATASETS
from ichor.detecting.manifest import Localisation, Measured, TrainedOn
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.errors import BundleError
from ichor.labels import LABEL_NAMES
from ichor.models.ipan import Decoder, ExamHead, SliceEncoder, SliceGraph
from ichor.preparing import Channel, Preparation
from ichor.training.export import write_graphs
from ichor.training.families.family import Graph
from ichor.training.importing.publication import TOLERANCE, Outputs, Published, compared_stacks
from ichor.training.importing.weights import load_strictly

__all__ = ["FILES", "REPOSITORY", "read_ipan"]

REPOSITORY = "ianpan/ct-head-hemorrhage-detection"
_ENCODER, _SEQUENCE = "classifier/model.safetensors", "sequence/model.safetensors"
_DECODERS = tuple(f"segmentation/fold{k}.safetensors" for k in range(5))
FILES = ("config.json", _ENCODER, _SEQUENCE, *_DECODERS)
"""What of the publication is read."""
_DECODER_WIDTH = 256
_NO_GAP_MM = 1e6
_SOURCES = ("rsna", "bhsd")
_PROTOCOL = (
    "the authors' own, on 1,450 series of 989 patients held out of the RSNA data, which had been looked at before for "
    "an earlier release; not measured here"
)

_CLAIMS = (
    ("exam AUC, any", 0.9804, 1450, "1450 series, 652 positive"),
    ("exam AUC, mean of the six labels", 0.9630, 1450, "1450 series"),
    ("exam AUC, epidural", 0.9262, 1450, "1450 series, 27 positive"),
    ("slice AUC, any", 0.9828, 50415, "50415 slices"),
)
_LIMITS = (
    "The maps only point: their authors found them unfit for measuring volumes, and so no volume is given.",
    "Of exams with more slices than the sequence head learned from, it sees an even selection.",
    "Trained on three neighbouring slices of about 5 mm: thin slices are taken as they are, untested.",
)


class _Part(BaseModel):
    """What of the configuration must be as this module has it, or may differ; other keys are notes."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Architecture(_Part):
    slice_classifier: str = Field(pattern=r"^maxvit_")
    segmentation_decoder: Literal["DeepLabV3Plus"]
    segmentation_folds: Literal[5]


class _Window(_Part):
    center: float
    width: float = Field(gt=0)


class _Normalization(_Part):
    input_min: float = Field(ge=0, le=0)
    input_max: float = Field(ge=1, le=1)
    output_min: float = Field(ge=-1, le=-1)
    output_max: float = Field(ge=1, le=1)


class _Input(_Part):
    height: int = Field(ge=32)
    width: int = Field(ge=32)
    large_image_resize_threshold: int
    adjacent_slices: Literal[3]
    channel_order: Literal["slice-major"]
    windows: tuple[_Window, ...] = Field(min_length=1)
    normalization: _Normalization


class _Config(_Part):
    model_type: Literal["ct_head_hemorrhage_detection"]
    architecture: _Architecture
    input: _Input
    labels: tuple[str, ...]
    pooled_feature_dimension: int
    slice_blend_alphas: tuple[float, ...]
    series_blend_alphas: tuple[float, ...]
    series_baseline_aggregation: Literal["max_probability"]
    training_max_sequence_length: int = Field(ge=2)
    long_series_inference_default: Literal["resample"]
    source_code_revision: str = "unknown"

    @property
    def backbone(self) -> str:
        """Name of the backbone in timm, without that of its pretrained weights."""
        return self.architecture.slice_classifier.partition(".")[0]


def read_ipan(folder: Path) -> Published:
    """Read the publication's folder into networks, and say what a bundle must know of them.

    Raises
    ------
    BundleError
        Where the configuration or a file of weights is not what this network takes.
    """
    config = _read_config(folder / FILES[0])
    preparation = _preparation(config)
    graphs = _graphs(folder, config, preparation)

    def write(home: Path) -> tuple[dict[str, Outputs], str]:
        written, difference = write_graphs(graphs, home, compared_stacks(preparation), TOLERANCE)
        remark = f"Between the published network and the graphs a logit differs by {difference:.1e} at most."
        return {graph.name: graph.outputs for graph in written}, remark

    return Published(
        name="ipan",
        version=config.source_code_revision,
        description=(
            f"i-pan/ct-head-hemorrhage-detection: {config.backbone} on three slices in three windows, a bidirectional "
            f"GRU over at most {config.training_max_sequence_length} slices, five DeepLabV3+ decoders on the shared "
            "encoder; imported as published."
        ),
        licence="MIT",
        authors="Ian Pan",
        citation=(
            "Pan I. CT Head Hemorrhage Detection. https://github.com/i-pan/ct-head-hemorrhage-detection, 2026; and the "
            "RSNA Intracranial Hemorrhage Detection challenge, as its data are cited."
        ),
        url=f"https://huggingface.co/{REPOSITORY}",
        write=write,
        preparation=preparation,
        slice_rule=SliceRule(kind="graph"),
        exam_rule=ExamRule(kind="graph"),
        map_stride=4,
        localisation=Localisation(measures=False),
        trained_on=tuple(_source(name) for name in _SOURCES),
        restrictions=tuple(
            f"Learned from {name}, which is for {info.restriction} only."
            for name in _SOURCES
            if (info := DATASETS[name][0].info).restriction
        ),
        claimed=tuple(
            Measured(name=name, value=value, n=n, unit=unit, protocol=_PROTOCOL)
            for name, value, n, unit in _CLAIMS
        ),
        limits=_LIMITS,
    )


def _preparation(config: _Config) -> Preparation:
    return Preparation(
        rows=config.input.height,
        columns=config.input.width,
        slab_mm=0,
        max_gap_mm=_NO_GAP_MM,
        frame="image",
        resize_above=config.input.large_image_resize_threshold,
        beyond="empty",
        channels=tuple(
            Channel(offset=offset, level=window.center, width=window.width)
            for offset in (-1, 0, 1)
            for window in config.input.windows
        ),
    )


def _graphs(folder: Path, config: _Config, preparation: Preparation) -> list[Graph]:
    """Load every network; its labels come out in our order."""
    size, channels = (config.input.height, config.input.width), len(preparation.channels)
    order = [config.labels.index(name) for name in LABEL_NAMES]
    blend = (config.slice_blend_alphas, config.series_blend_alphas)
    longest, width = config.training_max_sequence_length, config.pooled_feature_dimension
    head = ExamHead(width, len(order), longest, blend, order)
    load_strictly(head, folder / _SEQUENCE)
    encoder = SliceEncoder(config.backbone, channels, size, len(order))
    if encoder.num_features != width:
        raise BundleError(
            f"{folder / FILES[0]}: found pooled_feature_dimension {width}; expected the {encoder.num_features} of "
            f"{config.backbone}; fetch it again"
        )
    load_strictly(encoder, folder / _ENCODER)
    decoders = [Decoder(encoder.map_channels, _DECODER_WIDTH, len(order)) for _ in _DECODERS]
    for decoder, name in zip(decoders, _DECODERS, strict=True):
        load_strictly(decoder, folder / name)
    of_slices = SliceGraph(encoder, decoders, order).eval()
    stack = torch.zeros(2, channels, *size)
    features = torch.zeros(2, width + len(order))
    return [
        Graph("features", ("stack",), ("features", "map"), of_slices, stack, traced=True),
        Graph("head", ("features",), ("slice", "exam"), head, features),
    ]


def _read_config(path: Path) -> _Config:
    try:
        config = _Config.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "no JSON object"
        raise BundleError(
            f"{path}: found {where} wrong: {first['msg']}; expected the configuration of "
            f"{REPOSITORY}, whose network this is; fetch it again, or use an ichor that knows the newer one"
        ) from None
    n = len(LABEL_NAMES)
    if set(config.labels) != set(LABEL_NAMES) or len(config.labels) != n:
        raise BundleError(
            f"{path}: found the labels {list(config.labels)}; expected {list(LABEL_NAMES)} in any order"
        )
    if len(config.slice_blend_alphas) != n or len(config.series_blend_alphas) != n:
        raise BundleError(f"{path}: found other than {n} blend coefficients; expected one for each label")
    return config


def _source(name: str) -> TrainedOn:
    info = DATASETS[name][0].info
    note = (
        "decoders only" if name == "bhsd" else "encoder and sequence head: 19,102 series of 16,910 patients"
    )
    slices, exams = (None, 191) if name == "bhsd" else (661118, 19102)
    return TrainedOn(
        name=name, licence=info.licence, citation=info.citation, exams=exams, slices=slices, note=note
    )

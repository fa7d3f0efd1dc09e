"""What ``bundle.json`` holds (``ichor.bundle/1``): the types, and what must fit together in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ichor.detecting.rules import ExamRule, ScoringRules, SliceRule
from ichor.detecting.scoring import sigmoid
from ichor.detecting.sliding_window import SlidingWindow
from ichor.labels import LABEL_NAMES
from ichor.preparing import Preparation

__all__ = [
    "NOT_CALIBRATED",
    "Calibration",
    "ExamRule",
    "GraphFile",
    "Localisation",
    "Manifest",
    "Measured",
    "OperatingPoint",
    "OperatingPoints",
    "Origin",
    "ReferenceRange",
    "Scaling",
    "SliceRule",
    "SlidingWindow",
    "SubtypePoint",
    "Threshold",
    "TrainedOn",
    "UncertainBand",
    "Unit",
    "operating_points_of",
    "scaled_probabilities",
    "thresholds_of",
]

_FORMS: tuple[dict[str, tuple[set[str], set[str]]], ...] = (
    {
        "slice": ({"stack"}, {"map", "slice", "pooled"}),
        "sequence": ({"opinions"}, {"slice"}),
    },
    {"slice": ({"stack"}, {"map", "slice"})},
    {"features": ({"stack"}, {"features"}), "head": ({"features"}, {"slice"})},
    {"window": ({"window"}, {"classes"}), "labels": ({"classes"}, {"map"})},
)
"""What graphs take and give at least: of a model that draws maps, with a graph over all slices of an exam or without;
of one that scores slices, whose ``features`` may give a ``map`` and whose ``head`` the logits of the ``exam``; and of
one that takes a volume window by window. The first form that fits holds."""


def _no_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Unit = Literal["exam", "slice", "picture"]
"""What a verdict is on: an exam; a single slice of one; a picture, whose Hounsfield units are estimated."""
Number = Annotated[float | None, BeforeValidator(_no_nan)]
"""A measured figure; null (or NaN, as some writers put it) where it is not defined."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class GraphFile(_Model):
    """An ONNX graph of the bundle.

    ``required`` tells an ichor that does not know a graph whether it may do without.
    """

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    required: bool = True


class Scaling(_Model):
    """Platt scaling of one label: ``p = sigmoid(scale * logit + offset)``."""

    scale: float = Field(ge=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class Calibration(_Model):
    """From logits to probabilities, six of each in the order of the labels."""

    slice: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling]
    exam: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling]
    single_slice: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling] = Field(
        validation_alias="lone", serialization_alias="lone"
    )
    picture: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling] | None = None
    """Of pictures; without it they are taken for single slices."""

    def slice_probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of slices' logits ``(..., 6)``."""
        return scaled_probabilities(logits, self.slice)

    def single_slice_probabilities(
        self, logits: NDArray[np.floating], unit: Unit = "slice"
    ) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of single slices or of pictures, where nothing was smoothed."""
        pictures = self.picture if unit == "picture" else None
        return scaled_probabilities(logits, pictures or self.single_slice)

    def exam_probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of exams' logits ``(..., 6)``."""
        return scaled_probabilities(logits, self.exam)


_AS_IT_IS = Scaling(scale=1, offset=0)
NOT_CALIBRATED = Calibration.model_validate(dict.fromkeys(("slice", "exam", "lone"), (_AS_IT_IS,) * 6))
"""Of a model whose scores mean no probability yet."""


class Threshold(_Model):
    """From which probability on a label is called positive, and what that cost where it was chosen."""

    probability: float = Field(ge=0, le=1)
    sensitivity: Number = None
    specificity: Number = None
    chosen_for: str = ""


class Localisation(_Model):
    """Rules by which the map becomes regions.

    Attributes
    ----------
    probability
        Of the map (its own sigmoid), which a region must reach over its least size.
    edge_probability
        Of the map, down to which such a region extends, as far as the voxels look like blood.
    min_volume_ml
        Smaller regions are dropped.
    min_pixels
        The same where spacing is unknown: pixels of a picture 512 wide. 100 are about 20 mm², which on a slice of
        5 mm is 0.1 mL.
    measures
        Whether the map is good enough to measure volumes by; else it only points.
    low_hu, high_hu
        Smoothed HU outside which a voxel is not blood whatever the map says: fluid and air, calcification
        and bone. The lower end is raised to half-way between the brain and the blood of the same slice.
    reach_mm
        How far beyond the map's edge a region goes on within a slice, through voxels that are as dense as its blood
        and lie in no thin rim, if those are at most twice what the map marks of it; 0 where the map's own edge is
        better than that. Not in pictures, whose HU are estimated.
    subtypes
        What tells the subtype of a region: the maps of the subtypes, or its place and shape
        (:mod:`ichor.detecting.region_shape`).
    """

    probability: float = Field(default=0.5, gt=0, lt=1)
    edge_probability: float = Field(default=0.2, gt=0, lt=1)
    min_volume_ml: float = Field(default=0.1, ge=0)
    min_pixels: int = Field(default=100, ge=1)
    low_hu: float = 25.0
    high_hu: float = 95.0
    measures: bool = True
    reach_mm: float = Field(default=0.0, ge=0)
    subtypes: Literal["maps", "shape"] = "maps"


class TrainedOn(_Model):
    """A data set that the model learned from."""

    name: str
    licence: str
    citation: str = ""
    exams: int | None = None
    slices: int | None = None
    note: str = ""


class Measured(_Model):
    """A measured figure with its interval; null where it is not defined."""

    name: str
    value: Number = None
    low: Number = None
    high: Number = None
    n: int
    unit: str = ""
    protocol: str = ""


class OperatingPoint(_Model):
    """A threshold of ``any`` that reaches a sensitivity, and what such thresholds gave on exams not used for them."""

    aim: float = Field(gt=0, le=1)
    probability: float = Field(ge=0, le=1)
    sensitivity: Measured
    specificity: Measured


class SubtypePoint(_Model):
    """From which probability on a subtype of an exam is called, and what such thresholds gave on other exams.

    ``among_bleeds`` is the specificity among exams that bleed, but not of this subtype.
    """

    aim: float = Field(gt=0, le=1)
    probability: float = Field(ge=0, le=1)
    sensitivity: Measured
    specificity: Measured
    among_bleeds: Measured


class OperatingPoints(_Model):
    """Thresholds to choose from; of subtypes the one that is used, measured on exams not used for it."""

    exam: tuple[OperatingPoint, ...] = ()
    slice: tuple[OperatingPoint, ...] = ()
    picture: tuple[OperatingPoint, ...] = ()
    subtypes: dict[str, SubtypePoint] = {}


class UncertainBand(_Model):
    """Probabilities of an exam at which neither answer can be left out."""

    alpha: float = Field(gt=0, lt=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    positives: int
    negatives: int
    guarantee: str
    measured: tuple[Measured, ...] = ()

    def holds(self, probability: float) -> bool:
        """Tell whether a probability of ``any`` is uncertain."""
        return self.low <= probability <= self.high


class ReferenceRange(_Model):
    """The reference range of a quantity: within it an exam is like those of training."""

    low: float
    high: float


class Origin(_Model):
    """Where the weights of an imported model come from."""

    url: str
    revision: str = ""
    authors: str
    citation: str = ""
    files: dict[str, str]
    """sha256 by name, of every file that was read."""


class Manifest(_Model):
    """What ``bundle.json`` holds."""

    format: Literal["ichor.bundle/1"]
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    description: str = ""
    licence: str
    labels: tuple[str, ...]
    preparation: Preparation
    graphs: dict[str, GraphFile]
    map_stride: int = Field(default=2, ge=1)
    sliding_window: SlidingWindow | None = None
    """Of a model that takes volumes: how its window goes over one; null of one that takes slices."""
    slice_rule: SliceRule = SliceRule()
    exam_rule: ExamRule = ExamRule()
    calibration: Calibration = NOT_CALIBRATED
    thresholds: dict[str, Threshold] = {}
    slice_thresholds: dict[str, Threshold] = {}
    picture_thresholds: dict[str, Threshold] = {}
    operating_points: OperatingPoints = OperatingPoints()
    uncertain_band: UncertainBand | None = None
    input_profile: dict[str, ReferenceRange] = {}
    localisation: Localisation = Localisation()
    untrusted_labels: dict[str, str] = {}
    trained_on: tuple[TrainedOn, ...]
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]
    restrictions: tuple[str, ...] = ()
    """What the terms of the data that the weights learned from forbid; nothing where they are open."""
    origin: Origin | None = None
    """Of an imported model; null of one that was trained here."""
    claimed: tuple[Measured, ...] = ()
    """Figures that the authors of an imported model state; nothing here has measured them."""

    @field_validator("labels")
    @classmethod
    def _labels_are_ours(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels != LABEL_NAMES:
            raise ValueError(f"expected {list(LABEL_NAMES)} in this order")
        return labels

    @field_validator("thresholds", "slice_thresholds", "picture_thresholds")
    @classmethod
    def _one_for_each_label(
        cls, thresholds: dict[str, Threshold], info: ValidationInfo
    ) -> dict[str, Threshold]:
        if not thresholds:
            return thresholds
        if set(thresholds) != set(LABEL_NAMES):
            raise ValueError(f"expected one for each of {list(LABEL_NAMES)}")
        return {name: thresholds[name] for name in LABEL_NAMES}

    @field_validator("graphs")
    @classmethod
    def _graphs_are_known(cls, graphs: dict[str, GraphFile]) -> dict[str, GraphFile]:
        form = next((f for f in _FORMS if set(f) <= set(graphs)), None)
        if form is None:
            raise ValueError(
                "expected the graph 'slice', the graphs 'features' and 'head', or 'window' and 'labels'"
            )
        unknown = [name for name, graph in graphs.items() if graph.required and name not in form]
        if unknown:
            raise ValueError(f"this ichor does not know the required graph {unknown[0]!r}; a newer one may")
        for name, (inputs, outputs) in form.items():
            if set(graphs[name].inputs) != inputs or not outputs <= set(graphs[name].outputs):
                raise ValueError(f"expected {name!r} to take {sorted(inputs)} and to give {sorted(outputs)}")
        return graphs

    @model_validator(mode="after")
    def _pictures_have_both(self) -> Manifest:
        if bool(self.picture_thresholds) != (self.calibration.picture is not None):
            raise ValueError("expected both picture_thresholds and calibration.picture, or neither")
        return self

    @model_validator(mode="after")
    def _is_calibrated_or_not(self) -> Manifest:
        if bool(self.thresholds) != bool(self.slice_thresholds):
            raise ValueError("expected thresholds and slice_thresholds, or neither")
        if self.calibrated:
            return self
        extra = [
            name
            for name, there in {
                "calibration": self.calibration != NOT_CALIBRATED,
                "picture_thresholds": bool(self.picture_thresholds),
                "operating_points": self.operating_points != OperatingPoints(),
                "uncertain_band": self.uncertain_band is not None,
            }.items()
            if there
        ]
        if extra:
            raise ValueError(f"expected no {extra[0]} without thresholds: the model is not calibrated")
        return self

    @model_validator(mode="after")
    def _rule_fits_graphs(self) -> Manifest:
        names, own = ", ".join(self.graphs), self.used_graphs
        if (self.slice_rule.kind == "graph") != ("head" in own):
            raise ValueError(f"slice_rule: expected the kind for the graphs {names}")
        if self.slice_rule.pooled_share and "pooled" not in self.graphs[own[0]].outputs:
            raise ValueError(
                f"slice_rule: expected no pooled_share for a graph {own[0]!r} that gives no 'pooled'"
            )
        if (self.exam_rule.kind == "graph") != ("exam" in self.graphs[own[-1]].outputs):
            raise ValueError(
                "exam_rule: expected 'graph' where the graph 'head' gives 'exam', and only there"
            )
        return self

    @model_validator(mode="after")
    def _window_fits_graphs(self) -> Manifest:
        takes_volumes = "window" in self.used_graphs
        given = {
            "sliding_window": self.sliding_window is not None,
            "preparation.frame 'volume'": self.preparation.frame == "volume",
        }
        for name, there in given.items():
            if there != takes_volumes:
                raise ValueError(f"expected {name} with the graphs 'window' and 'labels', and only there")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether scores are probabilities, and labels are called by thresholds."""
        return bool(self.thresholds)

    @property
    def scoring_rules(self) -> ScoringRules:
        """The rules by which the graphs' outputs become scores."""
        return ScoringRules(self.slice_rule, self.exam_rule, self.preparation.max_gap_mm)

    @property
    def locates(self) -> bool:
        """Whether the model draws a map, from which regions and volumes come."""
        return any("map" in self.graphs[name].outputs for name in self.used_graphs)

    @property
    def used_graphs(self) -> tuple[str, ...]:
        """Names of the graphs that detection runs."""
        return tuple(next(form for form in _FORMS if set(form) <= set(self.graphs)))


def scaled_probabilities(logits: NDArray[np.floating], scalings: Sequence[Scaling]) -> NDArray[np.float64]:
    """Return the probabilities ``(..., k)`` of logits ``(..., k)`` by the scaling of each of ``k`` labels."""
    scale = np.array([s.scale for s in scalings])
    offset = np.array([s.offset for s in scalings])
    return np.asarray(sigmoid(scale * np.asarray(logits, np.float64) + offset))


class _HasThresholds(Protocol):
    @property
    def thresholds(self) -> dict[str, Threshold]: ...
    @property
    def slice_thresholds(self) -> dict[str, Threshold]: ...
    @property
    def picture_thresholds(self) -> dict[str, Threshold]: ...
    @property
    def operating_points(self) -> OperatingPoints: ...


def thresholds_of(model: _HasThresholds, unit: Unit) -> dict[str, Threshold]:
    """Return a model's thresholds by label for what a verdict is on; of a picture those of a slice, if it has none."""
    own = {"exam": model.thresholds, "slice": model.slice_thresholds, "picture": model.picture_thresholds}
    return own[unit] or model.slice_thresholds


def operating_points_of(model: _HasThresholds, unit: Unit) -> tuple[OperatingPoint, ...]:
    """Return a model's operating points; of a picture those of a slice, where pictures have no thresholds."""
    if unit == "picture" and not model.picture_thresholds:
        unit = "slice"
    points = model.operating_points
    return {"exam": points.exam, "slice": points.slice, "picture": points.picture}[unit]

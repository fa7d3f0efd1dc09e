"""A bundle: a folder with a model and all that detection needs to know about it.

``bundle.json`` (``ichor.bundle/1``) names the graphs with their hashes, how an input is prepared, how logits
become probabilities and probabilities become verdicts, what the model was trained on and what was measured.
``card.md`` says the same to a person. Nothing in a bundle is executed and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ichor.errors import BundleError
from ichor.labels import LABEL_NAMES
from ichor.preparing import Preparation

__all__ = [
    "FORMAT",
    "Bundle",
    "BundleCard",
    "ExamRule",
    "GraphFile",
    "Localisation",
    "Manifest",
    "Measured",
    "Scaling",
    "Threshold",
    "TrainedOn",
    "load_bundle",
]

FORMAT = "ichor.bundle/1"
_MANIFEST = "bundle.json"
_CARD = "card.md"
_FORMS: tuple[dict[str, tuple[set[str], set[str]]], ...] = (
    {"slice": ({"stack"}, {"map", "slice"})},
    {"features": ({"stack"}, {"features"}), "head": ({"features"}, {"slice"})},
)
"""What graphs take and give: of a model that draws maps, and of one that only judges slices."""
_SHIPPED = Path(__file__).parents[1] / "bundles"
_MAX_TEXT_BYTES = 4_000_000
_GET_ANOTHER = "get the bundle again from where it came, or name another with --bundle"


def _no_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Number = Annotated[float | None, BeforeValidator(_no_nan)]
"""A measured figure; null (or NaN, as some writers put it) where it is not defined."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphFile(_Model):
    """An ONNX graph of the bundle.

    ``required`` tells an ichor that does not know a graph whether it may do without.
    """

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    required: bool = True


class SliceRule(_Model):
    """How a slice's logit comes about.

    ``hottest_of_smoothed_map``: see :func:`ichor.detecting.aggregate.slice_logits`; ``graph``: as the graph
    ``head`` gives it, and the other keys say nothing.
    """

    kind: Literal["hottest_of_smoothed_map", "graph"] = "hottest_of_smoothed_map"
    weights: tuple[float, ...] = (1.0, 2.0, 3.0, 2.0, 1.0)
    pixels: int = Field(default=16, ge=1)

    @field_validator("weights")
    @classmethod
    def _has_a_middle(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(weights) % 2 == 0 or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError("expected an odd number of weights, none below 0, not all 0")
        return weights


class ExamRule(_Model):
    """How slices make an exam's logit: the mean of the ``slices`` most suspicious ones, label by label."""

    kind: Literal["mean_of_hottest"] = "mean_of_hottest"
    slices: int = Field(default=2, ge=1)


class Scaling(_Model):
    """Platt scaling of one label: ``p = sigmoid(scale * logit + offset)``."""

    scale: float = Field(ge=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class Calibration(_Model):
    """From logits to probabilities, six of each in the order of the labels."""

    slice: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling]
    exam: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling]
    lone: tuple[Scaling, Scaling, Scaling, Scaling, Scaling, Scaling]

    def slice_probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of slices' logits ``(..., 6)``."""
        return _sigmoid(logits, self.slice)

    def lone_probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of lone slices or pictures, where nothing was smoothed."""
        return _sigmoid(logits, self.lone)

    def exam_probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities ``(..., 6)`` of exams' logits ``(..., 6)``."""
        return _sigmoid(logits, self.exam)


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
        Of the map (its own sigmoid), from which on a pixel belongs to a bleed.
    min_volume_ml
        Smaller regions are dropped.
    min_pixels
        The same where spacing is unknown: pixels of a picture 512 wide.
    low_hu, high_hu
        Smoothed HU outside which a voxel is not blood whatever the map says: fluid and air, calcification
        and bone.
    """

    probability: float = Field(default=0.5, gt=0, lt=1)
    min_volume_ml: float = Field(default=0.1, ge=0)
    min_pixels: int = Field(default=40, ge=1)
    low_hu: float = 25.0
    high_hu: float = 110.0


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
    slice_rule: SliceRule = SliceRule()
    exam_rule: ExamRule = ExamRule()
    calibration: Calibration
    thresholds: dict[str, Threshold]
    slice_thresholds: dict[str, Threshold]
    localisation: Localisation = Localisation()
    untrusted_labels: dict[str, str] = {}
    trained_on: tuple[TrainedOn, ...]
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]

    @field_validator("labels")
    @classmethod
    def _labels_are_ours(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels != LABEL_NAMES:
            raise ValueError(f"expected {list(LABEL_NAMES)} in this order")
        return labels

    @field_validator("thresholds", "slice_thresholds")
    @classmethod
    def _one_for_each_label(cls, thresholds: dict[str, Threshold]) -> dict[str, Threshold]:
        if set(thresholds) != set(LABEL_NAMES):
            raise ValueError(f"expected one for each of {list(LABEL_NAMES)}")
        return {name: thresholds[name] for name in LABEL_NAMES}

    @field_validator("graphs")
    @classmethod
    def _graphs_are_known(cls, graphs: dict[str, GraphFile]) -> dict[str, GraphFile]:
        form = next((f for f in _FORMS if set(f) <= set(graphs)), None)
        if form is None:
            raise ValueError("expected the graph 'slice', or the graphs 'features' and 'head'")
        unknown = [name for name, graph in graphs.items() if graph.required and name not in form]
        if unknown:
            raise ValueError(f"this ichor does not know the required graph {unknown[0]!r}; a newer one may")
        for name, (inputs, outputs) in form.items():
            if set(graphs[name].inputs) != inputs or not outputs <= set(graphs[name].outputs):
                raise ValueError(f"expected {name!r} to take {sorted(inputs)} and to give {sorted(outputs)}")
        return graphs

    @model_validator(mode="after")
    def _rule_fits_graphs(self) -> Manifest:
        if (self.slice_rule.kind == "graph") == self.locates:
            raise ValueError(f"slice_rule: expected the kind for the graphs {', '.join(self.graphs)}")
        return self

    @property
    def locates(self) -> bool:
        """Whether the model draws a map, from which regions and volumes come."""
        return "slice" in self.graphs

    @property
    def used_graphs(self) -> tuple[str, ...]:
        """Names of the graphs that detection runs."""
        return tuple(_FORMS[0] if self.locates else _FORMS[1])


class BundleCard(_Model):
    """What a person should know of a bundle: the manifest without its machinery, and the card's text."""

    name: str
    version: str
    sha256: str
    description: str
    licence: str
    thresholds: dict[str, Threshold]
    slice_thresholds: dict[str, Threshold]
    untrusted_labels: dict[str, str]
    trained_on: tuple[TrainedOn, ...]
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]
    card_text: str


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, its hashes checked.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        What ``bundle.json`` says.
    card_text
        ``card.md``.
    sha256
        Of the bytes of ``bundle.json``, which itself holds the hash of each graph.
    """

    folder: Path
    manifest: Manifest
    card_text: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.manifest.version

    @property
    def card(self) -> BundleCard:
        """What a person should know of it."""
        m = self.manifest
        return BundleCard(
            name=m.name,
            version=m.version,
            sha256=self.sha256,
            description=m.description,
            licence=m.licence,
            thresholds=m.thresholds,
            slice_thresholds=m.slice_thresholds,
            untrusted_labels=m.untrusted_labels,
            trained_on=m.trained_on,
            measured=m.measured,
            limits=m.limits,
            card_text=self.card_text,
        )

    def thresholds(self, *, lone: bool = False) -> NDArray[np.float64]:
        """``(6,)`` probabilities from which on a label is positive: of an exam, or of a lone slice."""
        table = self.manifest.slice_thresholds if lone else self.manifest.thresholds
        return np.array([table[name].probability for name in LABEL_NAMES])

    def graph(self, name: str) -> Path:
        """Path of a graph's file, which lies within the folder."""
        return _inside(self.folder, self.manifest.graphs[name].file)

    def read_graph(self, name: str) -> bytes:
        """Bytes of a graph, whose hash was checked on these very bytes.

        Raises
        ------
        BundleError
            Where the file is missing, lies elsewhere, or was altered.
        """
        graph = self.manifest.graphs[name]
        path = self.graph(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(
                f"{path}: found no file that can be read ({error.strerror}); expected the graph {name!r} "
                f"that {_MANIFEST} names; {_GET_ANOTHER}"
            ) from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != graph.sha256:
            raise BundleError(
                f"{path}: found sha256 {digest[:12]}...; expected {graph.sha256[:12]}... as {_MANIFEST} "
                f"says; the file was altered or cut short: {_GET_ANOTHER}"
            )
        return content


def load_bundle(name_or_path: str | Path = "default") -> Bundle:
    """Load a bundle and check its format and the hash of each graph.

    Parameters
    ----------
    name_or_path
        A folder (or its ``bundle.json``), or the name of a bundle that ships with ichor or lies in one of the
        folders of the environment variable ``ICHOR_BUNDLES`` (separated as in ``PATH``). A name goes before a
        folder of the same name in the working directory.

    Returns
    -------
    Bundle
        The bundle.

    Raises
    ------
    BundleError
        Where it is missing, incomplete, altered, or of a format that this ichor does not read.
    """
    folder = _find(name_or_path)
    content = _read_text(folder / _MANIFEST)
    manifest = _parse(folder / _MANIFEST, content)
    card_text = _read_text(folder / _CARD).decode("utf-8", errors="replace")
    bundle = Bundle(folder, manifest, card_text, hashlib.sha256(content).hexdigest())
    for name in manifest.used_graphs:
        bundle.read_graph(name)
    return bundle


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    plain = PurePosixPath(text).name == text and not text.startswith((".", "~"))
    if plain and isinstance(name_or_path, str):
        for home in _homes():
            if (home / text / _MANIFEST).is_file():
                return home / text
    path = Path(text).expanduser()
    if path.name == _MANIFEST and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    known = sorted({entry.parent.name for home in _homes() for entry in home.glob(f"*/{_MANIFEST}")})
    raise BundleError(
        f"{text}: found no bundle of this name and no folder there; expected one of the bundles "
        f"({', '.join(known) or 'none is installed'}) or a folder with {_MANIFEST}; "
        "check --bundle and the environment variable ICHOR_BUNDLES"
    )


def _homes() -> Iterator[Path]:
    yield _SHIPPED
    yield from (Path(p).expanduser() for p in os.environ.get("ICHOR_BUNDLES", "").split(os.pathsep) if p)


def _read_text(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size <= _MAX_TEXT_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: found no file that can be read ({error.strerror}); expected {_MANIFEST} and {_CARD} in "
            f"the folder of a bundle; {_GET_ANOTHER}"
        ) from None
    raise BundleError(f"{path}: found {size:,} bytes; expected at most {_MAX_TEXT_BYTES:,}; {_GET_ANOTHER}")


def _parse(path: Path, content: bytes) -> Manifest:
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: found text that is no JSON; expected {FORMAT}; {_GET_ANOTHER}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path}: found format {str(found)[:40]!r}; expected {FORMAT!r}; "
            "use a bundle made for this version of ichor, or the version of ichor that it was made for"
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(p) for p in first["loc"]) or "the whole"
        raise BundleError(
            f"{path}: found {where} wrong: {first['msg'].removeprefix('Value error, ')} "
            f"({error.error_count()} such in all); expected {FORMAT}; {_GET_ANOTHER}"
        ) from None


def _inside(folder: Path, name: str) -> Path:
    """Path of a bundle's file, refused where it would lie outside the folder."""
    plain = PurePosixPath(name).parts
    leaves = PureWindowsPath(name).drive or "\\" in name or PurePosixPath(name).is_absolute() or ".." in plain
    path = folder / name
    if not name or leaves or not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{folder / _MANIFEST}: found the file {name!r}, which leaves the bundle's folder; "
            f"expected a file within it; do not use this bundle"
        )
    return path


def _sigmoid(logits: NDArray[np.floating], scalings: tuple[Scaling, ...]) -> NDArray[np.float64]:
    scale = np.array([s.scale for s in scalings])
    offset = np.array([s.offset for s in scalings])
    # Clipped only to keep exp quiet: beyond 60 the result is 0 or 1 to the last digit.
    return np.asarray(1 / (1 + np.exp(-np.clip(scale * np.asarray(logits, np.float64) + offset, -60, 60))))

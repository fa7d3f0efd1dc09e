"""Any ONNX graph with a hand-written ``model.yaml``: wrapped into the form that bundles have, and compared.

The graph may score slices or draw maps. What it takes is made of windows of the image or of the head; what it gives is
carried to our labels. Both are nodes added to the graph itself: detection needs nothing more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ichor.detecting.manifest import Localisation
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.detecting.sessions import open_session
from ichor.errors import BundleError, UsageError
from ichor.labels import LABEL_NAMES
from ichor.preparing import Channel, Preparation
from ichor.training.importing.publication import (
    TOLERANCE,
    Outputs,
    Published,
    compared_stacks,
    write_published,
)
from ichor.training.importing.weights import hashes

__all__ = ["DESCRIPTION", "ModelDescription", "import_onnx"]

DESCRIPTION = "model.yaml"
_OLDEST_OPSET = 13
_ABSENT = -16.0
"""Logit of a label that the graph does not know."""
_LEAST = 1e-6
_SATURATED = 8.0
_NOTHING = "-"
_Axes = list[str | int | None]


class ModelDescription(BaseModel):
    """What ``model.yaml`` holds.

    Attributes
    ----------
    graph
        The ONNX file, beside it.
    name, licence, authors, url, version, citation, description
        Of the model.
    kind
        ``slices``: the output is ``(n, labels)``. ``maps``: ``(n, labels, rows, columns)``.
    size
        Rows and columns of the input ``(n, channels, rows, columns)``.
    windows
        Of each channel: which slice (0 the one assessed, -1 the one below, 1 the one above), level and width in HU.
    values
        What black and white are to the network.
    labels
        Of the outputs, in their order: ours, or ``-`` for none of them.
    scores
        ``logits``, ``probabilities``, or ``softmax``: logits of classes that exclude each other.
    frame, resize_above, slab_mm
        See :class:`ichor.preparing.stacks.Preparation`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: str = Field(pattern=r"^[^/\\]+$")
    name: str
    licence: str
    authors: str
    url: str
    version: str = "1"
    citation: str = ""
    description: str = ""
    kind: Literal["slices", "maps"]
    size: tuple[int, int]
    windows: tuple[tuple[int, float, float], ...] = Field(min_length=1)
    values: tuple[float, float] = (0.0, 1.0)
    labels: tuple[str, ...]
    scores: Literal["logits", "probabilities", "softmax"] = "logits"
    frame: Literal["head", "image"] = "image"
    resize_above: int | None = None
    slab_mm: float = 5.0

    @field_validator("labels")
    @classmethod
    def _labels_are_known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        named = [name for name in labels if name != _NOTHING]
        if not named or len(set(named)) < len(named) or not set(named) <= set(LABEL_NAMES):
            raise ValueError(f"expected some of {', '.join(LABEL_NAMES)}, each once, and - for others")
        return labels

    @property
    def preparation(self) -> Preparation:
        """What the network sees."""
        channels = tuple(Channel(offset=o, level=level, width=width) for o, level, width in self.windows)
        return Preparation(
            rows=self.size[0],
            columns=self.size[1],
            slab_mm=self.slab_mm,
            frame=self.frame,
            resize_above=self.resize_above,
            channels=channels,
        )


def import_onnx(folder: Path, output: Path) -> Path:
    """Make a bundle of an ONNX graph and its ``model.yaml``.

    Parameters
    ----------
    folder
        Holds both.
    output
        Of the bundle.

    Raises
    ------
    UsageError
        Where a file is missing, or the description is not of its form.
    BundleError
        Where the graph does not do what the description says.
    """
    described = _description(folder / DESCRIPTION)
    path = folder / described.graph
    files = hashes(folder, (DESCRIPTION, described.graph))
    model = _opened(path)
    stacks = compared_stacks(described.preparation)
    wrapped = _wrapped(model, described, path)
    given = _own(described, path, stacks[0])
    stride = described.size[0] // given.shape[2] if described.kind == "maps" else 2

    def write(home: Path) -> tuple[dict[str, Outputs], str]:
        first = "slice" if described.kind == "maps" else "features"
        onnx.save(wrapped, home / f"{first}.onnx")
        session = open_session(home / f"{first}.onnx")
        of_maps = described.kind == "maps"
        found = session.run(["map" if of_maps else "features"], {"stack": stacks[0]})[0]
        # Beyond, a probability of 32 bits no longer tells its logit so exactly.
        most = np.inf if described.scores == "logits" else _SATURATED
        pair = [np.clip(values, -most, most) for values in (found, _expected(described, given))]
        difference = float(np.abs(pair[0] - pair[1]).max())
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{path}: found scores that differ by {difference:.4f} once the graph is wrapped; expected at most "
                f"{TOLERANCE:g}; check kind, scores and labels in {DESCRIPTION}"
            )
        remark = f"Between the graph as given and the bundle's a logit differs by {difference:.1e} at most."
        if of_maps:
            return {"slice": ("map", "slice")}, remark
        onnx.save(_identity(), home / "head.onnx")
        return {"features": ("features",), "head": ("slice",)}, remark

    absent = [name for name in LABEL_NAMES[1:] if name not in described.labels]
    return write_published(
        Published(
            name=described.name,
            version=described.version,
            description=described.description or f"{described.name}, imported from an ONNX graph.",
            licence=described.licence,
            authors=described.authors,
            citation=described.citation,
            url=described.url,
            write=write,
            preparation=described.preparation,
            slice_rule=SliceRule() if described.kind == "maps" else SliceRule(kind="graph"),
            exam_rule=ExamRule(),
            map_stride=stride,
            localisation=Localisation(),
            trained_on=(),
            restrictions=(),
            claimed=(),
            limits=(f"The model does not know: {', '.join(absent)}. Their scores mean nothing.",)
            if absent
            else (),
        ),
        output,
        files,
    )


def _description(path: Path) -> ModelDescription:
    if not path.is_file():
        raise UsageError(f"{path}: found no such file; expected the description of the ONNX graph beside it")
    try:
        return ModelDescription.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError:
        raise UsageError(
            f"{path}: found no YAML; expected ten lines of it: see docs/how-to/add-a-model.md"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(
            f"{path}: found {where} wrong: {first['msg'].removeprefix('Value error, ')}; "
            "expected the keys that docs/how-to/add-a-model.md lists"
        ) from None


def _opened(path: Path) -> Any:
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except Exception as error:  # of protobuf and of the checker, without a common base
        raise BundleError(
            f"{path}: found no sound ONNX graph ({type(error).__name__}); expected one that holds its weights itself; "
            "export it again"
        ) from None
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise BundleError(
            f"{path}: found operators of version {opset}; expected {_OLDEST_OPSET} or later; export it again, or "
            "convert it with onnx.version_converter"
        )
    return model


def _single(path: Path, values: list[Any], what: str) -> str:
    if len(values) != 1:
        raise BundleError(
            f"{path}: found {len(values)} {what}s ({', '.join(v.name for v in values)}); expected one; export the "
            f"graph with one {what}"
        )
    return str(values[0].name)


def _wrapped(model: Any, described: ModelDescription, path: Path) -> Any:
    """Add what carries our input to the graph's, and its output to ours."""
    known = {tensor.name for tensor in model.graph.initializer}
    _single(path, [v for v in model.graph.input if v.name not in known], "input")
    _single(path, list(model.graph.output), "output")
    inner = compose.add_prefix(model, "given/")
    graph = inner.graph
    taken = next(v.name for v in graph.input if v.name.removeprefix("given/") not in known)
    given = graph.output[0].name
    low, high = described.values
    nodes, constants = _Nodes(), {"scale": high - low, "offset": low}
    for name, value in constants.items():
        nodes.constant(name, np.array(value, np.float32))
    first = [
        helper.make_node("Mul", ["stack", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], [taken]),
    ]
    is_map = described.kind == "maps"
    final = "map" if is_map else "features"
    nodes.columns(given, described, final)
    if is_map:
        nodes.add("GlobalMaxPool", ["map"], "highest")
        nodes.add("Flatten", ["highest"], "slice", axis=1)
    every = [*first, *graph.node, *nodes.nodes]
    rows, columns = described.size
    shape: _Axes = ["n", len(described.windows), rows, columns]
    outputs: list[tuple[str, _Axes]] = (
        [("map", ["n", 6, "h", "w"]), ("slice", ["n", 6])] if is_map else [("features", ["n", 6])]
    )
    whole = helper.make_graph(
        every,
        described.name,
        [helper.make_tensor_value_info("stack", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs],
        [*graph.initializer, *nodes.constants],
    )
    made = helper.make_model(whole, opset_imports=inner.opset_import, ir_version=inner.ir_version)
    made.functions.extend(inner.functions)
    return made


class _Nodes:
    """Nodes that are added behind a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def columns(self, given: str, described: ModelDescription, output: str) -> None:
        """Carry the given scores to logits of our labels."""
        value = given
        if described.scores == "softmax":
            value = self.add("Softmax", [value], "shares", axis=1)
        if described.scores != "logits":
            least = self.constant("least", np.array(_LEAST, np.float32))
            most = self.constant("most", np.array(1 - _LEAST, np.float32))
            one = self.constant("one", np.array(1, np.float32))
            value = self.add("Clip", [value, least, most], "kept")
            rest = self.add("Sub", [one, value], "rest")
            odds = self.add("Div", [value, rest], "odds")
            value = self.add("Log", [odds], "logits")
        own = {}
        for place, name in enumerate(described.labels):
            if name != _NOTHING:
                index = self.constant(f"place/{name}", np.array([place], np.int64))
                own[name] = self.add("Gather", [value, index], f"own/{name}", axis=1)
        zero = self.constant("zero", np.array(0, np.float32))
        absent = self.constant("absent", np.array(_ABSENT, np.float32))
        nothing = self.add("Mul", [next(iter(own.values())), zero], "nothing")
        nothing = self.add("Add", [nothing, absent], "unknown")
        if "any" not in own:
            own["any"] = self.add("Max", list(own.values()), "own/any")
        self.add("Concat", [own.get(name, nothing) for name in LABEL_NAMES], output, axis=1)


def _identity() -> Any:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in ("features", "slice")
    ]
    node = helper.make_node("Identity", ["features"], ["slice"])
    graph = helper.make_graph([node], "head", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _own(described: ModelDescription, path: Path, stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the graph as it was given."""
    session = open_session(path)
    low, high = described.values
    taken = session.get_inputs()[0].name
    try:
        found = np.asarray(session.run(None, {taken: stack * np.float32(high - low) + np.float32(low)})[0])
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise BundleError(
            f"{path}: found a graph that fails on an input of shape {stack.shape} ({type(error).__name__}); expected "
            f"it to take that; check size and windows in {DESCRIPTION}"
        ) from None
    rank = 4 if described.kind == "maps" else 2
    if found.ndim != rank or found.shape[:2] != (len(stack), len(described.labels)):
        raise BundleError(
            f"{path}: found an output of shape {found.shape}; expected {rank} axes, {len(stack)} slices and "
            f"{len(described.labels)} labels; check kind and labels in {DESCRIPTION}"
        )
    return found.astype(np.float32)


def _expected(described: ModelDescription, given: NDArray[np.float32]) -> NDArray[np.float64]:
    """Carry scores to logits of our labels, as the added nodes should."""
    value = given.astype(np.float64)
    if described.scores == "softmax":
        value = np.exp(value - value.max(axis=1, keepdims=True))
        value /= value.sum(axis=1, keepdims=True)
    if described.scores != "logits":
        value = np.clip(value, np.float32(_LEAST), np.float32(1 - _LEAST))
        value = np.log(value / (1 - value))
    out = np.full((len(value), len(LABEL_NAMES), *value.shape[2:]), _ABSENT)
    known = [(place, name) for place, name in enumerate(described.labels) if name != _NOTHING]
    for place, name in known:
        out[:, LABEL_NAMES.index(name)] = value[:, place]
    if "any" not in described.labels:
        out[:, 0] = value[:, [place for place, _ in known]].max(axis=1)
    return out

"""From a trained network to ONNX graphs, compared with it on real slices and refused if they differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.detecting.sessions import open_session
from ichor.errors import BundleError
from ichor.models.classifier import SliceClassifier
from ichor.preparing import Preparation
from ichor.training.stacking import Together

__all__ = ["MAP_STRIDE", "TOLERANCE", "ExportedGraph", "export_graphs", "export_together"]

MAP_STRIDE = 2
TOLERANCE = 2e-3
"""Largest difference of a logit between torch and ONNX Runtime, fp32, that is only rounding."""
_MOST_SLICES = 4096


class ExportedGraph:
    """A graph that was written.

    Attributes
    ----------
    name, file
        In the bundle.
    inputs, outputs
        Names of what it takes and gives.
    """

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.name, self.file = name, f"{name}.onnx"
        self.inputs, self.outputs = list(inputs), list(outputs)


class _Maps(nn.Module):
    """What a map model's graph gives: the map, the slice's logits from its hottest pixels, and the pooled head's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        map_logits, hottest, pooled = self.model(stack)
        return map_logits, hottest, pooled


class _Features(nn.Module):
    def __init__(self, model: SliceClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, stack: Tensor) -> Tensor:
        return self.model.features(stack)


class _Head(nn.Module):
    def __init__(self, model: SliceClassifier) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


def export_graphs(
    model: nn.Module, preparation: Preparation, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[ExportedGraph], float]:
    """Write the graphs of a model and compare them with it.

    Parameters
    ----------
    model
        In evaluation mode: a map model gives one graph, a classifier its features and its head.
    preparation
        Gives the graphs' input size.
    folder
        Where to write.
    exams
        ``(n, channels, rows, columns)`` real slices of an exam each, in order, of different n.

    Returns
    -------
    graphs, difference
        What was written, and the largest difference of a logit.

    Raises
    ------
    BundleError
        Where the two differ by more than rounding; nothing is kept then.
    """
    stack = torch.zeros(2, len(preparation.channels), preparation.rows, preparation.columns)
    parts: list[tuple[ExportedGraph, nn.Module, Tensor]]
    if isinstance(model, SliceClassifier):
        parts = [
            (ExportedGraph("features", ["stack"], ["features"]), _Features(model), stack),
            (
                ExportedGraph("head", ["features"], ["slice"]),
                _Head(model),
                torch.zeros(2, model.num_features),
            ),
        ]
    else:
        parts = [(ExportedGraph("slice", ["stack"], ["map", "slice", "pooled"]), _Maps(model), stack)]
    return _written(parts, folder, exams)


def export_together(
    together: Together, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[ExportedGraph], float]:
    """Write the graph that weighs the slices of an exam, and compare it: see :func:`export_graphs`.

    Parameters
    ----------
    together
        In evaluation mode.
    folder
        Where to write.
    exams
        ``(n, 18)`` opinions on all slices of an exam each, of different n.
    """
    graph = ExportedGraph("sequence", ["opinions"], ["slice"])
    return _written([(graph, together, torch.from_numpy(exams[0]))], folder, exams)


def _written(
    parts: Sequence[tuple[ExportedGraph, nn.Module, Tensor]],
    folder: Path,
    exams: Sequence[NDArray[np.float32]],
) -> tuple[list[ExportedGraph], float]:
    for graph, module, example in parts:
        _export(module.eval(), example, graph, folder / graph.file)
    # numpy's maximum, unlike Python's, lets no NaN get lost.
    difference = float(np.max([_difference(parts, folder, exam) for exam in exams]))
    if not difference <= TOLERANCE:
        for graph, _, _ in parts:
            (folder / graph.file).unlink()
        raise BundleError(
            f"{parts[0][0].file}: found logits that differ by {difference:.4f} between torch and ONNX Runtime on "
            f"{sum(map(len, exams))} real slices; expected at most {TOLERANCE}; no graph was kept"
        )
    return [graph for graph, _, _ in parts], difference


def _export(module: nn.Module, example: Tensor, graph: ExportedGraph, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own; what matters is compared below
        torch.onnx.export(
            module,
            (example,),
            str(path),
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes={graph.inputs[0]: {0: torch.export.Dim("n", min=1, max=_MOST_SLICES)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _strip(path)


def _difference(
    parts: Sequence[tuple[ExportedGraph, nn.Module, Tensor]], folder: Path, exam: NDArray[np.float32]
) -> float:
    """Run both over one exam, graph after graph as detection does."""
    expected, found = (torch.from_numpy(exam),), [exam]
    for graph, module, _ in parts:
        with torch.inference_mode():
            given = module(expected[0])
        expected = given if isinstance(given, tuple) else (given,)
        session = open_session(folder / graph.file)
        found = session.run(graph.outputs, {graph.inputs[0]: found[0]})
    return float(np.max([np.abs(a.numpy() - b).max() for a, b in zip(expected, found, strict=True)]))


def _strip(path: Path) -> None:
    """Take the exporter's remarks out of a graph: they hold the paths of the machine that made it."""
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    inside = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *inside):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, str(path))

"""From a trained network to ONNX graphs, compared with it on real slices and refused if they differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ichor.detecting.sessions import open_session
from ichor.errors import BundleError
from ichor.training.families.family import Graph
from ichor.training.recipe import Recipe
from ichor.training.stacking import Stacker

__all__ = ["TOLERANCE", "export_graphs", "export_stacker", "write_graphs"]

TOLERANCE = 2e-3
"""Largest difference of a logit between torch and ONNX Runtime, fp32, that is only rounding."""
_MOST_SLICES = 4096
_OF_EXAM = "exam"
"""Output that has one row, however many slices there are."""


def export_graphs(
    recipe: Recipe, network: nn.Module, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[Graph], float]:
    """Write the graphs of a network and compare them with it.

    Parameters
    ----------
    recipe
        Its model's family says which graphs there are, its preparation their input.
    network
        In evaluation mode.
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
    return write_graphs(recipe.family.graphs(network, recipe.preparation), folder, exams)


def export_stacker(
    stacker: Stacker, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[Graph], float]:
    """Write the graph of a stacking model, and compare it: see :func:`export_graphs`.

    Parameters
    ----------
    stacker
        In evaluation mode.
    folder
        Where to write.
    exams
        ``(n, 18)`` stacking inputs of all slices of an exam each, of different n.
    """
    graph = Graph("sequence", ("opinions",), ("slice",), stacker, torch.from_numpy(exams[0]))
    return write_graphs([graph], folder, exams)


def write_graphs(
    graphs: list[Graph],
    folder: Path,
    exams: Sequence[NDArray[np.float32]],
    tolerance: float | None = None,
) -> tuple[list[Graph], float]:
    """Write graphs, each fed by the first output of the one before, and compare them: see :func:`export_graphs`."""
    for graph in graphs:
        _export(graph, folder / graph.file)
    # numpy's maximum, unlike Python's, lets no NaN get lost.
    difference = float(np.max([_difference(graphs, folder, exam) for exam in exams]))
    most = TOLERANCE if tolerance is None else tolerance
    if not difference <= most:
        for graph in graphs:
            (folder / graph.file).unlink()
        raise BundleError(
            f"{graphs[0].file}: found logits that differ by {difference:.4f} between torch and ONNX Runtime on "
            f"{sum(map(len, exams))} slices; expected at most {most:g}; no graph was kept"
        )
    return graphs, difference


def _export(graph: Graph, path: Path) -> None:
    # torch.export (2.14) fixes recurrent layers to the example's number of slices: they are traced instead.
    recurrent = graph.traced or any(isinstance(layer, nn.RNNBase) for layer in graph.module.modules())
    named = [name for name in (*graph.inputs, *graph.outputs) if name != _OF_EXAM]
    number: dict[str, Any] = (
        {
            "dynamo": False,
            "dynamic_axes": {name: {k: f"n{k or ''}" for k in graph.free_axes} for name in named},
        }
        if recurrent
        else {
            "dynamo": True,
            "dynamic_shapes": ({0: torch.export.Dim("n", min=1, max=_MOST_SLICES)},),
            "external_data": False,
            "verbose": False,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own; what matters is compared below
        torch.onnx.export(
            graph.module.eval(),
            (graph.example,),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            **number,
        )
    _strip(path)


def _difference(graphs: Sequence[Graph], folder: Path, exam: NDArray[np.float32]) -> float:
    """Run both over one exam, graph after graph as detection does."""
    expected, found = (torch.from_numpy(exam),), [exam]
    for graph in graphs:
        with torch.inference_mode():
            given = graph.module(expected[0])
        expected = given if isinstance(given, tuple) else (given,)
        session = open_session(folder / graph.file)
        found = session.run(list(graph.outputs), {graph.inputs[0]: found[0]})
    return float(np.max([np.abs(a.numpy() - b).max() for a, b in zip(expected, found, strict=True)]))


def _strip(path: Path) -> None:
    """Take the exporter's remarks out of a graph: paths of the machine that made it, and shapes of the example.

    Shapes within the graph are recorded for the example's number of slices; ONNX Runtime would take them for true of
    every number. It finds them by itself.
    """
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, str(path))

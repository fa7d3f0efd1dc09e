"""A run's map model with 8-bit weights and activations: a quarter of the size, faster on CPUs, measured again.

What changes every logit must be measured as what it is: each fold's network is quantised by slices of its own
training patients, and judges the patients that it did not see. Calibration, thresholds and figures of an 8-bit bundle
come from those judgements.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split
from ichor.detecting.sessions import open_session
from ichor.errors import UsageError
from ichor.models import MapSpec
from ichor.training.export import ExportedGraph, export_graphs
from ichor.training.fitting import load_model
from ichor.training.run import SPLIT, WEIGHTS, Run, predict, write_predictions

__all__ = ["GraphNetwork", "quantise", "quantised_graphs", "quantised_run"]

FOLDER = "int8"
"""In a run's folder: what its networks say in 8 bits."""


def quantise(graph: Path, stacks: Sequence[NDArray[np.float32]], destination: Path) -> None:
    """Write an 8-bit version of a map model's graph.

    Weights are scaled channel by channel, activations by the range that they take on real slices. The first and the
    last convolution and the pooled head keep fp32: that takes a third off the change of the hot pixels' logits, and no
    time to speak of.

    Parameters
    ----------
    graph
        ONNX, fp32, with the input ``stack``.
    stacks
        ``(n, channels, rows, columns)`` slices that the network trained on, to find the ranges by.
    destination
        File of the new graph.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Slices(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(stacks)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            stack = next(self._left, None)
            return None if stack is None else {"stack": stack}

    with tempfile.TemporaryDirectory() as name:
        fused = Path(name) / "fused.onnx"
        quant_pre_process(str(graph), str(fused), skip_symbolic_shape=True)
        nodes = onnx.load(fused).graph.node
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        pooled = [node.name for node in nodes if node.op_type in ("Gemm", "MatMul")]
        quantize_static(
            str(fused),
            str(destination),
            Slices(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[convolutions[0], convolutions[-1], *pooled],
        )


class GraphNetwork(nn.Module):
    """A map model's graph in ONNX Runtime, called as the network is.

    Parameters
    ----------
    graph
        With the outputs ``map``, ``slice`` and ``pooled``.
    """

    def __init__(self, graph: Path) -> None:
        super().__init__()
        self._session = open_session(graph)
        self.on = nn.Parameter(torch.zeros(1), requires_grad=False)  # tells callers that it runs on the CPU

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge slices ``(n, channels, rows, columns)``: maps, their hottest logits, the pooled head's."""
        given = self._session.run(["map", "slice", "pooled"], {"stack": stack.contiguous().numpy()})
        maps, hottest, pooled = map(torch.from_numpy, given)
        return maps, hottest, pooled


def quantised_run(run: Run) -> Run:
    """Judge each fold's held-out patients by its network in 8 bits; what is already there is kept.

    Returns
    -------
    Run
        The same run with a folder of its own in the run's, which holds the predictions.

    Raises
    ------
    UsageError
        Where the model draws no map.
    """
    recipe = run.recipe
    if not isinstance(recipe.model, MapSpec):
        raise UsageError(
            f"recipe {recipe.name}: found a model that draws no map; 8 bits are for those that do; leave out --int8"
        )
    dataset = open_dataset(recipe.target, run.data)
    small = replace(run, folder=run.folder / FOLDER)
    for part in run.folds():
        home = small.folder / part
        predictions = home / "predictions.csv"
        if predictions.exists():
            continue
        run.log(part, 0, 0, "judging in 8 bits")
        home.mkdir(parents=True, exist_ok=True)
        network = load_model(recipe, run.folder / part / WEIGHTS)
        held_out = sorted(set(_folds(run)) - set(_trained_on(run, part)))
        exams = list(itertools.islice(run.some_slices(held_out), 2))
        graphs, _ = quantised_graphs(run, part, network, home, exams)
        judged = predict(GraphNetwork(home / graphs[0].file), dataset, held_out, recipe)
        write_predictions(predictions, judged)
    if recipe.sequence is not None:
        run.weigh(small.folder)
    return small


def quantised_graphs(
    run: Run, part: str, network: nn.Module, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[ExportedGraph], float]:
    """Write the 8-bit graph of a part of a run.

    Parameters
    ----------
    run, part
        Slices of the part's training patients tell the range of each activation.
    network
        Of that part.
    folder
        Where to write.
    exams
        Compared on these is the fp32 graph that the 8-bit one is made from: see
        :func:`~ichor.training.export.export_graphs`.

    Returns
    -------
    graphs, difference
        What was written, and the largest difference of a logit between torch and the fp32 graph.
    """
    with tempfile.TemporaryDirectory() as name:
        graphs, difference = export_graphs(network, run.recipe.preparation, Path(name), exams)
        stacks = list(run.some_slices(_trained_on(run, part)))
        for graph in graphs:
            quantise(Path(name) / graph.file, stacks, folder / graph.file)
    return graphs, difference


def _folds(run: Run) -> dict[str, int]:
    return load_split(run.folder / SPLIT, open_dataset(run.recipe.target, run.data)).folds


def _trained_on(run: Run, part: str) -> list[str]:
    return sorted(p for p, k in _folds(run).items() if f"fold-{k}" != part)

"""A run's map model with 8-bit weights and activations: a quarter of the size, faster on CPUs, measured again.

What changes every logit must be measured as what it is: each fold's network is quantised by slices of its own
training patients, and predicts the patients that it did not see. Calibration, thresholds and figures of an 8-bit
bundle come from those predictions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.detecting.sessions import open_session
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import write_predictions
from ichor.reading.scratch import ScratchFolder
from ichor.training.export import export_graphs
from ichor.training.families.family import Graph
from ichor.training.fitting import load_model
from ichor.training.predicting import predict
from ichor.training.run_data import RunData, trained_on
from ichor.training.run_folder import RunFolder

__all__ = ["GraphNetwork", "quantise", "quantised_graphs", "quantised_run"]

FOLDER = "int8"
"""In a run's folder: the predictions of its networks in 8 bits."""


def quantise(graph: Path, stacks: Sequence[NDArray[np.float32]], destination: Path) -> None:
    """Write an 8-bit version of a map model's graph.

    Weights are scaled channel by channel, activations by the range that they take on real slices. The first and the
    last convolution and the pooled head keep fp32: that takes a third off the change of the top pixels' logits, and no
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

    with ScratchFolder() as scratch:
        fused = scratch / "fused.onnx"
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
        self.on = nn.Parameter(torch.zeros(1), requires_grad=False)  # its device is the CPU

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict slices ``(n, channels, rows, columns)``: maps, the logits of their top pixels, the pooled head's."""
        given = self._session.run(["map", "slice", "pooled"], {"stack": stack.contiguous().numpy()})
        maps, slices, pooled = map(torch.from_numpy, given)
        return maps, slices, pooled


def quantised_run(data: RunData) -> RunFolder:
    """Predict each fold's held-out patients by its network in 8 bits; what is already there is kept.

    Returns
    -------
    RunFolder
        Of the same recipe, in the run's, with the predictions.

    Raises
    ------
    UsageError
        Where the model's family cannot be quantised.
    """
    folder, recipe = data.folder, data.folder.recipe
    if "int8" not in recipe.family.abilities:
        raise UsageError(
            f"recipe {recipe.name}: found a model that draws no map; 8 bits are for those that do; leave out --int8"
        )
    small = RunFolder(folder.path / FOLDER, recipe)
    for part in folder.folds:
        predictions = small.predictions(part)
        if predictions.exists():
            continue
        data.progress(f"{part}: predicting in 8 bits", 0.0)
        predictions.parent.mkdir(parents=True, exist_ok=True)
        network = load_model(recipe, folder.weights(part))
        held_out = sorted(set(data.split) - set(trained_on(data.split, part)))
        exams = list(itertools.islice(data.some_slices(held_out), 2))
        graphs, _ = quantised_graphs(data, part, network, predictions.parent, exams)
        rows = predict(GraphNetwork(predictions.parent / graphs[0].file), data.target, held_out, recipe)
        write_predictions(predictions, rows)
    if recipe.sequence is not None:
        data.write_stacked(small.path)
    return small


def quantised_graphs(
    data: RunData, part: str, network: nn.Module, folder: Path, exams: Sequence[NDArray[np.float32]]
) -> tuple[list[Graph], float]:
    """Write the 8-bit graph of a part of a run.

    Parameters
    ----------
    data, part
        Slices of the part's training patients give the range of each activation.
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
    with ScratchFolder() as scratch:
        graphs, difference = export_graphs(data.folder.recipe, network, scratch, exams)
        stacks = list(data.some_slices(trained_on(data.split, part)))
        for graph in graphs:
            quantise(scratch / graph.file, stacks, folder / graph.file)
    return graphs, difference

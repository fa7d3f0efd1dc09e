"""From a trained network to an ONNX graph, compared with it on real slices and refused if they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.errors import BundleError
from ichor.models.unet import MapNet
from ichor.preparing import Preparation

__all__ = ["MAP_STRIDE", "export_onnx"]

MAP_STRIDE = 2
_TOLERANCE = 2e-3
"""Largest difference of a logit between torch and ONNX Runtime, fp32, that is only rounding."""


class _Graph(nn.Module):
    """What a bundle's graph gives: the map, and the slice's logit from its hottest pixels."""

    def __init__(self, model: MapNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        map_logits, hottest, _ = self.model(stack)
        return map_logits, hottest


def export_onnx(model: MapNet, preparation: Preparation, path: Path, stack: NDArray[np.float32]) -> float:
    """Write the graph and compare it.

    Parameters
    ----------
    model
        In evaluation mode.
    preparation
        Gives the graph's input size.
    path
        Of the ONNX file.
    stack
        ``(n, channels, rows, columns)`` real slices to compare on.

    Returns
    -------
    float
        Largest difference of a logit.

    Raises
    ------
    BundleError
        Where the two differ by more than rounding.
    """
    import onnxruntime

    graph = _Graph(model).eval()
    example = torch.zeros(2, len(preparation.channels), preparation.rows, preparation.columns)
    torch.onnx.export(
        graph,
        (example,),
        str(path),
        input_names=["stack"],
        output_names=["map", "slice"],
        dynamic_shapes={"stack": {0: torch.export.Dim("n", min=1, max=4096)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _strip(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = [t.numpy() for t in graph(torch.from_numpy(stack))]
    found = session.run(["map", "slice"], {"stack": stack})
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
    if not difference <= _TOLERANCE:
        path.unlink()
        raise BundleError(
            f"{path.name}: found logits that differ by {difference:.4f} between torch and ONNX Runtime on "
            f"{len(stack)} real slices; expected at most {_TOLERANCE}; the graph was not kept"
        )
    return difference


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

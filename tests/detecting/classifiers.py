"""A bundle that judges slices and draws no map, made of the shipped one with graphs of a few operations."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

__all__ = ["save_classifier"]


def save_classifier(folder: Path, *, bias: float = 0.0, labels: int = 6, explains: bool = False) -> None:
    """Change a copy of the shipped bundle into one that judges slices: by the sum of those up to each.

    Parameters
    ----------
    folder
        The copy.
    bias
        Of each weight.
    labels
        How many logits a slice has.
    explains
        Whether the graphs give what Grad-CAM needs.
    """
    node = onnx.helper.make_node
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    preparation = manifest["preparation"]
    n = len(preparation["channels"])
    stack = _value("stack", "n", n, preparation["rows"], preparation["columns"])
    mean = node("ReduceMean", ["stack"], ["features"], axes=[2, 3], keepdims=0)
    pooled = node("AveragePool", ["stack"], ["activations"], kernel_shape=[16, 16], strides=[16, 16])
    maps = [_value("activations", "n", n, "h", "w")] * explains
    _save(
        folder / "features.onnx",
        [mean, *[pooled] * explains],
        stack,
        [_value("features", "n", n), *maps],
    )
    sums = node("CumSum", ["features", "first"], ["sums"])
    product = node("MatMul", ["sums", "weight"], ["slice"])
    weights = node("Mul", ["features", "half"], ["channel_weights"])
    _save(
        folder / "head.onnx",
        [sums, product, *[weights] * explains],
        _value("features", "n", n),
        [_value("slice", "n", labels), *[_value("channel_weights", "n", n)] * explains],
        weight=np.full((n, labels), 0.1, np.float32) + np.float32(bias),
        first=np.array(0, np.int64),
        half=np.array(0.5, np.float32),
    )
    graphs = {}
    extra = [["activations"] * explains, ["channel_weights"] * explains]
    for name, given, *found in (
        ("features", "stack", "features", *extra[0]),
        ("head", "features", "slice", *extra[1]),
    ):
        digest = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
        graphs[name] = {
            "file": f"{name}.onnx",
            "sha256": digest,
            "inputs": [given],
            "outputs": found,
        }
    manifest.update(graphs=graphs, slice_rule={"kind": "graph"}, name="sums")
    scalings = [{"scale": 1.0, "offset": 0.0}, *[{"scale": 0.0, "offset": -7.0}] * 5]
    manifest["calibration"] = dict.fromkeys(("slice", "exam", "lone", "picture"), scalings)
    for table in ("thresholds", "slice_thresholds", "picture_thresholds"):
        manifest[table] |= {name: {"probability": 1.0} for name in manifest[table] if name != "any"}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def _save(path: Path, nodes: list[Any], inputs: Any, outputs: list[Any], **constants: np.ndarray) -> None:
    kept = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "made", [inputs], outputs, kept)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def _value(name: str, *shape: int | str) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

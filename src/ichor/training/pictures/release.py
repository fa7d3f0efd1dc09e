"""Write the network that measures pictures for detection: one graph, its hash, and what it learned from.

Usage: python -m ichor.training.pictures.release CHECKPOINT [--error-scale N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from ichor.detecting.grey_input import INPUT_SIDE
from ichor.detecting.picture_estimate import EstimateFile, Estimator
from ichor.detecting.sessions import open_session
from ichor.errors import BundleError
from ichor.training.pictures.network import PictureNet

__all__ = ["main", "release"]

_SHIPPED = Path(__file__).parents[2] / "detecting" / "picture"
_TOLERANCE = 0.01
"""Largest difference of an output between torch and ONNX Runtime: weights are rounded to 16 bits."""
_MOST_BYTES = 1_000_000
_MANY_WEIGHTS = 256
_COMPARED = 16


def main() -> None:
    """Run the command."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("--error-scale", type=float, default=1.0, help="by which errors are widened")
    arguments.add_argument("--folder", type=Path, default=_SHIPPED)
    options = arguments.parse_args()
    kept = torch.load(options.checkpoint, weights_only=True)
    network = PictureNet()
    network.load_state_dict(kept["averaged"])
    release(network.eval(), options.folder, options.error_scale)
    print(f"step {kept['done']}: {options.folder}")


def release(network: PictureNet, folder: Path, error_scale: float) -> Estimator:
    """Write graph and manifest, and open them as detection does.

    Parameters
    ----------
    network
        In evaluation mode.
    folder
        Where to write; what is there is replaced.
    error_scale
        By which the network's errors are widened.

    Raises
    ------
    BundleError
        Where the graph gives something else than the network, or is too large to ship.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "estimate.onnx"
    example = torch.rand(2, 1, INPUT_SIDE, INPUT_SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own; what matters is compared below
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["grey"],
            output_names=["estimate"],
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            external_data=False,
            verbose=False,
        )
    _halve(path)
    content = path.read_bytes()
    pictures = torch.rand(_COMPARED, 1, INPUT_SIDE, INPUT_SIDE)
    with torch.no_grad():
        expected = network(pictures).numpy()
    found = open_session(content).run(None, {"grey": pictures.numpy()})[0]
    difference = float(np.abs(expected - found).max())
    if not difference <= _TOLERANCE or len(content) > _MOST_BYTES:
        raise BundleError(
            f"{path.name}: found outputs that differ by {difference:.4f} and {len(content):,} bytes; expected at most "
            f"{_TOLERANCE} and {_MOST_BYTES:,}; nothing may ship"
        )
    manifest = EstimateFile(
        format="ichor.picture/1",
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        error_scale=error_scale,
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    (folder / "estimate.json").write_text(text, encoding="utf-8")
    return Estimator(folder)


def _halve(path: Path) -> None:
    """Store the weights of a graph in 16 bits, cast as it is opened: half the size, and no other operation changes."""
    model = onnx.load(path)
    graph = model.graph
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= _MANY_WEIGHTS:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            cast = helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
            graph.node.insert(0, cast)
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main()

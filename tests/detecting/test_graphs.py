"""Graphs that leave values in another file: found wherever ONNX lets a tensor stand."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichor.detecting.bundle import load_bundle
from ichor.detecting.graphs import MalformedGraph, external_tensors
from ichor.errors import BundleError


def test_the_shipped_graphs_hold_all_their_values() -> None:
    for name in ("default", "fast", "open"):
        bundle = load_bundle(name)
        for graph in bundle.manifest.used_graphs:
            assert external_tensors(bundle.read_graph(graph)) == []


# -- in every place where a tensor can stand -----------------------------------------------------------


def outside(name: str) -> Any:
    """A tensor whose values are said to lie in ``weights.bin``."""
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def model(**graph: Any) -> Any:
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    return onnx.ModelProto(graph=onnx.GraphProto(**graph))


def placed(where: str) -> Any:
    """A model with an external tensor ``w`` in one place."""
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    tensor = outside("w")
    sparse = onnx.SparseTensorProto(values=tensor, dims=[2])
    of_indices = onnx.SparseTensorProto(indices=tensor, dims=[2])
    inner = onnx.GraphProto(initializer=[tensor])
    attributes = {
        "attribute": onnx.AttributeProto(name="value", t=tensor),
        "attribute list": onnx.AttributeProto(name="value", tensors=[onnx.TensorProto(name="a"), tensor]),
        "sparse attribute": onnx.AttributeProto(name="value", sparse_tensor=sparse),
        "sparse attribute list": onnx.AttributeProto(name="value", sparse_tensors=[sparse]),
        "subgraph": onnx.AttributeProto(name="body", g=inner),
        "subgraphs": onnx.AttributeProto(name="bodies", graphs=[onnx.GraphProto(), inner]),
    }
    if where in attributes:
        return model(node=[onnx.NodeProto(op_type="X", attribute=[attributes[where]])])
    if where == "subgraph of a subgraph":
        nested = onnx.GraphProto(node=[onnx.NodeProto(op_type="If", attribute=[attributes["subgraph"]])])
        node = onnx.NodeProto(op_type="If", attribute=[onnx.AttributeProto(name="then", g=nested)])
        return model(node=[node])
    if where == "function":
        node = onnx.NodeProto(op_type="Constant", attribute=[attributes["attribute"]])
        return onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[node])])
    if where == "default of a function's attribute":
        function = onnx.FunctionProto(name="f", attribute_proto=[attributes["attribute"]])
        return onnx.ModelProto(functions=[function])
    if where == "training":
        return onnx.ModelProto(training_info=[onnx.TrainingInfoProto(initialization=inner)])
    if where == "training algorithm":
        return onnx.ModelProto(training_info=[onnx.TrainingInfoProto(algorithm=inner)])
    return model(
        **{
            "initializer": {"initializer": [onnx.TensorProto(name="a"), tensor]},
            "sparse initializer": {"sparse_initializer": [sparse]},
            "indices of a sparse initializer": {"sparse_initializer": [of_indices]},
        }[where]
    )


@pytest.mark.parametrize(
    "where",
    [
        "initializer",
        "sparse initializer",
        "indices of a sparse initializer",
        "attribute",
        "attribute list",
        "sparse attribute",
        "sparse attribute list",
        "subgraph",
        "subgraphs",
        "subgraph of a subgraph",
        "function",
        "default of a function's attribute",
        "training",
        "training algorithm",
    ],
)
def test_an_external_tensor_is_found_where_it_stands(where: str) -> None:
    assert external_tensors(placed(where).SerializeToString()) == ["w"]


def test_each_sign_of_external_data_is_enough() -> None:
    place, entry, unnamed = (outside(name) for name in ("place", "entry", ""))
    del place.external_data[:]
    entry.ClearField("data_location")
    found = external_tensors(model(initializer=[place, entry, unnamed]).SerializeToString())
    assert found == ["place", "entry", "(unnamed)"]


def test_values_inside_the_file_are_no_external_data() -> None:
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    tensors = [
        onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32), "raw"),
        onnx.helper.make_tensor("floats", onnx.TensorProto.FLOAT, [3], [1.0, -2.0, 3.0]),
        onnx.helper.make_tensor("whole", onnx.TensorProto.INT64, [2], [-1, 2**40]),
        onnx.helper.make_tensor("doubles", onnx.TensorProto.DOUBLE, [1], [0.5]),
        onnx.helper.make_tensor("text", onnx.TensorProto.STRING, [1], [b"weights.bin"]),
    ]
    tensors[0].data_location = onnx.TensorProto.DEFAULT
    assert external_tensors(model(initializer=tensors).SerializeToString()) == []


# -- what is no graph ----------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_called_malformed(content: bytes) -> None:
    with contextlib.suppress(MalformedGraph):
        assert isinstance(external_tensors(content), list)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x3a\x05\x0a", id="longer than the file"),
        pytest.param(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="a length without an end"),
        pytest.param(b"\x0b\x0c", id="a group"),
        pytest.param(b"\x02\x00", id="field 0"),
        pytest.param(b"\x09\x00", id="half a number"),
    ],
)
def test_what_is_no_message_is_called_malformed(content: bytes) -> None:
    with pytest.raises(MalformedGraph):
        external_tensors(content)


def test_messages_nested_without_end_are_called_malformed() -> None:
    content = b""
    for _ in range(60):  # a graph in an attribute of a node of a graph ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(content), b""
            while size >= 0x80:
                length += bytes([size & 0x7F | 0x80])
                size >>= 7
            content = tag + length + bytes([size]) + content
    size = len(content)
    with pytest.raises(MalformedGraph, match="nested"):
        external_tensors(b"\x3a" + bytes([size & 0x7F | 0x80, size >> 7]) + content)


# -- in a bundle ---------------------------------------------------------------------------------------


def test_a_bundle_whose_graph_was_saved_with_external_data_is_refused(
    edit_manifest: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:
    """As the package onnx writes it: the hash of the graph holds, and says nothing of the weights."""
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    folder = edit_manifest(lambda _: None)
    graph = onnx.load(folder / "slice.onnx")
    largest = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data)).name
    onnx.save(graph, folder / "slice.onnx", save_as_external_data=True, location="weights.bin")
    digest = hashlib.sha256((folder / "slice.onnx").read_bytes()).hexdigest()
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["graphs"]["slice"]["sha256"] = digest
    (folder / "bundle.json").write_text(json.dumps(manifest))
    assert largest in external_tensors((folder / "slice.onnx").read_bytes())
    with pytest.raises(
        BundleError, match=r"slice\.onnx: found the tensor '.*external data.*without external data"
    ):
        load_bundle(folder)


def test_a_graph_with_the_right_hash_that_is_no_graph_is_refused(
    edit_manifest: Callable[[Callable[[dict[str, Any]], None]], Path], bundle_copy: Path
) -> None:
    content = b"no graph at all"
    (bundle_copy / "slice.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    folder = edit_manifest(lambda manifest: manifest["graphs"]["slice"].update(sha256=digest))
    with pytest.raises(BundleError, match=r"slice\.onnx: found a file that is no ONNX graph"):
        load_bundle(folder)

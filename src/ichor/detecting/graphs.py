"""What an ONNX file points at: a bundle's hash covers the bytes of a graph, so a graph must hold all of its weights.

ONNX lets a tensor name another file that holds its values ("external data"). Such a file could be changed under the
same hash. The file is a Protocol Buffers message; it is walked here on the wire, without the package ``onnx``, which
detection does not need for anything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ichor.errors import BundleError

__all__ = ["MalformedGraph", "external_tensors", "read_verified"]

_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Numbers of the fields that lead to a tensor, in ``onnx.proto``, which never gives a number another meaning."""

_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MOST_NESTED = 100
"""Levels of messages; Protocol Buffers itself reads no more."""


class MalformedGraph(ValueError):
    """Bytes that are no Protocol Buffers message."""


def read_verified(path: Path, sha256: str, *, manifest: str, remedy: str) -> bytes:
    """Read the bytes of a graph, whose hash was checked on these very bytes.

    Parameters
    ----------
    path
        The file.
    sha256
        Its hash, in hexadecimal.
    manifest
        Name of the file that says so.
    remedy
        What to do where it is another one.

    Raises
    ------
    BundleError
        Where the file is missing, was altered, is no graph, or leaves some of its values in another file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: found no file that can be read ({error.strerror}); expected the graph that {manifest} names; "
            f"{remedy}"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise BundleError(
            f"{path}: found sha256 {digest[:12]}...; expected {sha256[:12]}... as {manifest} says; the file was "
            f"altered or cut short: {remedy}"
        )
    try:
        outside = external_tensors(content)
    except MalformedGraph as error:
        raise BundleError(
            f"{path}: found a file that is no ONNX graph ({error}); expected one; {remedy}"
        ) from None
    if outside:
        others = f" and {len(outside) - 1} others" if len(outside) > 1 else ""
        raise BundleError(
            f"{path}: found the tensor {outside[0]!r}{others} with external data, which no hash in {manifest} covers; "
            f"expected a graph that holds all its values; export it without external data, or {remedy}"
        )
    return content


def external_tensors(model: bytes) -> list[str]:
    """Names of the tensors of an ONNX model whose values lie in another file.

    Initializers, sparse ones, attributes, subgraphs, functions and training information are all looked through.

    Parameters
    ----------
    model
        Content of an ``.onnx`` file.

    Returns
    -------
    list of str
        In the order of the file; ``(unnamed)`` for a tensor without a name.

    Raises
    ------
    MalformedGraph
        Where the bytes are no such message.
    """
    found = []
    waiting = [("ModelProto", memoryview(model), 0)]
    while waiting:
        kind, content, level = waiting.pop()
        if level > _MOST_NESTED:
            raise MalformedGraph(f"found messages nested more than {_MOST_NESTED} deep")
        if kind == "TensorProto":
            name = _external_name(content)
            if name is not None:
                found.append(name)
            continue
        children = _CHILDREN[kind]
        inner = [
            (children[number], value, level + 1)
            for number, value in _fields(content)
            if number in children and isinstance(value, memoryview)
        ]
        waiting += reversed(inner)
    return found


def _external_name(tensor: memoryview) -> str | None:
    """Name of a tensor whose values lie elsewhere, None of one that holds them."""
    name, external = "", False
    for number, value in _fields(tensor):
        if number == _NAME and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", errors="replace")
        elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
            external = True
    return (name or "(unnamed)") if external else None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give each field's number and value; numbers of a fixed width are passed over."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise MalformedGraph("found a field without a number")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif wire == _BYTES:
            length, at = _varint(message, at)
            if length > end - at:
                raise MalformedGraph("found a field that is longer than its message")
            yield number, message[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
            if at > end:
                raise MalformedGraph("found a field that is longer than its message")
        else:  # groups: in no ONNX file
            raise MalformedGraph(f"found a field of the wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of variable length; return it and the place after it."""
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise MalformedGraph("found a number without an end")

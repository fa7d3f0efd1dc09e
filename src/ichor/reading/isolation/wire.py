"""What crosses from the process that reads to its parent: a line of JSON, then the bytes of one array.

The parent trusts neither: nothing is unpickled, types and shapes are checked, and sizes are held against the
limits before anything is allocated.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, BinaryIO, Union, get_args, get_origin, get_type_hints

import numpy as np

from ichor.errors import RefusedInput
from ichor.exam import Exam, Geometry, Picture
from ichor.notices import NOTICES, Notice
from ichor.reading.limits import Limits

__all__ = ["CorruptAnswer", "receive", "receive_line", "send", "send_line"]

Result = Exam | Picture | RefusedInput

_MOST_LINE = 64 << 20
"""Bytes of one line: notices, and a UID and a position for each of some ten thousand slices."""
_PIXELS: dict[str, tuple[str, np.dtype[Any], int]] = {
    "exam": ("volume", np.dtype("<i2"), 3),
    "picture": ("grey", np.dtype("u1"), 2),
}
"""For each kind of image, the field that holds its pixels, their type and number of axes."""
_CLASSES = {"exam": Exam, "picture": Picture}


class CorruptAnswer(Exception):
    """The other process sent what no reader sends."""


def send_line(channel: BinaryIO, message: Mapping[str, Any]) -> None:
    """Send one message."""
    channel.write(json.dumps(message).encode("ascii") + b"\n")
    channel.flush()


def receive_line(channel: BinaryIO) -> dict[str, Any]:
    """Receive one message.

    Raises
    ------
    EOFError
        Where the other end has closed.
    CorruptAnswer
        Where it is no message.
    """
    line = channel.readline(_MOST_LINE)
    if not line.endswith(b"\n"):
        if len(line) == _MOST_LINE:
            raise CorruptAnswer("a line without an end")
        raise EOFError
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise CorruptAnswer("a line that is no JSON") from None
    if not isinstance(message, dict):
        raise CorruptAnswer("a line that is no object")
    return message


def send(channel: BinaryIO, result: Result) -> None:
    """Send one result: its fields as JSON, then its pixels as they lie in memory."""
    if isinstance(result, RefusedInput):
        send_line(channel, {"kind": "refusal", **_plain(vars(result))})
        return
    kind = "exam" if isinstance(result, Exam) else "picture"
    name, dtype, _ = _PIXELS[kind]
    pixels = np.ascontiguousarray(getattr(result, name), dtype=dtype)
    message = {f.name: _plain(getattr(result, f.name)) for f in fields(result) if f.name != name}
    send_line(channel, {"kind": kind, "shape": pixels.shape, **message})
    channel.write(pixels.data.cast("B"))
    channel.flush()


def receive(channel: BinaryIO, message: dict[str, Any], limits: Limits) -> Result:
    """Build the result that a message begins, and receive its pixels.

    Parameters
    ----------
    channel
        What follows the message.
    message
        From :func:`receive_line`.
    limits
        Larger arrays than these allow are not received.

    Raises
    ------
    EOFError
        Where the other end closed within the pixels.
    CorruptAnswer
        Where fields are absent or of another type, or sizes contradict each other or the limits.
    """
    values = dict(message)
    try:
        kind = values.pop("kind")
        if kind == "refusal":
            return _refusal(values)
        name, dtype, axes = _PIXELS[kind]
        shape = _convert(tuple[int, ...], values.pop("shape"))
        if len(shape) != axes or min(shape) < 1 or int(np.prod(shape, dtype=object)) > limits.voxels:
            raise CorruptAnswer("pixels of a size beyond the limits")
        values[name] = np.empty(shape, dtype)
        result: Exam | Picture = _build(_CLASSES[kind], values, already=name)
        if isinstance(result, Exam):
            _check_geometry(result.geometry, shape[0])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise CorruptAnswer(type(error).__name__) from None
    target = values[name].data.cast("B")
    while len(target):
        n = channel.readinto(target)  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        target = target[n:]
    return result


def _plain(value: Any) -> Any:
    """Express a value of a result in what JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _refusal(values: dict[str, Any]) -> RefusedInput:
    notices = tuple(_notice(n) for n in _convert(list, values.pop("notices")))
    texts = {k: _convert(str, v) for k, v in values.items()}
    if texts["code"] not in NOTICES:
        raise ValueError
    uids = {name: texts.pop(name) for name in ("study_uid", "series_uid") if name in texts}
    refusal = RefusedInput(texts.pop("source"), texts.pop("code"), notices=notices, **texts)
    return refusal.with_context(**uids)


def _notice(value: Any) -> Notice:
    made: Notice = _build(Notice, _convert(dict, value))
    if made.code not in NOTICES:
        raise ValueError
    return made


def _check_geometry(geometry: Geometry, n: int) -> None:
    shapes = {"positions": (n, 3), "row_direction": (3,), "column_direction": (3,)}
    for name, shape in shapes.items():
        array = getattr(geometry, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError
    if geometry.thickness.shape not in ((0,), (n,)):
        raise ValueError


def _build(kind: type, values: dict[str, Any], already: str = "") -> Any:
    """Make a data class of checked values; the field ``already`` is taken as it is."""
    hints = get_type_hints(kind)
    if set(values) != {f.name for f in fields(kind)}:
        raise KeyError
    return kind(**{k: v if k == already else _convert(hints[k], v) for k, v in values.items()})


def _convert(hint: Any, value: Any) -> Any:
    """Check a value against a type, and give it back as that type.

    Raises
    ------
    TypeError, ValueError, KeyError, OverflowError
        Where it is of another.
    """
    if hint is Any:
        return _frozen(value)
    if hint is Notice:
        return _notice(value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, _convert(dict, value))
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(next(a for a in inner if a is not type(None)), value)
    if origin is np.ndarray:
        return np.asarray(_convert(list, value), dtype=np.float64)
    if origin is tuple:
        items = _convert(list, value)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        return tuple(_convert(k, v) for k, v in zip(kinds, items, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if type(value) is not dict:
            raise TypeError
        return {k: _convert(inner[1], v) for k, v in value.items()} if inner else value
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is not origin:
        raise TypeError
    return value


def _frozen(value: Any) -> Any:
    """Give lists back as tuples, or as an array where they hold rows of numbers (the affine of a NIfTI file)."""
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        return np.asarray(value, dtype=np.float64)
    return tuple(value) if isinstance(value, list) else value

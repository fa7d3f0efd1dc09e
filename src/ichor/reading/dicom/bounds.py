"""Bounds on what pydicom parses: elements are counted as they are read, values measured before they are converted.

pydicom makes a Python object of every element, item and number. A few megabytes of empty items take minutes,
and of numbers, gigabytes; no image has so many.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.hooks import hooks
from pydicom.hooks import raw_element_value as convert_value
from pydicom.sequence import Sequence
from pydicom.valuerep import VR

__all__ = [
    "BoundedBytes",
    "BoundedFile",
    "Count",
    "Deflated",
    "TooManyElements",
    "bound_conversion",
    "too_many_items",
]

MOST_ITEMS = 40_000
"""Items of sequences in one file: 4,000 frames have some eight each."""
MOST_READS = 600_000
"""Pieces read of one file: two or three an element."""
MOST_VALUE = 262_144
"""Bytes of a value that is converted to numbers or text; the largest that is used is a table of 65,536 entries."""
_CHUNK = 1 << 20
_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_BYTES = {VR.OB, VR.OD, VR.OF, VR.OL, VR.OV, VR.OW, VR.UN, VR.OB_OW}
"""Representations that stay the bytes they are."""


class TooManyElements(ValueError):
    """More elements or items than any image has."""


class Deflated(Exception):
    """The data set is packed from ``position`` on."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(position)


class Count:
    """Counts the pieces and items that are read of one file.

    pydicom turns some exceptions into others: what was exceeded is remembered.
    """

    def __init__(self) -> None:
        self.reads = self.items = 0

    @property
    def exceeded(self) -> bool:
        """Whether there were too many."""
        return self.reads > MOST_READS or self.items > MOST_ITEMS

    def __call__(self, piece: bytes) -> None:
        """Count one piece.

        Raises
        ------
        TooManyElements
            From the first one too many on.
        """
        self.reads += 1
        if len(piece) == 8 and piece[:4] in _ITEM:
            self.items += 1
        if self.exceeded:
            raise TooManyElements


class BoundedFile(io.BufferedReader):
    """A file that counts, and never allocates for more bytes than it has left, whatever length a header forges.

    pydicom asks for all the rest only of a packed data set, which it would unpack without a bound:
    :class:`Deflated` is raised instead.
    """

    def __init__(self, path: Path, count: Count) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._bytes = path.stat().st_size
        self._count = count

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece, and count it."""
        if size is None or size < 0:
            raise Deflated(self.tell())
        if size > _CHUNK:
            size = min(size, max(0, self._bytes - self.tell()))
        piece = super().read(size)
        self._count(piece)
        return piece


class BoundedBytes(io.BytesIO):
    """Bytes in memory that count."""

    def __init__(self, raw: bytes, count: Count) -> None:
        super().__init__(raw)
        self._count = count

    @property
    def exceeded(self) -> bool:
        """Whether too much was read."""
        return self._count.exceeded

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece, and count it."""
        piece = super().read(size)
        self._count(piece)
        return piece


def too_many_items(data: Dataset) -> bool:
    """Tell whether a sequence that is not parsed yet has more items than any image, without parsing it."""
    return any(
        isinstance(element, RawDataElement)
        and isinstance(element.value, bytes)
        and element.VR in (VR.SQ, VR.UN, None)
        and max(element.value.count(mark) for mark in _ITEM) > MOST_ITEMS
        for element in data.values()
    )


def bound_conversion() -> Callable[[], None]:
    """Have pydicom convert within the bounds, in the whole process, and return how to undo that."""
    before = hooks.raw_element_value
    hooks.register_callback("raw_element_value", _converted)
    return lambda: hooks.register_callback("raw_element_value", before)


def _converted(raw: Any, data: dict[str, Any], *, encoding: Any = None, ds: Any = None, **other: Any) -> None:
    kind, value = data["VR"], raw.value
    if kind == VR.SQ and value:
        stream = BoundedBytes(value, Count())
        little, place = raw.is_little_endian, raw.value_tell
        try:
            data["value"] = read_sequence(
                stream, raw.is_implicit_VR, little, len(value), encoding or "iso8859", place
            )
        except (TooManyElements, OSError):
            if not stream.exceeded:
                raise
            # As if it were absent: whoever asks again and again would pay for it each time.
            data["value"] = Sequence()
        return
    if value is not None and len(value) > MOST_VALUE and kind not in _BYTES:
        raise TooManyElements
    convert_value(raw, data, encoding=encoding, ds=ds, **other)

"""JPEG 2000 and HTJ2K: the code stream that a decoder takes, found as it finds it, and what its header asks for.

A stream in DICOM is bare; some writers leave it in the boxes of a JP2 file. A decoder walks the boxes to the
first code stream, wherever else something looks like one. What is checked here is cut out, and the decoder gets
nothing but that.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import JPEG2000TransferSyntaxes

__all__ = ["bare_stream", "describe", "is_wavelet"]

_HTJ2K_ROOT = "1.2.840.10008.1.2.4.20"
_START = b"\xff\x4f\xff\x51"
_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SIZE, _CODING, _COMPONENT_CODING, _TILE = 0x51, 0x52, 0x53, 0x90
_MOST_BOXES = 64
_MOST_SEGMENTS = 256
_MOST_TILES = 4096
_MOST_PARTS = 1 << 20
"""Precincts or code blocks of an image; each takes a decoder some hundred bytes before any pixel is decoded."""
_LEAST_TILE = 16


@dataclass(frozen=True)
class _Size:
    rows: int
    columns: int
    components: int
    bits: int
    tiles: int


def is_wavelet(syntax: str) -> bool:
    """Tell whether a transfer syntax is JPEG 2000 or HTJ2K."""
    return syntax in JPEG2000TransferSyntaxes or syntax.startswith(_HTJ2K_ROOT)


def bare_stream(frame: bytes) -> bytes | None:
    """Cut the code stream out of its boxes; None where there is none, or the boxes are broken."""
    if frame.startswith(_START):
        return frame
    if not frame.startswith(_SIGNATURE):
        return None
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(frame):
            return None
        length, kind = struct.unpack_from(">L4s", frame, at)
        head = 8
        if length == 1 and at + 16 <= len(frame):
            length, head = struct.unpack_from(">Q", frame, at + 8)[0], 16
        end = len(frame) if length == 0 else at + length
        if end > len(frame) or end < at + head:
            return None
        if kind == b"jp2c":
            return frame[at + head : end] if frame.startswith(_START, at + head) else None
        at = end
    return None


def describe(frame: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, components and bits of a stream; None where its main header is unsound or asks for too much."""
    stream = bare_stream(frame)
    if stream is None:
        return None
    at, size, coded = 2, None, False
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(stream) or stream[at] != 0xFF:
            return None
        marker, length = stream[at + 1], struct.unpack_from(">H", stream, at + 2)[0]
        body = stream[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            return None
        if marker == _TILE:
            return (size.rows, size.columns, size.components, size.bits) if size and coded else None
        if marker == _SIZE:
            size = _size(body) if size is None else None
            if size is None:
                return None
        elif marker in (_CODING, _COMPONENT_CODING):
            if size is None or not _coding_is_sound(marker, body, size):
                return None
            coded = True
        at += 2 + length
    return None


def _size(body: bytes) -> _Size | None:
    if len(body) < 36:
        return None
    width, height, x0, y0, tile_w, tile_h, tile_x, tile_y, components = struct.unpack_from(">8LH", body, 2)
    if len(body) != 36 + 3 * components or not components:
        return None
    if x0 >= width or y0 >= height or tile_x > x0 or tile_y > y0:
        return None
    if min(tile_w, width) < min(_LEAST_TILE, width) or min(tile_h, height) < min(_LEAST_TILE, height):
        return None
    if not tile_w or not tile_h or body[37:39] != b"\x01\x01":  # components of fewer samples than pixels
        return None
    tiles = -(-(width - tile_x) // tile_w) * -(-(height - tile_y) // tile_h)
    if tiles > _MOST_TILES:
        return None
    return _Size(height - y0, width - x0, components, (body[36] & 0x7F) + 1, tiles)


def _coding_is_sound(marker: int, body: bytes, size: _Size) -> bool:
    """Tell whether levels, code blocks and precincts are such that an encoder would make them."""
    # Style; for all components, progression, layers and transform come next; for one, its number.
    own = body[5:] if marker == _CODING else body[2:]
    if len(own) < 5 or not body:
        return False
    levels, width, height = own[0], own[1] + 2, own[2] + 2
    if levels > 32 or not 2 <= width <= 10 or not 2 <= height <= 10 or width + height > 12:
        return False
    blocks = -(-size.rows // (1 << height)) * -(-size.columns // (1 << width))
    if blocks > _MOST_PARTS or (levels + 1) * size.tiles > _MOST_PARTS:
        return False
    style = body[0] if marker == _CODING else body[1]
    if not style & 1:
        return True
    exponents = own[5:]
    if len(exponents) < levels + 1:
        return False
    total = 0
    for level, both in enumerate(exponents[: levels + 1]):
        shift = levels - level
        rows, columns = (max(1, n >> shift) for n in (size.rows, size.columns))
        total += -(-rows // (1 << (both >> 4))) * -(-columns // (1 << (both & 15))) + size.tiles
    return total <= _MOST_PARTS

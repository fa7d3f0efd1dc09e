"""What a compressed stream says of itself, read before a native decoder trusts it."""

from __future__ import annotations

import struct
from itertools import pairwise

from pydicom.uid import RLELossless

from ichor.reading.dicom.wavelets import describe, is_wavelet

__all__ = ["plain_jpeg", "stream_fault"]

_JPEG_LS_FRAME = 0xF7
_FRAME_HEADERS = {*range(0xC0, 0xD0), _JPEG_LS_FRAME} - {0xC4, 0xC8, 0xCC}
"""SOF markers of JPEG (the tables C4 and CC, and the reserved C8, are none) and that of JPEG-LS."""
_HUFFMAN_TABLES, _QUANTISATION_TABLES, _START_OF_SCAN = 0xC4, 0xDB, 0xDA
_RLE_PADDING = 4096
_RLE_CARELESS = 32 << 20
"""Bytes that a segment may unpack to without being looked through."""
_JPEG_ROOT = "1.2.840.10008.1.2.4."


def stream_fault(frame: bytes, rows: int, columns: int, bits_allocated: int, syntax: str) -> str | None:
    """Tell in which way a stream contradicts its DICOM header, or None where it does not.

    Parameters
    ----------
    frame
        One encoded frame.
    rows, columns, bits_allocated
        As the DICOM header declares them.
    syntax
        Transfer syntax UID.
    """
    if syntax == RLELossless:
        return _rle_fault(frame, rows * columns, bits_allocated)
    if not syntax.startswith(_JPEG_ROOT):
        return None
    described = describe(frame) if is_wavelet(syntax) else _jpeg(frame)
    if described is None:
        return "a compressed stream without a usable header"
    height, width, components, bits = described
    if (height, width) != (rows, columns):
        return f"a compressed image of {height} x {width}"
    if components != 1:
        return f"a compressed image of {components} components"
    if bits > bits_allocated:
        return f"a compressed image of {bits} bits in {bits_allocated} allocated"
    return None


def _jpeg(frame: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, components and bits of a JPEG or JPEG-LS stream; None unless its whole header is sound.

    Native decoders give up on broken tables, some by ending the process: the header is walked to the start of
    the scan, and every table must fill its segment.
    """
    if frame[:2] != b"\xff\xd8":
        return None
    at, described, is_ls = 2, None, False
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", frame, at + 2)[0]
        body = frame[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2 or not _segment_is_sound(marker, body):
            return None
        if marker in _FRAME_HEADERS:
            if described is not None:
                return None
            bits, rows, columns, components = struct.unpack_from(">BHHB", body)
            described = rows, columns, components, bits
            is_ls = marker == _JPEG_LS_FRAME
        if marker == _START_OF_SCAN:
            # CharLS looks for the end of a stream that has none for seconds.
            return described if not is_ls or frame.find(b"\xff\xd9", at) > 0 else None
        at += 2 + length
    return None


def plain_jpeg(frame: bytes) -> bytes:
    """Drop the application and comment segments of a sound JPEG stream.

    They hold nothing that a grey image needs, and gdcm ends the process over a version number in them that it
    does not know.
    """
    at, kept = 2, [b"\xff\xd8"]
    while frame[at + 1] != _START_OF_SCAN:
        if frame[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", frame, at + 2)[0]
        if not (0xE0 <= frame[at + 1] <= 0xEF or frame[at + 1] == 0xFE):
            kept.append(frame[at:end])
        at = end
    return b"".join([*kept, frame[at:]])


def _segment_is_sound(marker: int, body: bytes) -> bool:
    if marker in _FRAME_HEADERS:
        return len(body) >= 6 and len(body) == 6 + 3 * body[5]
    if marker == _START_OF_SCAN:
        return len(body) >= 4 and len(body) == 4 + 2 * body[0]
    if marker == _HUFFMAN_TABLES:
        return _huffman_tables_are_sound(body)
    if marker == _QUANTISATION_TABLES:
        at = 0
        while at < len(body) and body[at] >> 4 <= 1 and body[at] & 15 <= 3:
            at += 1 + 64 * (1 + (body[at] >> 4))
        return at == len(body)
    # Applications, comments, restart interval, JPEG-LS parameters; anything else has no place in a header.
    return 0xE0 <= marker <= 0xEF or marker in (0xFE, 0xDD, 0xF8, 0xCC)


def _huffman_tables_are_sound(body: bytes) -> bool:
    at = 0
    while at + 17 <= len(body):
        counts = body[at + 1 : at + 17]
        if body[at] >> 4 > 1 or body[at] & 15 > 3 or sum(counts) > 256:
            return False
        # Codes must fit their lengths: the sum of 2^-length may not pass 1 (Kraft).
        if sum(n << (15 - k) for k, n in enumerate(counts)) > 1 << 16:
            return False
        at += 17 + sum(counts)
    return at == len(body)


def _rle_fault(frame: bytes, pixels: int, bits_allocated: int) -> str | None:
    """Segments must number one a byte of a pixel, lie in order within the frame, and hold what one plane can."""
    if len(frame) < 64:
        return "a run-length stream without a header"
    n, *offsets = struct.unpack_from("<16L", frame)
    if n != bits_allocated // 8:
        return f"a run-length stream of {n} segments"
    used = offsets[:n]
    if used[0] < 64 or sorted(used) != used or used[-1] >= len(frame):
        return "a run-length stream whose segments do not fit"
    # Two bytes expand to 128 at most: less than this cannot fill the image.
    if (len(frame) - 64) * 64 < pixels * n:
        return f"a run-length stream of {len(frame):,} bytes"
    for start, end in pairwise([*used, len(frame)]):
        # At worst each pixel takes two bytes. What expands beyond its plane is unpacked before it is cut.
        if end - start > 2 * pixels + _RLE_PADDING or _expands_beyond(frame, start, end, pixels):
            return "a run-length segment of more pixels than the image"
    return None


def _expands_beyond(frame: bytes, start: int, end: int, pixels: int) -> bool:
    """Tell whether a segment unpacks to many times its plane; small ones may."""
    if (end - start) * 64 <= _RLE_CARELESS:
        return False
    unpacked = 0
    while start < end and unpacked <= 2 * pixels + _RLE_PADDING:
        head = frame[start]
        unpacked += 257 - head if head > 128 else head + 1 if head < 128 else 0
        start += 2 if head > 128 else head + 2 if head < 128 else 1
    return unpacked > 2 * pixels + _RLE_PADDING

"""gzip, unpacked piece by piece: what a header claims costs nothing, and no field of it is read byte by byte."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path
from typing import IO, BinaryIO

__all__ = ["GzipReader", "is_gzip", "open_plain", "start_of"]

_MAGIC = b"\x1f\x8b\x08"
_CHUNK = 1 << 16
_MOST_MEMBERS = 100_000
"""Members of one file: block-wise writers make one of each 64 kB."""
_MOST_EMPTY = 1_000
"""Members of nothing: they cost time, and give nothing."""


class GzipReader(io.RawIOBase):
    """What a gzip file unpacks to, forwards only.

    Parameters
    ----------
    file
        The packed bytes; closed with this.

    Raises
    ------
    zlib.error, EOFError
        While reading, where they are broken or end early.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._packed = b""
        self._members = self._empty = 0
        self._given = False
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = False

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, target: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a part of ``target``; 0 at the end."""
        room = len(target)
        while room:
            if self._inflater.eof:
                self._packed = self._inflater.unused_data
                self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
                self._begun = False
                self._members += 1
                self._empty += not self._given
                self._given = False
                if self._members > _MOST_MEMBERS or self._empty > _MOST_EMPTY:
                    raise zlib.error("too many members")
            packed = self._packed or self._file.read(_CHUNK)
            if not self._begun:
                packed = packed.lstrip(b"\0") if self._members else packed  # padding between members
                if not packed and self._members:
                    return 0
            if not packed:
                raise EOFError
            self._begun = True
            piece = self._inflater.decompress(packed, room)
            self._packed = self._inflater.unconsumed_tail
            if piece:
                self._given = True
                target[: len(piece)] = piece
                return len(piece)
        return 0

    def close(self) -> None:
        """Close the packed file, too."""
        self._file.close()
        super().close()


def is_gzip(head: bytes) -> bool:
    """Tell from its first bytes whether a file is packed by gzip."""
    return head.startswith(_MAGIC)


def open_plain(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked where its first bytes say that it is packed by gzip."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        packed = is_gzip(file.read(3))
        file.seek(0)
        stack.pop_all()  # the caller's from here on
    return io.BufferedReader(GzipReader(file), _CHUNK) if packed else file


def start_of(path: Path, size: int) -> bytes:
    """First bytes of a file, unpacked; fewer where it is shorter or broken."""
    try:
        with open_plain(path) as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error):
        return b""

"""The directories of a TIFF file, counted before Pillow walks them: it parses each entry of each, again and again."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["tiff_fault"]

_MOST_ENTRIES = 512
"""Of one directory; an ordinary one has twenty."""
_MOST_ALL = 100_000
"""Of all directories of a file."""
_MOST_VALUES = 4_000_000
"""Of one entry; strips of a picture within the limits are fewer."""


def tiff_fault(path: Path, most: int) -> str | None:
    """Tell what is wrong with the chain of directories of a file, or None where nothing is, or it is no TIFF.

    Parameters
    ----------
    path
        Of the file.
    most
        Pages that the limits allow.

    Returns
    -------
    str or None
        ``pages`` where there are more than ``most``; in words, where directories are larger than those of any
        picture, or come back to themselves.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
        order, big = ("<" if head[:2] == b"II" else ">"), b"+" in head[:4]
        count, entry, link = ("Q", "HHQQ", "Q") if big else ("H", "HHLL", "L")
        width = struct.calcsize(order + entry)
        at = struct.unpack_from(order + link, head, 8 if big else 4)[0] if len(head) == 16 or not big else 0
        seen: set[int] = set()
        total = 0
        while at:
            if at in seen:
                return "directories that come back to themselves"
            seen.add(at)
            if len(seen) > most:
                return "pages"
            file.seek(at)
            raw = file.read(struct.calcsize(order + count))
            if len(raw) < struct.calcsize(order + count):
                return None  # cut short: Pillow takes the pages before it
            n = struct.unpack(order + count, raw)[0]
            total += n
            if n > _MOST_ENTRIES or total > _MOST_ALL:
                return f"directories of {total:,} entries"
            body = file.read(n * width)
            for k in range(len(body) // width):
                values = struct.unpack_from(order + entry, body, k * width)[2]
                if values > _MOST_VALUES and struct.unpack_from(order + entry, body, k * width)[1] not in (
                    1,
                    2,
                    7,
                ):
                    return f"an entry of {values:,} values"
            raw = file.read(struct.calcsize(order + link))
            at = struct.unpack(order + link, raw)[0] if len(raw) == struct.calcsize(order + link) else 0
    return None

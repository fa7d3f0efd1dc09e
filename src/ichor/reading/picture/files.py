"""Files of pictures: PNG, JPEG, BMP, TIFF, GIF, WebP; any depth, any number of pages; to 8-bit pixels."""

from __future__ import annotations

import contextlib
import struct
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Pillow knows TIFF only once it is imported, or after all its other formats were.
from PIL import TiffImagePlugin as _tiff  # noqa: F401

from ichor.errors import RefusedInput
from ichor.exam import GreyWindow, Picture
from ichor.notices import notice
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile, announce
from ichor.reading.limits import Limits
from ichor.reading.muting import native_stderr_muted
from ichor.reading.picture.directories import tiff_fault
from ichor.reading.picture.numbers import greys_of_numbers
from ichor.reading.refusals import refusal

__all__ = ["is_picture", "read_pictures"]

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
_SEVERAL = ("TIFF", "GIF", "WEBP")
"""Those of which a file may hold several pages or frames."""
"""Pillow opens a JPEG of several pictures (MPO) as JPEG, too."""
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a")
_MOST_SIDE = 4096
"""Pixels of the longer side; a larger picture is taken in fewer: no head needs more, and memory is bounded."""
_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on broken files."""


def is_picture(path_name: str, head: bytes) -> bool:
    """Tell by name or first bytes whether a file is a picture."""
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return path_name.lower().endswith(_EXTENSIONS) or head.startswith(_MAGIC) or is_webp


def read_pictures(file: InputFile, context: ReadContext) -> Iterator[Picture | RefusedInput]:
    """Read a picture file: one result for each slice of each page.

    Parameters
    ----------
    file
        PNG, JPEG, BMP, TIFF, GIF or WebP.
    context
        Of the reading: sizes are checked before pixels are decoded, the time before each page.

    Yields
    ------
    Picture or RefusedInput
        A page that cannot be judged gives its refusal; one that shows several slices gives each of them, row
        by row, as ``name slice 1`` and on.

    Raises
    ------
    RefusedInput
        ``unreadable`` or ``limit_exceeded``, for the file, or for what is left of it.
    """
    limits = context.limits
    announce(file)
    size = file.path.stat().st_size
    if size > limits.file_bytes:
        raise limits.refuse(file.name, "file_bytes", f"{size:,} bytes")
    try:
        fault = tiff_fault(file.path, limits.frames)
        if fault == "pages":
            raise limits.refuse(file.name, "frames", f"more than {limits.frames:,} pages")
        if fault:
            raise _unreadable(file.name, fault)
        with _open(file, limits) as image:
            with _quiet():
                pages = int(getattr(image, "n_frames", 1)) if image.format in _SEVERAL else 1
            if pages > limits.frames:
                raise limits.refuse(file.name, "frames", f"{pages:,} pages")
            total = 0
            for page in range(pages):
                context.check_time()
                announce(file)
                began = time.perf_counter()
                with _quiet():
                    if pages > 1:
                        image.seek(page)
                    total += image.width * image.height
                    if image.width * image.height > limits.pixels:
                        raise limits.refuse(file.name, "pixels", f"{image.height} x {image.width} pixels")
                    if total > limits.voxels:
                        raise limits.refuse(file.name, "voxels", f"{total:,} pixels on {page + 1} pages")
                    results = list(_page(image, file, page if pages > 1 else None, began))
                yield from results
    except MemoryError:
        raise refusal("limit_memory", file.name) from None
    except _READ_ERRORS as error:
        raise _unreadable(file.name, error) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks on metadata and broken data (libtiff's) off standard error; sizes are checked here."""
    with warnings.catch_warnings(), native_stderr_muted():
        warnings.simplefilter("ignore")
        yield


def _open(file: InputFile, limits: Limits) -> Image.Image:
    """Open a picture without decoding it."""
    try:
        with _quiet():
            return Image.open(file.path, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise limits.refuse(file.name, "pixels", "a picture of very many pixels") from None


def _unreadable(name: str, fault: Exception | str) -> RefusedInput:
    return RefusedInput(
        name,
        "unreadable",
        found=fault
        if isinstance(fault, str)
        else f"a picture that cannot be decoded ({type(fault).__name__})",
        expected="PNG, JPEG, BMP, TIFF, GIF or WebP",
        remedy="save the picture again",
    )


def _page(
    image: Image.Image, file: InputFile, page: int | None, began: float
) -> Iterator[Picture | RefusedInput]:
    name = file.name if page is None else f"{file.name} page {page + 1}"
    notices = (
        ()
        if page is None
        else (notice("picture_multipage", f"This is page {page + 1} of a file of several."),)
    )
    from ichor.reading.picture.slices import slices_of_picture  # loads scipy: DICOM does without

    try:
        upright = _upright(image)
        width, height = upright.size
        factor = -(-max(width, height) // _MOST_SIDE)
        pixels, window = _pixels(upright if factor == 1 else upright.reduce(factor))
        del upright  # as large as the file's picture; what follows needs the room
        for result in slices_of_picture(pixels, name, notices, began):
            if window is not None and isinstance(result, Picture):
                result = replace(result, window=window)
            yield result if factor == 1 else _at_full_size(result, factor, (height, width))
    except RefusedInput as refused:
        yield refused
    except MemoryError:
        yield refusal("limit_memory", name)
    except _READ_ERRORS as error:
        yield _unreadable(name, error)


def _at_full_size(
    result: Picture | RefusedInput, factor: int, shape: tuple[int, int]
) -> Picture | RefusedInput:
    """Give the box of a slice in the pixels of the file, where it was found in fewer."""
    if isinstance(result, RefusedInput):
        return result
    row, column, rows, columns = (factor * v for v in result.box)
    rows, columns = min(rows, shape[0] - row), min(columns, shape[1] - column)
    return replace(result, box=(row, column, rows, columns), file_shape=shape)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its metadata say; broken metadata say nothing."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except _READ_ERRORS:
        return image


def _pixels(image: Image.Image) -> tuple[NDArray[np.uint8], GreyWindow | None]:
    """Pixels ``(rows, columns)``, of a colour picture ``(rows, columns, 3)``, and their window where known."""
    if image.mode.startswith(("I", "F")):
        return greys_of_numbers(np.asarray(image, dtype=np.float32))
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L")), None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, rgba)
    return np.asarray(image.convert("RGB")), None

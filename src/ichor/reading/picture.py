"""Pictures of a slice: PNG, JPEG, BMP, TIFF; any depth, any borders; to the grey slice alone."""

from __future__ import annotations

import contextlib
import struct
import time
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Pillow knows TIFF only once it is imported, or after all its other formats were.
from PIL import TiffImagePlugin as _tiff  # noqa: F401
from scipy import ndimage

from ichor.errors import RefusedInput
from ichor.exam import Picture, Source
from ichor.notices import Notice, notice
from ichor.reading.files import InputFile
from ichor.reading.limits import Deadline, Limits
from ichor.reading.muting import native_stderr_muted
from ichor.reading.slice_finding import find_slice, without_letters

__all__ = ["is_picture", "read_pictures"]

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""Pillow opens a JPEG of several pictures (MPO) as JPEG, too."""
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
_MIN_SIDE = 64
_STRONG_COLOUR = 60
"""Difference between the strongest and weakest of red, green and blue that no grey slice has."""
_MOST_COLOUR = 0.25
"""Share of coloured pixels above which a picture is a photograph or a map, not a slice with marks on it."""


_LEAST_GREYS = 16
"""Fewer distinct greys than this show no brain."""
_STORED_OFFSETS = (1024, 32768)
"""What is commonly added to HU to store them as unsigned 16-bit numbers."""
_BRAIN_WINDOW = (0, 80)
"""HU of black and of white, as every picture is taken to have them."""
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
    return path_name.lower().endswith(_EXTENSIONS) or head.startswith(_MAGIC)


def read_pictures(
    file: InputFile, limits: Limits, deadline: Deadline | None = None
) -> Iterator[Picture | RefusedInput]:
    """Read a picture file: one result a page.

    Parameters
    ----------
    file
        PNG, JPEG, BMP or TIFF.
    limits
        Sizes are checked before pixels are decoded.
    deadline
        Checked before each page.

    Yields
    ------
    Picture or RefusedInput
        A page that cannot be judged gives its refusal.

    Raises
    ------
    RefusedInput
        ``unreadable`` or ``limit_exceeded``, for the file, or for what is left of it.
    """
    size = file.path.stat().st_size
    if size > limits.file_bytes:
        raise limits.refuse(file.name, "file_bytes", f"{size:,} bytes")
    try:
        with _open(file, limits) as image:
            with _quiet():
                pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            if pages > limits.frames:
                raise limits.refuse(file.name, "frames", f"{pages:,} pages")
            total = 0
            for page in range(pages):
                if deadline is not None:
                    deadline.check()
                began = time.perf_counter()
                with _quiet():
                    if pages > 1:
                        image.seek(page)
                    total += image.width * image.height
                    if image.width * image.height > limits.pixels:
                        raise limits.refuse(file.name, "pixels", f"{image.height} x {image.width} pixels")
                    if total > limits.voxels:
                        raise limits.refuse(file.name, "voxels", f"{total:,} pixels on {page + 1} pages")
                    result = _page(image, file, page if pages > 1 else None, began)
                yield result
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


def _unreadable(name: str, error: Exception) -> RefusedInput:
    return RefusedInput(
        name,
        "unreadable",
        found=f"a picture that cannot be decoded ({type(error).__name__})",
        expected="PNG, JPEG, BMP or TIFF",
        remedy="save the picture again",
    )


def _page(image: Image.Image, file: InputFile, page: int | None, began: float) -> Picture | RefusedInput:
    name = file.name if page is None else f"{file.name} page {page + 1}"
    try:
        grey, coloured = _to_grey(_upright(image))
        return _picture(grey, coloured, name, page, began)
    except RefusedInput as refusal:
        return refusal
    except _READ_ERRORS as error:
        return _unreadable(name, error)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its metadata say; broken metadata say nothing."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except _READ_ERRORS:
        return image


def _picture(
    grey: NDArray[np.uint8], coloured: NDArray[np.bool_] | None, name: str, page: int | None, began: float
) -> Picture:
    if min(grey.shape) < _MIN_SIDE:
        raise RefusedInput(
            name,
            "picture_too_small",
            found=f"{grey.shape[0]} x {grey.shape[1]} pixels",
            expected=f"at least {_MIN_SIDE} on each side",
            remedy="give the picture at its original size",
        )
    notices: list[Notice] = [
        notice(
            "picture",
            "A picture has no Hounsfield units and no scale: a brain window is assumed, no volume is given.",
        )
    ]
    if page is not None:
        notices.append(notice("picture_multipage", f"This is page {page + 1} of a file of several."))
    if coloured is not None:
        share = float(coloured.mean())
        if share > _MOST_COLOUR:
            raise RefusedInput(
                name,
                "not_a_head",
                found=f"a picture with strong colours on {share:.0%} of it",
                expected="a grey picture of a head CT slice",
                remedy="give the CT itself, or a plain picture of a slice",
            )
        if coloured.any():
            grey = _without_marks(grey, coloured)
    greys = int(np.count_nonzero(np.bincount(grey.ravel(), minlength=256)))
    if greys < _LEAST_GREYS:
        raise RefusedInput(
            name,
            "not_a_head",
            found=f"a picture of {greys} {'grey' if greys == 1 else 'greys'}",
            expected=f"at least {_LEAST_GREYS}, as a slice has them",
            remedy="give the CT itself, or a plain picture of a slice",
        )
    found = find_slice(grey)
    if found.inverted:
        grey = (255 - grey).astype(np.uint8)
        notices.append(notice("picture_inverted", "Bone was dark: the picture was inverted."))
    if found.others:
        notices.append(
            notice(
                "picture_several",
                f"{found.others + 1} slices are in one picture; only the clearest was judged.",
            )
        )
    row, column, rows, columns = found.box
    if rows * columns < 0.9 * grey.size:
        notices.append(
            notice(
                "picture_cropped",
                f"Borders were cut: {rows} x {columns} of {grey.shape[0]} x {grey.shape[1]} pixels.",
            )
        )
    if found.head is not None:
        grey = without_letters(grey, found.head)
    cut = np.ascontiguousarray(grey[row : row + rows, column : column + columns])
    if min(cut.shape) < _MIN_SIDE:
        raise RefusedInput(
            name,
            "picture_too_small",
            found=f"a slice of {cut.shape[0]} x {cut.shape[1]} pixels",
            expected=f"at least {_MIN_SIDE} on each side",
            remedy="give a larger picture",
        )
    return Picture(
        cut,
        Source(name, "picture"),
        (row, column, rows, columns),
        (grey.shape[0], grey.shape[1]),
        tuple(notices),
        time.perf_counter() - began,
    )


def _to_grey(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Grey values, and where a colour picture is strongly coloured (None for a grey one)."""
    if image.mode.startswith(("I", "F")):
        return _from_numbers(np.asarray(image, dtype=np.float32)), None
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L")), None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, rgba)
    rgb = np.asarray(image.convert("RGB"))
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return np.asarray(Image.fromarray(rgb).convert("L")), spread > _STRONG_COLOUR


def _from_numbers(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Greys of a picture of 16 or 32 bits: stretched, unless the numbers are HU with an offset.

    Those span from air to bone, and the brain is but a sliver of the span: stretched, it would be one grey.
    """
    known = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(known).all():
        return np.zeros(values.shape, np.uint8)
    low, high = np.nanpercentile(known, [0.5, 99.8])
    rows, columns = (max(1, n // 4) for n in values.shape)
    core = known[rows:-rows, columns:-columns]
    middle = float(np.nanmedian(core)) if np.isfinite(core).any() else float(low)
    for offset in _STORED_OFFSETS:
        if low < offset - 700 and high > offset + 300 and 0 <= middle - offset <= 100:
            low, high = (offset + hu for hu in _BRAIN_WINDOW)
            break
    scaled = (np.nan_to_num(known, nan=low) - low) * (255 / max(float(high - low), 1e-6))
    return np.asarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _without_marks(grey: NDArray[np.uint8], coloured: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Put what lies around coloured arrows and letters in their place."""
    marks = ndimage.binary_dilation(coloured, iterations=2)
    nearest = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    return np.asarray(np.where(marks, grey[tuple(nearest)], grey), dtype=np.uint8)

"""Pictures of a slice: PNG, JPEG, BMP, TIFF; any depth, any borders; to the grey slice alone."""

from __future__ import annotations

import time
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from ichor.errors import RefusedInput
from ichor.exam import Picture, Source
from ichor.notices import Notice, notice
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.slice_finding import find_slice, without_letters

__all__ = ["is_picture", "read_pictures"]

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "TIFF")
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
_MIN_SIDE = 64
_STRONG_COLOUR = 60
"""Difference between the strongest and weakest of red, green and blue that no grey slice has."""
_MOST_COLOUR = 0.25
"""Share of coloured pixels above which a picture is a photograph or a map, not a slice with marks on it."""


def is_picture(path_name: str, head: bytes) -> bool:
    """Tell by name or first bytes whether a file is a picture."""
    return path_name.lower().endswith(_EXTENSIONS) or head.startswith(_MAGIC)


def read_pictures(file: InputFile, limits: Limits) -> list[Picture | RefusedInput]:
    """Read a picture file: one result a page.

    Parameters
    ----------
    file
        PNG, JPEG, BMP or TIFF.
    limits
        Sizes are checked before pixels are decoded.

    Returns
    -------
    list of Picture or RefusedInput
        A page that cannot be judged gives its refusal.

    Raises
    ------
    RefusedInput
        ``unreadable`` or ``limit_exceeded``, for the whole file.
    """
    size = file.path.stat().st_size
    if size > limits.file_bytes:
        raise limits.refuse(file.name, "file_bytes", f"{size:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, and metadata does not matter
            with Image.open(file.path, formats=_FORMATS) as image:
                pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
                if pages > limits.frames:
                    raise limits.refuse(file.name, "frames", f"{pages:,} pages")
                results: list[Picture | RefusedInput] = []
                for page in range(pages):
                    if pages > 1:
                        image.seek(page)
                    if image.width * image.height > limits.pixels:
                        raise limits.refuse(file.name, "pixels", f"{image.height} x {image.width} pixels")
                    results.append(_page(image, file, page if pages > 1 else None))
                return results
    except Image.DecompressionBombError:
        raise limits.refuse(file.name, "pixels", "a picture of very many pixels") from None
    except (
        UnidentifiedImageError,
        OSError,
        EOFError,
        ValueError,
        SyntaxError,
        TypeError,
        IndexError,
        KeyError,
    ) as error:
        raise RefusedInput(
            file.name,
            "unreadable",
            found=f"a picture that cannot be decoded ({type(error).__name__})",
            expected="PNG, JPEG, BMP or TIFF",
            remedy="save the picture again",
        ) from None


def _page(image: Image.Image, file: InputFile, page: int | None) -> Picture | RefusedInput:
    began = time.perf_counter()
    name = file.name if page is None else f"{file.name} page {page + 1}"
    try:
        grey, coloured = _to_grey(ImageOps.exif_transpose(image) or image)
        return _picture(grey, coloured, name, page, began)
    except RefusedInput as refusal:
        return refusal


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
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, dtype=np.float32)
        low, high = (
            np.percentile(values[np.isfinite(values)], [0.5, 99.8]) if np.isfinite(values).any() else (0, 1)
        )
        scaled = (np.nan_to_num(values) - low) * (255 / max(float(high - low), 1e-6))
        return np.clip(scaled, 0, 255).astype(np.uint8), None
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L")), None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, rgba)
    rgb = np.asarray(image.convert("RGB"))
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return np.asarray(Image.fromarray(rgb).convert("L")), spread > _STRONG_COLOUR


def _without_marks(grey: NDArray[np.uint8], coloured: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Put what lies around coloured arrows and letters in their place."""
    marks = ndimage.binary_dilation(coloured, iterations=2)
    nearest = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    return np.asarray(np.where(marks, grey[tuple(nearest)], grey), dtype=np.uint8)

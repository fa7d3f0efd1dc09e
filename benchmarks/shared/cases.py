"""Inputs that are a head, and inputs that are none: as exams, and as pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import ichor
from ichor.errors import IchorError
from ichor.exam import Exam, Geometry, Picture, Source
from ichor.preparing.stacks import picture_geometry

__all__ = [
    "HEAD",
    "Cases",
    "Subject",
    "dicom_exams",
    "made_up_exams",
    "made_up_pictures",
    "picture",
    "picture_files",
    "slices_as_pictures",
]

Subject = Exam | Picture
Cases = Iterator[tuple[str, Subject]]
"""A name, and what is shown."""
HEAD = "CT2_J2KR"
"""The one file in transfer_syntaxes_chest that shows a head (with contrast)."""
_X, _Y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif")


def picture(grey: NDArray[np.generic]) -> Picture:
    """Take grey values ``(rows, columns)``, 0 to 255, for a picture."""
    plane = np.ascontiguousarray(grey, np.uint8)
    rows, columns = plane.shape
    return Picture(plane, Source("picture", "picture"), (0, 0, rows, columns), (rows, columns))


def picture_files(folder: Path) -> Cases:
    """Read pictures as ichor reads them, which cuts borders away; plain grey where it refuses."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        try:
            found: object = ichor.read(path)
        except IchorError:
            found = None
        if isinstance(found, Picture):
            yield path.name, found
            continue
        with Image.open(path) as image:
            yield path.name, picture(np.asarray(image.convert("L")))


def dicom_exams(folder: Path, *, heads: bool = False) -> Iterator[tuple[str, Exam]]:
    """Stack what a folder holds by series and size, whatever the headers call it."""
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[float, NDArray[np.int16], float]]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and (p.name == HEAD) is heads):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = pydicom.dcmread(path, force=True)
                pixels = data.pixel_array.astype(np.float32)
        except Exception:  # whatever pydicom cannot read is no case here
            continue
        if pixels.ndim != 2:
            continue
        hu = pixels * float(data.get("RescaleSlope", 1) or 1) + float(data.get("RescaleIntercept", 0) or 0)
        z = float((data.get("ImagePositionPatient") or [0, 0, len(groups)])[2])
        spacing = float((data.get("PixelSpacing") or [0.7])[0])
        key = (str(data.get("SeriesInstanceUID", path.name)), hu.shape)
        groups.setdefault(key, []).append((z, np.clip(hu, -1024, 32000).astype(np.int16), spacing))
    for n, stack in enumerate(groups.values()):
        stack.sort(key=lambda s: s[0])
        heights = np.array([s[0] for s in stack])
        if len(heights) > 1 and np.diff(heights).min() <= 0.1:
            heights = 5.0 * np.arange(len(heights))
        positions = np.stack([np.zeros(len(heights)), np.zeros(len(heights)), heights], axis=1)
        geometry = Geometry(positions, _X, _Y, (stack[0][2], stack[0][2]))
        yield f"{folder.name}-{n}", Exam(np.stack([s[1] for s in stack]), geometry, Source("raw", "dicom"))


def slices_as_pictures(exams: Iterator[tuple[str, Exam]], level: float, width: float) -> Cases:
    """Slices of exams, as a person would save them from a viewer."""
    for name, exam in exams:
        for k in range(0, exam.n_slices, max(1, exam.n_slices // 3)):
            yield f"{name}/{k}", picture(np.clip((exam.volume[k] - level) / width + 0.5, 0, 1) * 255)


def made_up_pictures() -> Iterator[tuple[str, Picture]]:
    """Noise, gradients and shapes."""
    for name, plane in _planes().items():
        yield name, picture(plane * 255)


def made_up_exams() -> Iterator[tuple[str, Exam]]:
    """Give the same as volumes of 20 equal slices: black is air and white is bone."""
    for name, plane in _planes().items():
        hu = np.repeat((plane * 2000 - 1000)[None], 20, axis=0).astype(np.int16)
        yield name, Exam(hu, picture_geometry(20), Source("made", "nifti"))


def _planes() -> dict[str, NDArray[np.floating]]:
    """Grey values 0 to 1."""
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:384, :384]
    radius = np.hypot(rows - 192, columns - 192)
    angle = np.arctan2(rows - 192, columns - 192)
    smooth = ndimage.gaussian_filter(rng.normal(size=(384, 384)), 12)
    found = {
        "black": np.zeros((384, 384)),
        "grey": np.full((384, 384), 0.5),
        "white": np.ones((384, 384)),
        "noise": rng.random((384, 384)),
        "clouds": np.clip(0.5 + smooth / smooth.std() / 4, 0, 1),
        "gradient": columns / 383,
        "disc": np.where(radius < 150, 0.5, 0),
        "empty ring": np.where((radius > 135) & (radius < 150), 1.0, 0),
        "star": np.where(radius < 100 + 45 * np.cos(7 * angle), 0.6, 0),
        "square frame": np.where(np.maximum(abs(rows - 192), abs(columns - 192)) < 160, 0.4, 1.0),
        "stripes": (columns // 16) % 2,
        "checks": (columns // 24 + rows // 24) % 2,
    }
    return {name: np.asarray(plane, np.float64) for name, plane in found.items()}

"""Exams as windowed pictures.

An exam becomes a folder of PNG files with a record, ``exam.json``, that holds which windows they show and where each
slice lies: what the way back needs, and nothing that names or dates a patient.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.errors import UsageError
from ichor.exam import Exam
from ichor.preparing.windows import WINDOWS, Window
from ichor.uids import hashed_uid

__all__ = ["EXAM_FILE", "PictureStyle", "parse_window", "resize", "write_pictures"]

EXAM_FILE = "exam.json"
_RGB = 3
_MOST_PIXELS = 4096


@dataclass(frozen=True)
class PictureStyle:
    """What the pictures show.

    Attributes
    ----------
    windows
        Level and width by name.
    rgb
        Whether three windows become the channels of one picture.
    size
        Rows and columns; None keeps the exam's.
    original_names
        Whether series and slices keep the UIDs that the files have, instead of hashes.
    each_file
        Whether each file is on its own: slices of a series come one by one, and are named by their UIDs.
    """

    windows: dict[str, tuple[float, float]]
    rgb: bool = False
    size: tuple[int, int] | None = None
    original_names: bool = False
    each_file: bool = False

    def __post_init__(self) -> None:
        if not self.windows:
            raise UsageError("windows: found none; expected one or more, such as brain or 40:80")
        if self.rgb and len(self.windows) != _RGB:
            raise UsageError(f"--rgb: found {len(self.windows)} windows; expected three, one a channel")
        if self.size and not all(1 <= n <= _MOST_PIXELS for n in self.size):
            raise UsageError(
                f"size {self.size}: found too small or large a picture; expected 1 to {_MOST_PIXELS}"
            )

    @property
    def key(self) -> str:
        """Identifies a style."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def parse_window(text: str) -> tuple[str, tuple[float, float]]:
    """Understand a window: a name of ``WINDOWS``, or ``LEVEL:WIDTH``.

    Returns
    -------
    name, (level, width)
        In HU.
    """
    if text in WINDOWS:
        return text, (WINDOWS[text].level, WINDOWS[text].width)
    level, colon, width = text.partition(":")
    try:
        values = float(level), float(width)
        if colon and values[1] > 0 and all(map(np.isfinite, values)):
            return f"l{values[0]:g}w{values[1]:g}", values
    except ValueError:
        pass
    raise UsageError(
        f"window {text!r}: found no such window; expected {', '.join(WINDOWS)}, or LEVEL:WIDTH in HU, such as 40:80"
    )


def write_pictures(exam: Exam, output: Path, style: PictureStyle) -> Path:
    """Write one exam's pictures, and ``exam.json`` when they are all there.

    Parameters
    ----------
    exam
        In HU.
    output
        The exam's folder is made in it.
    style
        What to show.

    Returns
    -------
    pathlib.Path
        The exam's folder.
    """
    source = exam.source
    identity = source.series_uid or hashlib.sha256(np.ascontiguousarray(exam.volume).tobytes()).hexdigest()
    folder = output / (_safe(identity) if style.original_names else hashed_uid(identity))
    folder.mkdir(parents=True, exist_ok=True)
    by_uid = bool(source.sop_instance_uids) and (style.original_names or style.each_file)
    slices = [_write_slice(exam, index, folder, style, by_uid=by_uid) for index in range(exam.n_slices)]
    size = _size(exam, style)
    geometry = exam.geometry
    record = {
        "format": "ichor pictures 1",
        "windows": style.windows,
        "rgb": style.rgb,
        "rows": size[0],
        "columns": size[1],
        "row_direction": geometry.row_direction.tolist(),
        "column_direction": geometry.column_direction.tolist(),
        "spacing": [s * n / m for s, n, m in zip(geometry.spacing, exam.volume.shape[1:], size, strict=True)],
        "spacing_known": geometry.spacing_known,
        "study_uid": hashed_uid(source.study_uid),
        "series_uid": hashed_uid(source.series_uid),
        "slices": slices,
    }
    own = _picture_name(exam, exam.n_slices - 1, style, by_uid=by_uid)
    path = folder / (f"{own}.json" if style.each_file and by_uid else EXAM_FILE)
    temporary = folder / f"{path.name}.{os.getpid()}"
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return folder


def _write_slice(
    exam: Exam, index: int, folder: Path, style: PictureStyle, *, by_uid: bool
) -> dict[str, Any]:
    """Write the pictures of one slice, and return its entry of the record."""
    size = _size(exam, style)
    own = _picture_name(exam, index, style, by_uid=by_uid)
    plane = resize(exam.volume[index], size)
    shown = {name: Window(*values).to_grey(plane) for name, values in style.windows.items()}
    if style.rgb:
        files = {"rgb": f"{own}.png"}
        _save(np.stack(list(shown.values()), axis=-1), folder / files["rgb"])
    else:
        files = {name: f"{own}{'_' + name if len(shown) > 1 else ''}.png" for name in shown}
        for name, file in files.items():
            _save(shown[name], folder / file)
    uids, thickness = exam.source.sop_instance_uids, exam.geometry.thickness
    known = len(thickness) > index and np.isfinite(thickness[index])
    return {
        "files": files,
        "position": _resized_position(exam, index, size),
        "thickness": float(thickness[index]) if known else None,
        "sop_instance_uid": hashed_uid(uids[index] if uids else ""),
    }


def _size(exam: Exam, style: PictureStyle) -> tuple[int, int]:
    return style.size or (int(exam.volume.shape[1]), int(exam.volume.shape[2]))


def _picture_name(exam: Exam, index: int, style: PictureStyle, *, by_uid: bool) -> str:
    if not by_uid:
        return f"{index + 1:04d}"
    uid = exam.source.sop_instance_uids[index]
    return _safe(uid) if style.original_names else hashed_uid(uid)


def resize(plane: NDArray[np.int16], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring one slice to ``(rows, columns)``: HU, averaged where it shrinks."""
    hu = np.asarray(plane, np.float32)
    if plane.shape == size:
        return hu
    image = Image.fromarray(hu).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def _resized_position(exam: Exam, index: int, size: tuple[int, int]) -> list[float]:
    """Centre of the first pixel: it moves when pixels grow, the picture's edge stays."""
    shift = [(n / m - 1) / 2 for n, m in zip(exam.volume.shape[1:], size, strict=True)]
    return [float(v) for v in exam.geometry.voxel_to_patient([index, *shift])]


def _save(grey: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(grey).save(path, format="PNG")


def _safe(uid: str) -> str:
    """Make a file's name of a stored UID: some archives' are no UIDs."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in uid).lstrip(".") or "unnamed"

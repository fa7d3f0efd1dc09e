"""What is kept of a study once it is assessed: all that the page and the API hand out, and nothing of the upload."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.detecting import BundleCard
from ichor.exam import AIR_HU, Exam, GreyWindow, Picture
from ichor.findings import Findings
from ichor.jobs.display import Display, display_of
from ichor.jobs.volumes import write_volume
from ichor.preparing import WINDOWS
from ichor.reporting import write_html, write_mask, write_overlays
from ichor.reporting.choice import reported_slices
from ichor.reporting.words import heat_words

__all__ = ["LAST_FILE", "content_key", "write_report_files", "write_viewer_files"]

_ABOUT = "ichor: {}; research use, not a medical device"
_THUMBNAIL = 128
_SHOWN = ("kernel", "slice thickness")
"""Technical facts of the series that a reader sees beside the images."""
_HEAT_SIDE = 128
"""Pixels of the longer side of the heat map, about."""
LAST_FILE = "overlays.zip"
"""Written last: where it is, all is."""


def content_key(image: Exam | Picture, bundle: str) -> str:
    """Hash what is assessed, and by which model: the same study again gives the same.

    Parameters
    ----------
    image
        As read; the names of its files do not count.
    bundle
        The model's hash.
    """
    digest = hashlib.sha256(bundle.encode())
    if isinstance(image, Picture):
        digest.update(repr(image.grey.shape).encode())
        digest.update(np.ascontiguousarray(image.grey).data)
        if image.window is not None:
            digest.update(repr((image.window.level, image.window.width)).encode())
    else:
        g = image.geometry
        place = [g.positions, g.row_direction, g.column_direction, np.array(g.spacing)]
        digest.update(repr((image.volume.shape, image.source.study_uid, image.source.series_uid)).encode())
        for numbers in place:
            digest.update(np.ascontiguousarray(np.round(numbers, 4) + 0.0).data)
        digest.update(np.ascontiguousarray(image.volume).data)
    return digest.hexdigest()


def write_viewer_files(findings: Findings, image: Exam | Picture, folder: Path) -> dict[str, Any]:
    """Write what a reader needs to look at a study.

    Parameters
    ----------
    findings
        Of the study, assessable or not; with its mask.
    image
        What the findings are about.
    folder
        There, and empty.

    Returns
    -------
    dict
        How the shown volume stands to the native slices, in plain types.
    """
    plan, volume = display_of(_in_window(image, findings))
    n = len(plan.source)
    about = _ABOUT.format("the exam as shown")
    write_volume(folder / "volume.nii.gz", _planes(plan, volume, AIR_HU), n, plan.affine, about)
    if findings.mask is not None:
        about = _ABOUT.format("suspected, by region")
        write_volume(folder / "mask.nii.gz", _planes(plan, findings.mask, 0), n, plan.affine, about)
        if isinstance(image, Exam):
            write_mask(findings, image, folder / "mask-native.nii.gz")
    if findings.heat is not None:
        about = _ABOUT.format(f"{heat_words(findings)[0]}, not an outline")
        _write_heat(folder / "heat.nii.gz", plan, findings.heat, about)
    if isinstance(image, Picture):
        Image.fromarray(image.grey).save(folder / "picture.png")
    display = plan.as_dict()
    display["suspicious"] = _first(findings, plan)
    display["instances"] = list(image.source.instance_numbers) or None
    display["acquisition"] = {name: fact for name in _SHOWN if (fact := image.source.details.get(name))}
    _thumbnail(plan, volume, display["suspicious"], folder / "thumbnail.png")
    return display


def _in_window(image: Exam | Picture, findings: Findings) -> Exam | Picture:
    """Give a picture the window that its findings say."""
    if isinstance(image, Exam) or findings.window is None:
        return image
    window = findings.window
    return replace(image, window=GreyWindow(window.level, window.width, window.source, window.error_hu))


def write_report_files(
    findings: Findings, image: Exam | Picture, made: Path, folder: Path, card: BundleCard
) -> None:
    """Write what can come a second later: the report and the overlays.

    Parameters
    ----------
    findings, image
        As in :func:`write_viewer_files`.
    made
        Empty; files are made here.
    folder
        Of the study; files go there whole, the one named :data:`LAST_FILE` last.
    card
        Of the model.

    Raises
    ------
    FileNotFoundError
        Where the study was deleted meanwhile.
    """
    write_html(findings, image, made / "report.html", card)
    _pack(write_overlays(findings, image, made / "overlay"), made / LAST_FILE)
    for name in ("report.html", LAST_FILE):
        (made / name).rename(folder / name)


def _write_heat(path: Path, plan: Display, heat: NDArray[np.uint8], about: str) -> None:
    """Write the heat map coarsely: it is blurred, and lies over an image that is not."""
    step = max(1, max(plan.shape) // _HEAT_SIDE)
    rows, columns = (-(-side // step) for side in plan.shape)

    def coarse() -> Iterator[NDArray[np.uint8]]:
        for plane in _planes(plan, heat, 0):
            padded = np.zeros((rows * step, columns * step), np.uint16)
            padded[: plane.shape[0], : plane.shape[1]] = plane
            blocks = padded.reshape(rows, step, columns, step)
            yield (blocks.sum(axis=(1, 3), dtype=np.uint32) // step**2).astype(np.uint8)

    affine = plan.affine.copy()
    affine[:3, 3] += (step - 1) / 2 * (affine[:3, 0] + affine[:3, 1])
    affine[:3, :2] *= step
    write_volume(path, coarse(), len(plan.source), affine, about)


def _planes(plan: Display, native: NDArray[Any], empty: int) -> Iterator[NDArray[Any]]:
    return (plan.plane(native, k, empty) for k in range(len(plan.source)))


def _first(findings: Findings, plan: Display) -> int:
    """Return the shown slice to look at first: the most suspicious, or the middle."""
    chosen = reported_slices(findings)
    shown = plan.shown_of(chosen[0]) if chosen else None
    return len(plan.source) // 2 if shown is None else shown


def _thumbnail(plan: Display, volume: NDArray[np.int16], shown: int, path: Path) -> None:
    grey = WINDOWS["brain"].to_grey(plan.plane(volume, shown, AIR_HU))
    spacing = np.linalg.norm(plan.affine[:3, :2], axis=0)
    width, height = grey.shape[1] * spacing[0], grey.shape[0] * spacing[1]
    scale = _THUMBNAIL / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS).save(path)


def _pack(paths: list[Path], target: Path) -> None:
    """Put the overlays into one zip, and remove them."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.write(path, path.name)
            path.unlink()
    if paths:
        paths[0].parent.rmdir()

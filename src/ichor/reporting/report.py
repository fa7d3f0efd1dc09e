"""All files of one input's report, in a folder of its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ichor.errors import UsageError
from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.reading.scratch import ScratchFolder
from ichor.reporting.choice import suspicious_slices
from ichor.reporting.files import write_csv, write_json, write_mask

if TYPE_CHECKING:
    from ichor.detecting.bundle import BundleCard

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "check_formats",
    "not_written",
    "report_folder",
    "write_report",
]

FORMATS: tuple[str, ...] = ("json", "csv", "html", "overlay", "nifti")
DEFAULT_FORMATS: tuple[str, ...] = ("json", "csv", "html")

_SUFFIXES = re.compile(r"(\.nii\.gz|\.tar\.gz|\.(nii|zip|dcm|dicom|ima|png|jpe?g|bmp|tiff?))$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.+=@-]+")


def check_formats(names: Iterable[str]) -> tuple[str, ...]:
    """Return known formats in the order in which they are written, each once.

    Raises
    ------
    UsageError
        For a name that is no format.
    """
    wanted = set(names)
    for name in sorted(wanted):
        if name not in FORMATS:
            raise UsageError(f"--write {name}: found no such format; expected {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in wanted)


def report_folder(parent: Path, source: str, taken: set[Path], within: str | None = None) -> Path:
    """Name the folder of one result: by its input, with ``-2``, ``-3`` ... where that is taken.

    Parameters
    ----------
    parent
        Folder of the whole run.
    source
        The input as the user named it (``archive.zip:entry`` within an archive).
    taken
        Folders of this run so far; the new one is added.
    within
        The input that the user named, of which this may be one study: then the way from there, joined by ``-``.

    Returns
    -------
    pathlib.Path
        Not made yet.
    """
    name = _name_within(source, within) or PurePath(source).name
    if name in ("", ".", ".."):  # "." and "/" have no name of their own
        name = Path(source).resolve().name
    base = _UNSAFE.sub("_", _SUFFIXES.sub("", name)).strip("._") or "input"
    # A name may be long, and some file systems do not tell capitals apart.
    base = base[:100]
    known = {str(path).casefold() for path in taken}
    folder, count = parent / base, 1
    while str(folder).casefold() in known:
        count += 1
        folder = parent / f"{base}-{count}"
    taken.add(folder)
    return folder


def _name_within(source: str, within: str | None) -> str:
    """Return the way from an input to one study of it; empty where the study is the whole input."""
    if within is None or not source.startswith(within) or source == within:
        return ""
    rest = source[len(within) :].lstrip(":/\\")
    return "-".join(part for part in PurePath(rest).parts if part not in (".", "..", os.sep))


def write_report(
    findings: Findings,
    image: Exam | Picture | None,
    folder: Path,
    formats: Iterable[str] = DEFAULT_FORMATS,
    card: BundleCard | None = None,
) -> list[Path]:
    """Write one input's report.

    Parameters
    ----------
    findings
        What to report, also of a refused input.
    image
        What they were found on; None where it could not be read.
    folder
        Made where it does not exist; files of the same names in it are replaced, links among them, too: nothing
        is written through a link.
    formats
        Of :data:`FORMATS`. What does not apply to the input (a NIfTI mask of a picture or of a refused
        input, an overlay where no slice is suspicious) is not written.
    card
        Of the bundle that spoke, for the page; by default that of the default bundle if it is the one.

    Returns
    -------
    list of pathlib.Path
        Files written, ``findings.json`` first.

    Raises
    ------
    UsageError
        For an unknown format, or a folder that cannot be written to, or is a link.
    """
    wanted = check_formats(formats)
    started = time.perf_counter()
    try:
        if folder.is_symlink():
            raise UsageError(
                f"{folder}: found a link; expected a folder of this run's own; remove it, or give another with -o"
            )
        folder.mkdir(parents=True, exist_ok=True)
        # Files are made under a name that nobody knows, then put in place: that replaces a link, and follows none.
        with ScratchFolder(folder) as made:
            files = _write(findings, image, made, wanted, card)
            if "json" in wanted:
                seconds = findings.seconds.replace(report=round(time.perf_counter() - started, 4))
                timed = findings.replace(seconds=seconds)
                files.insert(0, write_json(timed, made / "findings.json"))
            _remove_stale(folder, wanted)
            written = [_put(file, folder / file.relative_to(made)) for file in files]
    except OSError as error:
        raise UsageError(
            f"{folder}: found that it cannot be written to ({error.strerror or type(error).__name__}); "
            "expected a folder with room and permission to write; give another with -o"
        ) from error
    return written


def not_written(findings: Findings, image: Exam | Picture | None, formats: Iterable[str]) -> list[str]:
    """Say which of the formats asked for do not apply to an assessed input, and why."""
    reasons: list[str] = []
    if not findings.assessable:
        return reasons
    wanted = set(formats)
    if "nifti" in wanted and isinstance(image, Picture):
        reasons.append(
            "no mask.nii.gz: a picture has no place in space; --write overlay outlines the regions"
        )
    elif "nifti" in wanted and findings.mask is None:
        reasons.append("no mask.nii.gz: this model says whether, not where")
    if "overlay" in wanted and not suspicious_slices(findings):
        reasons.append("no overlay: no slice reaches the threshold or holds a region")
    return reasons


def _write(
    findings: Findings,
    image: Exam | Picture | None,
    folder: Path,
    wanted: tuple[str, ...],
    card: BundleCard | None,
) -> list[Path]:
    written: list[Path] = []
    if "csv" in wanted:
        written.append(write_csv(findings, folder / "slices.csv"))
    if "html" in wanted:
        from ichor.reporting.html import write_html

        written.append(write_html(findings, image, folder / "report.html", card or _default_card(findings)))
    if "overlay" in wanted and image is not None:
        from ichor.reporting.overlay import write_overlays

        written += write_overlays(findings, image, folder / "overlay")
    if "nifti" in wanted and isinstance(image, Exam) and findings.mask is not None:
        written.append(write_mask(findings, image, folder / "mask.nii.gz"))
    return written


def _remove_stale(folder: Path, wanted: tuple[str, ...]) -> None:
    """Remove what an earlier run wrote and this one may not replace, so that none of it is taken for this run's."""
    if "nifti" in wanted:
        (folder / "mask.nii.gz").unlink(missing_ok=True)
    overlays = folder / "overlay"
    if "overlay" not in wanted:
        return
    if overlays.is_symlink():
        overlays.unlink()
    elif overlays.is_dir():
        for stale in overlays.glob("slice-*.png"):
            stale.unlink()


def _put(made: Path, target: Path) -> Path:
    target.parent.mkdir(exist_ok=True)
    return made.replace(target)


def _default_card(findings: Findings) -> BundleCard | None:
    """Return the card of the default bundle where that is the bundle that spoke."""
    from ichor.detecting.bundle import load_bundle
    from ichor.errors import BundleError

    if findings.bundle is None:
        return None
    try:
        card = load_bundle("default").card
    except BundleError:
        return None  # the findings come from another bundle; the page then names it without its measures
    return card if card.sha256 == findings.bundle.sha256 else None

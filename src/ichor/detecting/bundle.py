"""A bundle: a folder with a model and all that detection needs to know about it.

``bundle.json`` (``ichor.bundle/1``) names the graphs with their hashes, how an input is prepared, how logits
become probabilities and probabilities become verdicts, what the model was trained on and what was measured.
``card.md`` says the same to a person. Nothing in a bundle is executed and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ichor.detecting.graphs import read_verified
from ichor.detecting.manifest import (
    Manifest,
    Measured,
    OperatingPoints,
    Origin,
    Threshold,
    TrainedOn,
    UncertainBand,
    Unit,
    operating_points_of,
    thresholds_of,
)
from ichor.errors import BundleError, UsageError
from ichor.labels import LABEL_NAMES

__all__ = [
    "FORMAT",
    "Bundle",
    "BundleCard",
    "bundle_state",
    "find_bundle",
    "installed_bundles",
    "load_bundle",
    "require_calibrated",
]

FORMAT = "ichor.bundle/1"
_MANIFEST = "bundle.json"
_CARD = "card.md"
_SHIPPED = Path(__file__).parents[1] / "bundles"
_MAX_TEXT_BYTES = 4_000_000
_GET_ANOTHER = "get the bundle again from where it came, or name another with --bundle"


class BundleCard(BaseModel):
    """What a person should know of a bundle: the manifest without its machinery, and the card's text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    sha256: str
    description: str
    licence: str
    thresholds: dict[str, Threshold]
    slice_thresholds: dict[str, Threshold]
    picture_thresholds: dict[str, Threshold] = {}
    operating_points: OperatingPoints = OperatingPoints()
    uncertain_band: UncertainBand | None = None
    untrusted_labels: dict[str, str]
    trained_on: tuple[TrainedOn, ...]
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]
    restrictions: tuple[str, ...] = ()
    calibrated: bool = True
    origin: Origin | None = None
    claimed: tuple[Measured, ...] = ()
    card_text: str


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, its hashes checked.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        What ``bundle.json`` says.
    card_text
        ``card.md``.
    sha256
        Of the bytes of ``bundle.json``, which itself holds the hash of each graph.
    """

    folder: Path
    manifest: Manifest
    card_text: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.manifest.version

    @property
    def card(self) -> BundleCard:
        """What a person should know of it."""
        m = self.manifest
        return BundleCard(
            name=m.name,
            version=m.version,
            sha256=self.sha256,
            description=m.description,
            licence=m.licence,
            thresholds=m.thresholds,
            slice_thresholds=m.slice_thresholds,
            picture_thresholds=m.picture_thresholds,
            operating_points=m.operating_points,
            uncertain_band=m.uncertain_band,
            untrusted_labels=m.untrusted_labels,
            trained_on=m.trained_on,
            measured=m.measured,
            limits=m.limits,
            restrictions=m.restrictions,
            calibrated=m.calibrated,
            origin=m.origin,
            claimed=m.claimed,
            card_text=self.card_text,
        )

    def thresholds(self, *, unit: Unit = "exam", sensitivity: float | None = None) -> NDArray[np.float64]:
        """``(6,)`` probabilities from which on a label is positive; NaN where the model is not calibrated.

        Parameters
        ----------
        unit
            What the verdict is on.
        sensitivity
            Aim of an operating point, for ``any``.

        Raises
        ------
        UsageError
            Where the bundle has no operating point of this aim.
        """
        table = thresholds_of(self.manifest, unit)
        found = np.array([table[name].probability if table else np.nan for name in LABEL_NAMES])
        if sensitivity is not None:
            points = operating_points_of(self.manifest, unit)
            known = {point.aim: point.probability for point in points}
            if sensitivity not in known:
                there = ", ".join(f"{aim:g}" for aim in known) or "none"
                raise UsageError(
                    f"sensitivity {sensitivity:g}: found no such operating point in bundle {self.name!r}; expected "
                    f"one of: {there}; choose one of them, or set the probability itself with --threshold"
                )
            found[0] = known[sensitivity]
        return found

    def graph(self, name: str) -> Path:
        """Path of a graph's file, which lies within the folder."""
        return _inside(self.folder, self.manifest.graphs[name].file)

    def read_graph(self, name: str) -> bytes:
        """Bytes of a graph, whose hash was checked on these very bytes.

        Raises
        ------
        BundleError
            Where the file is missing, lies elsewhere, was altered, or leaves some of its values in another file.
        """
        graph = self.manifest.graphs[name]
        return read_verified(self.graph(name), graph.sha256, manifest=_MANIFEST, remedy=_GET_ANOTHER)


def load_bundle(name_or_path: str | os.PathLike[str] = "default", *, verify: bool = True) -> Bundle:
    """Load a bundle and check its format and the hash of each graph.

    Parameters
    ----------
    name_or_path
        A folder (or its ``bundle.json``), or the name of a bundle that ships with ichor or lies in one of the
        folders of the environment variable ``ICHOR_BUNDLES`` (separated as in ``PATH``). A name goes before a
        folder of the same name in the working directory.
    verify
        Check the graphs now. Without it they are checked when they are opened.

    Returns
    -------
    Bundle
        The bundle.

    Raises
    ------
    BundleError
        Where it is missing, incomplete, altered, or of a format that this ichor does not read.
    """
    folder = find_bundle(name_or_path)
    content = _read_text(folder / _MANIFEST)
    manifest = _parse(folder / _MANIFEST, content)
    card_text = _read_text(folder / _CARD).decode("utf-8", errors="replace")
    bundle = Bundle(folder, manifest, card_text, hashlib.sha256(content).hexdigest())
    if verify:
        for name in manifest.used_graphs:
            bundle.read_graph(name)
    return bundle


def require_calibrated(bundle: Bundle) -> None:
    """Refuse a model that calls nothing where something depends on its calls.

    Raises
    ------
    UsageError
        Where it is not calibrated.
    """
    if not bundle.manifest.calibrated:
        raise UsageError(
            f"bundle {bundle.name!r}: found a model that is not calibrated; expected one with thresholds: without them "
            "a worklist has nothing to flag and order by; calibrate it on exams of your own (ichor bundle calibrate), "
            "or look at its scores with ichor detect"
        )


def bundle_state(folder: Path) -> object:
    """Something that is equal as long as a bundle's folder holds the same: the manifest by its bytes, the rest by stat.

    Raises
    ------
    BundleError
        Where the folder has no manifest that can be read.
    """
    manifest = hashlib.sha256(_read_text(folder / _MANIFEST)).hexdigest()
    files = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return manifest, {path: (s.st_mtime_ns, s.st_size, s.st_ino) for path, s in files.items()}


def find_bundle(name_or_path: str | os.PathLike[str]) -> Path:
    """Folder of a bundle, found as :func:`load_bundle` says.

    Raises
    ------
    BundleError
        Where there is none.
    """
    text = str(name_or_path)
    plain = PurePosixPath(text).name == text and not text.startswith((".", "~"))
    if plain and isinstance(name_or_path, str):
        for home in _homes():
            if (home / text / _MANIFEST).is_file():
                return home / text
    path = Path(text).expanduser()
    if path.name == _MANIFEST and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    known = installed_bundles()
    raise BundleError(
        f"{text}: found no bundle of this name and no folder there; expected one of the bundles "
        f"({', '.join(known) or 'none is installed'}) or a folder with {_MANIFEST}; "
        "check --bundle and the environment variable ICHOR_BUNDLES"
    )


def installed_bundles() -> list[str]:
    """Return the names of the bundles that ship with ichor or lie in the folders of ``ICHOR_BUNDLES``."""
    return sorted({entry.parent.name for home in _homes() for entry in home.glob(f"*/{_MANIFEST}")})


def _homes() -> Iterator[Path]:
    yield _SHIPPED
    yield from (Path(p).expanduser() for p in os.environ.get("ICHOR_BUNDLES", "").split(os.pathsep) if p)


def _read_text(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size <= _MAX_TEXT_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: found no file that can be read ({error.strerror}); expected {_MANIFEST} and {_CARD} in "
            f"the folder of a bundle; {_GET_ANOTHER}"
        ) from None
    raise BundleError(f"{path}: found {size:,} bytes; expected at most {_MAX_TEXT_BYTES:,}; {_GET_ANOTHER}")


def _parse(path: Path, content: bytes) -> Manifest:
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: found text that is no JSON; expected {FORMAT}; {_GET_ANOTHER}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path}: found format {str(found)[:40]!r}; expected {FORMAT!r}; "
            "use a bundle made for this version of ichor, or the version of ichor that it was made for"
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(p) for p in first["loc"]) or "the whole"
        raise BundleError(
            f"{path}: found {where} wrong: {first['msg'].removeprefix('Value error, ')} "
            f"({error.error_count()} such in all); expected {FORMAT}; {_GET_ANOTHER}"
        ) from None


def _inside(folder: Path, name: str) -> Path:
    """Path of a bundle's file, refused where it would lie outside the folder."""
    plain = PurePosixPath(name).parts
    leaves = PureWindowsPath(name).drive or "\\" in name or PurePosixPath(name).is_absolute() or ".." in plain
    path = folder / name
    if not name or leaves or not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{folder / _MANIFEST}: found the file {name!r}, which leaves the bundle's folder; "
            f"expected a file within it; do not use this bundle"
        )
    return path

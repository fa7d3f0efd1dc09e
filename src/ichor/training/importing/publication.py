"""What an imported model is, before it is a bundle; and the bundle that it becomes: not calibrated, and saying so."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.manifest import GraphFile, Localisation, Manifest, Measured, Origin, TrainedOn
from ichor.detecting.rules import ExamRule, SliceRule
from ichor.detecting.sliding_window import SlidingWindow
from ichor.labels import LABEL_NAMES
from ichor.preparing import Preparation
from ichor.training.bundle_folder import new_bundle, write_texts

__all__ = ["TOLERANCE", "Outputs", "Published", "card_of", "compared_stacks", "write_published"]

TOLERANCE = 1e-3
"""Largest difference of a logit between the published network and the bundle's graphs."""
Outputs = tuple[str, ...]
_COMPARED = (1, 3)
"""Slices of the exams on which both are compared."""
_TAKES = {
    "slice": "stack",
    "features": "stack",
    "head": "features",
    "window": "window",
    "labels": "classes",
}
_LIMITS = (
    "Research software, not a medical device; every image is to be read by a physician.",
    "Imported as published and not calibrated: scores are no probabilities, and nothing is called.",
)


def compared_stacks(preparation: Preparation) -> list[NDArray[np.float32]]:
    """Return inputs ``(n, channels, rows, columns)``, 0..1, of different n, to compare network and graphs on."""
    p, rng = preparation, np.random.default_rng(0)
    return [rng.random((n, len(p.channels), p.rows, p.columns), np.float32) for n in _COMPARED]


@dataclass(frozen=True)
class Published:
    """A published model, read.

    Attributes
    ----------
    name, version, description, licence, authors, citation, url
        As its publishers give them.
    write
        Writes its graphs into a folder, compared with the network: the outputs of each by name, and a remark on the
        comparison for the card.
    preparation, slice_rule, exam_rule, map_stride, localisation
        As in a bundle's manifest.
    trained_on, restrictions, claimed, limits
        Likewise.
    sliding_window
        Likewise, of a network that takes volumes.
    """

    name: str
    version: str
    description: str
    licence: str
    authors: str
    citation: str
    url: str
    write: Callable[[Path], tuple[dict[str, Outputs], str]]
    preparation: Preparation
    slice_rule: SliceRule
    exam_rule: ExamRule
    map_stride: int
    localisation: Localisation
    trained_on: tuple[TrainedOn, ...]
    restrictions: tuple[str, ...]
    claimed: tuple[Measured, ...]
    limits: tuple[str, ...]
    sliding_window: SlidingWindow | None = None


def write_published(found: Published, home: Path, files: dict[str, str], revision: str = "") -> Path:
    """Write the bundle of a published model.

    Parameters
    ----------
    found
        The model.
    home
        Folder of the bundle.
    files
        sha256 of each file that was read, by its name.
    revision
        Of the publication, where it is known.

    Returns
    -------
    pathlib.Path
        The folder, loaded once to prove that detection takes it.

    Raises
    ------
    BundleError
        Where a graph differs from the network that was read.
    """
    with new_bundle(home) as new:
        graphs, remark = found.write(new)
        manifest = Manifest(
            format="ichor.bundle/1",
            name=found.name,
            version=found.version,
            description=found.description,
            licence=found.licence,
            labels=LABEL_NAMES,
            preparation=found.preparation,
            graphs={name: _graph_file(new, name, outputs) for name, outputs in graphs.items()},
            map_stride=found.map_stride,
            sliding_window=found.sliding_window,
            slice_rule=found.slice_rule,
            exam_rule=found.exam_rule,
            localisation=found.localisation,
            trained_on=found.trained_on,
            measured=(),
            limits=(*_LIMITS, *found.limits),
            restrictions=found.restrictions,
            origin=Origin(
                url=found.url, revision=revision, authors=found.authors, citation=found.citation, files=files
            ),
            claimed=found.claimed,
        )
        write_texts(new, manifest, card_of(manifest, remark))
    return home


def card_of(manifest: Manifest, remark: str = "") -> str:
    """Write the card of an imported model, calibrated here or not."""
    import jinja2

    text = (importlib.resources.files("ichor.training") / "release_text" / "imported.md.j2").read_text(
        "utf-8"
    )
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    return environment.from_string(text).render(m=manifest, remark=remark)


def _graph_file(folder: Path, name: str, outputs: Outputs) -> GraphFile:
    file = f"{name}.onnx"
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    return GraphFile(file=file, sha256=digest, inputs=(_TAKES[name],), outputs=outputs)

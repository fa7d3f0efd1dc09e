"""Writing a bundle's folder: whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ichor.detecting.bundle import load_bundle
from ichor.detecting.manifest import Manifest
from ichor.reading.scratch import ScratchFolder

__all__ = ["new_bundle", "write_texts"]


@contextmanager
def new_bundle(home: Path) -> Iterator[Path]:
    """Give a folder to write a bundle into; it is loaded once as proof, and then takes its place.

    Parameters
    ----------
    home
        Where the bundle will lie. One that is there stays whole where something fails.

    Yields
    ------
    pathlib.Path
        An empty folder beside it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    with ScratchFolder(home.parent) as new:
        yield new
        load_bundle(new)
        home.mkdir(exist_ok=True)
        for file in sorted(new.iterdir(), key=lambda path: path.name == "bundle.json"):
            file.replace(home / file.name)


def write_texts(folder: Path, manifest: Manifest, card: str) -> None:
    """Write ``bundle.json`` and ``card.md``."""
    (folder / "card.md").write_text(card, encoding="utf-8")
    content = manifest.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "bundle.json").write_text(text, encoding="utf-8")

"""The recipes of the package as files: their names and what they say of themselves. Needs no extra."""

from __future__ import annotations

import importlib.resources
import re

__all__ = ["recipe_descriptions", "recipe_names", "recipe_text"]

_DESCRIPTION = re.compile(r"^description: *(?:>[+-]?\n(?P<folded>(?: +.*\n)+)|(?P<line>.*)\n)", re.MULTILINE)
"""In one line, or folded: as the package's own recipes have it. The reader of YAML comes with the extra `train`."""


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    folder = importlib.resources.files("ichor.training") / "recipes"
    return sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """Return the YAML of a recipe of the package."""
    return (importlib.resources.files("ichor.training") / "recipes" / f"{name}.yaml").read_text("utf-8")


def recipe_descriptions() -> dict[str, str]:
    """Return what each recipe of the package says of itself, by its name."""
    found = {name: _DESCRIPTION.search(recipe_text(name)) for name in recipe_names()}
    return {
        name: " ".join((match["folded"] or match["line"]).split()) if match else ""
        for name, match in found.items()
    }

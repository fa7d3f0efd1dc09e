"""Model families: all that differs between kinds of models, one module a family.

A new family is a module with a class that follows :class:`~ichor.training.families.family.ModelFamily`, and a line in
:data:`FAMILIES`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ichor.training.families.family import ModelFamily

__all__ = ["FAMILIES", "family_named"]

FAMILIES = {
    "map": "ichor.training.families.maps:MapFamily",
    "classifier": "ichor.training.families.classifiers:ClassifierFamily",
}
"""Module and class of each family, by the ``kind`` of a recipe's ``model``."""


def family_named(kind: str) -> ModelFamily:
    """Return a family by its kind.

    Raises
    ------
    ValueError
        Where there is none.
    """
    if kind not in FAMILIES:
        raise ValueError(f"found the kind {kind!r}; expected one of {', '.join(FAMILIES)}")
    return _opened(FAMILIES[kind])


@cache
def _opened(place: str) -> ModelFamily:
    module, _, name = place.partition(":")
    family: ModelFamily = getattr(import_module(module), name)()
    return family

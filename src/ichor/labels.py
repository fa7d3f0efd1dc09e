"""The six labels, in the order of the RSNA 2019 challenge, said once.

Everything that names, orders, colours or codes a label takes it from here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LABELS", "LABEL_NAMES", "SUBTYPES", "SUBTYPE_NAMES", "Label"]


@dataclass(frozen=True)
class Label:
    """One of the six things ichor looks for.

    Attributes
    ----------
    name
        Key used in findings, in CSV headers and in bundles.
    abbreviation
        What a radiologist writes (``EDH``); for ``any``, ``ICH``.
    display
        Words for a person.
    snomed
        SNOMED CT concept identifier of the finding, or of its parent where none could be confirmed.
    snomed_meaning
        The code's meaning, as SNOMED CT words it.
    colour
        ``#rrggbb`` used wherever this label is drawn.
    """

    name: str
    abbreviation: str
    display: str
    snomed: str
    snomed_meaning: str
    colour: str


LABELS: tuple[Label, ...] = (
    Label("any", "ICH", "Any hemorrhage", "1386000", "Intracranial hemorrhage", "#e4572e"),
    Label("epidural", "EDH", "Epidural", "82999001", "Epidural intracranial hemorrhage", "#f2a541"),
    Label("intraparenchymal", "IPH", "Intraparenchymal", "274100004", "Cerebral hemorrhage", "#d1495b"),
    Label("intraventricular", "IVH", "Intraventricular", "1386000", "Intracranial hemorrhage", "#6a8fd8"),
    Label(
        "subarachnoid", "SAH", "Subarachnoid", "21454007", "Subarachnoid intracranial hemorrhage", "#4bb3a4"
    ),
    Label("subdural", "SDH", "Subdural", "35486000", "Subdural hemorrhage", "#9d6fc9"),
)
"""All six, ``any`` first, then the subtypes in alphabetical order (RSNA's order of columns here)."""

LABEL_NAMES: tuple[str, ...] = tuple(label.name for label in LABELS)
SUBTYPES: tuple[Label, ...] = LABELS[1:]
SUBTYPE_NAMES: tuple[str, ...] = LABEL_NAMES[1:]

"""The kinds of DICOM results, by the names that ``--write`` and a node's configuration use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ichor.errors import UsageError

__all__ = ["DEFAULT_KINDS", "GROUP", "KINDS", "Kind", "check_kinds"]

GROUP = "dicom"
"""Stands for :data:`DEFAULT_KINDS` in ``--write``."""


@dataclass(frozen=True)
class Kind:
    """A kind of result.

    Attributes
    ----------
    name
        As the user writes it.
    sop_class
        UID of what is written.
    modality
        Of its series.
    series_number
        Of its series: far above what scanners give.
    description
        Of its series, in ASCII, which every character set holds; lists of series show its first words only.
    words
        For messages and documentation.
    """

    name: str
    sop_class: str
    modality: str
    series_number: int
    description: str
    words: str

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.dcm"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "seg",
            "1.2.840.10008.5.1.4.1.1.66.4",
            "SEG",
            9701,
            "ichor regions (research use)",
            "DICOM segmentation",
        ),
        Kind(
            "sr",
            "1.2.840.10008.5.1.4.1.1.88.33",
            "SR",
            9702,
            "ichor report (research use)",
            "DICOM structured report (TID 1500)",
        ),
        Kind(
            "sc",
            "1.2.840.10008.5.1.4.1.1.7",
            "OT",
            9703,
            "ichor summary page (research use)",
            "DICOM secondary capture",
        ),
        Kind(
            "ko",
            "1.2.840.10008.5.1.4.1.1.88.59",
            "KO",
            9704,
            "ichor key slices (research use)",
            "DICOM key object selection",
        ),
        Kind(
            "pdf",
            "1.2.840.10008.5.1.4.1.1.104.1",
            "DOC",
            9705,
            "ichor PDF (research use)",
            "DICOM encapsulated PDF",
        ),
        Kind(
            "sr-planar",
            "1.2.840.10008.5.1.4.1.1.88.33",
            "SR",
            9706,
            "ichor outlines (research use)",
            "DICOM structured report with outlines in the image plane, for viewers",
        ),
    )
}
"""All kinds, in the order in which they are written."""

DEFAULT_KINDS: tuple[str, ...] = ("seg", "sr", "sc", "ko")


def check_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Return known kinds in the order in which they are written, each once; ``dicom`` stands for the default ones.

    Raises
    ------
    UsageError
        For a name that is no kind.
    """
    wanted: set[str] = set()
    for name in names:
        if name != GROUP and name not in KINDS:
            raise UsageError(
                f"{name}: found no such kind of DICOM result; expected {GROUP} or any of {', '.join(KINDS)}"
            )
        wanted |= set(DEFAULT_KINDS) if name == GROUP else {name}
    return tuple(name for name in KINDS if name in wanted)

"""What every subject goes through before a network sees it: in detection, and where pictures are calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ichor.detecting.brain_reach import brain_reach
from ichor.detecting.picture_window import measured
from ichor.detecting.quality import assess, inspect
from ichor.exam import Exam, Picture
from ichor.notices import Notice
from ichor.preparing.stacks import Preparation, Prepared, prepare

__all__ = ["Examined", "examine"]

_HEAD = Preparation(channels=())


@dataclass(frozen=True)
class Examined:
    """A subject on the model's grid, and what was noticed of it.

    Attributes
    ----------
    subject
        As read; a picture has its window.
    prepared
        The same on the model's grid, and how far there may be brain in it.
    inspected
        The same on the grid by which quality and reference ranges are measured: the model's, or, of one that takes the
        image as it is, that of the head.
    notices
        Of its window and of its quality.
    preparation
        By which it was prepared.
    """

    subject: Exam | Picture
    prepared: Prepared
    inspected: Prepared
    notices: tuple[Notice, ...]
    preparation: Preparation

    @property
    def refused(self) -> bool:
        """Whether no verdict may be given."""
        return any(notice.decision == "refuse" for notice in self.notices)


def examine(subject: Exam | Picture, preparation: Preparation) -> Examined:
    """Measure a picture's window, bring the subject to the grid, and assess its quality.

    Parameters
    ----------
    subject
        As read.
    preparation
        Of the model.
    """
    subject, of_window, estimate = measured(subject)
    prepared = prepare(subject, preparation)
    inspected = prepared if preparation.frame == "head" else prepare(subject, _HEAD)
    inspection = inspect(subject, inspected)
    quality = assess(subject, inspected, estimate, inspection)
    if isinstance(subject, Exam):
        prepared = replace(prepared, reach_mm=brain_reach(inspection.brains, inspected.transform))
    if any(n.code == "not_a_head" for n in quality):
        of_window = []  # what shows no head is in no window
    return Examined(subject, prepared, inspected, (*of_window, *quality), preparation)

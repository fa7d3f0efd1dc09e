"""One study and what was found on it: all that the makers of objects need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ichor.exam import Exam
from ichor.findings import Findings, FindingsWarning
from ichor.results.identity import Identity

if TYPE_CHECKING:
    from ichor.detecting.bundle import BundleCard
    from ichor.reading.originals import Originals

__all__ = ["Case"]

_NOT_OF_THE_STUDY = ("own_result", "header_repaired", "result_left_out")
"""Notices that must not change a report: the same study gives the same bytes."""


@dataclass(frozen=True)
class Case:
    """All that the makers of objects need of one study.

    Attributes
    ----------
    findings
        What is reported.
    image
        What was assessed; None where it could not be read.
    originals
        The objects that it was read from.
    identity
        What UIDs, date and equipment follow from.
    card
        Of the model, for its limits; None where it is not at hand.
    segmentation_uid
        Of the segmentation that is made beside; empty where there is none.
    """

    findings: Findings
    image: Exam | None
    originals: Originals
    identity: Identity
    card: BundleCard | None = None
    segmentation_uid: str = ""

    @property
    def exam(self) -> Exam:
        """The exam, where one was read."""
        if self.image is None:
            raise ValueError("a study that could not be read has no exam")
        return self.image

    @property
    def mask(self) -> NDArray[np.uint8]:
        """``(n, rows, columns)`` region numbers; all 0 where there is none."""
        if self.findings.mask is None:
            return np.zeros(self.exam.volume.shape, np.uint8)
        return self.findings.mask

    def sop_uid(self, name: str) -> str:
        """Return the UID of the object of a kind.

        What has words in it is another object where it refers to a segmentation, or where other things were noticed of
        the input: a series that arrived later, say, which was not taken.
        """
        if name in ("seg", "ko"):
            return self.identity.uid(name)
        noticed = [f"{w.code} {w.message}" for w in self.notices]
        return self.identity.uid(name, self.segmentation_uid, *noticed)

    @property
    def notices(self) -> list[FindingsWarning]:
        """What was noticed of the study itself, whether or not ichor's own results lie in it."""
        return [w for w in self.findings.warnings if w.code not in _NOT_OF_THE_STUDY]

    @cached_property
    def thickness(self) -> NDArray[np.float64]:
        """``(n,)`` mm, as the source states it; NaN where it does not."""
        stated = self.exam.geometry.thickness
        return stated if len(stated) else np.full(self.exam.n_slices, np.nan)

    @cached_property
    def thickness_or_step(self) -> NDArray[np.float64]:
        """``(n,)`` mm; the distance between slices where the source states none."""
        return np.where(np.isfinite(self.thickness), self.thickness, self.exam.geometry.slice_step)

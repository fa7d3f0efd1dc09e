"""DICOM objects of the studies of a run: made, and stored where they are to go."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ichor.bulk.targets import NotStored, Target, open_target
from ichor.bulk.units import Unit
from ichor.detecting import Detection
from ichor.notices import Notice, notice

if TYPE_CHECKING:
    from ichor.detecting.bundle import BundleCard
    from ichor.reading.limits import Limits
    from ichor.results import Results

__all__ = ["ObjectWriter"]

_log = logging.getLogger(__name__)

_WAITS_S = (1.0, 3.0, 9.0)
"""Between two tries to store the objects of one study."""
_MOST_SECONDS = 30.0
"""After which there is no other try: a worker that stays over a study for minutes is taken to hang."""


class ObjectWriter:
    """Makes and stores the objects of one study after the other.

    Parameters
    ----------
    kinds
        Which; may be none.
    address
        Where they go, see :func:`~ichor.bulk.targets.open_target`.
    card
        Of the model.
    limits
        For what is read of the source.
    """

    def __init__(self, kinds: tuple[str, ...], address: str, card: BundleCard, limits: Limits) -> None:
        self._kinds, self._card, self._limits = kinds, card, limits
        self._target: Target | None = open_target(address) if kinds else None
        self._is_away = False

    def write(self, detection: Detection, unit: Unit, row: int) -> tuple[bool | None, list[Notice]]:
        """Make and store the objects of one result.

        A target that does not take them is tried again for a while; the result is never lost over it.

        Parameters
        ----------
        detection
            Of the study.
        unit, row
            Which study it is: its objects are named by both.

        Returns
        -------
        stored : bool or None
            Whether they are there; None where there are none.
        notices : list of Notice
            What was repaired, left out or not stored.
        """
        if self._target is None or detection.path is None:
            return None, []
        from ichor.results import make_results

        made = make_results(
            detection.findings,
            detection.exam,
            detection.path,
            self._kinds,
            card=self._card,
            limits=self._limits,
        )
        notices = list(made.notices)
        if not made.objects:
            return None, notices
        reason = self._put(self._target, made, f"{unit.id[:2]}/{unit.id}-{row}")
        if reason:
            remedy = "expected them to be stored; run again with --retry-failed"
            notices.append(notice("result_left_out", f"DICOM objects: {reason}; {remedy}."))
        return not reason, notices

    def _put(self, target: Target, made: Results, name: str) -> str:
        """Store objects; return why they are not stored, else nothing."""
        # Not every study of an archive waits for a target that is away: after the first each tries once, until one
        # succeeds.
        waits = () if self._is_away else _WAITS_S
        began = time.monotonic()
        for wait in (*waits, 0.0):
            try:
                target.put(made, name)
            except NotStored as error:
                reason = str(error)
                _log.warning("objects were not stored: %s", reason)
                if time.monotonic() - began > _MOST_SECONDS:
                    break
                time.sleep(wait)
            else:
                self._is_away = False
                return ""
        self._is_away = True
        return reason

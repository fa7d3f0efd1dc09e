"""DICOM results of bulk's studies: written beside the rows, a folder for each study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ichor.bulk.units import Unit
from ichor.detecting import Detection

if TYPE_CHECKING:
    from ichor.bulk.assessing import Assessor

__all__ = ["write_objects"]


def write_objects(detection: Detection, unit: Unit, row: int, assessor: Assessor) -> list[dict[str, Any]]:
    """Make and write the objects that the settings ask for.

    Parameters
    ----------
    detection
        Of the study.
    unit, row
        Which study it is: its folder is named by both.
    assessor
        Whose settings, model and limits are used.

    Returns
    -------
    list of dict
        Notices of what was repaired or left out, as rows hold them.
    """
    settings = assessor.settings
    if not settings.kinds or detection.path is None:
        return []
    from ichor.results import make_results

    made = make_results(
        detection.findings,
        detection.exam,
        detection.path,
        settings.kinds,
        card=assessor.detector.bundle.card,
        limits=assessor.limits,
    )
    if made.objects:
        made.save(Path(settings.objects) / unit.id[:2] / f"{unit.id}-{row}")
    return [{"code": n.code, "message": n.message, "slices": None} for n in made.notices]

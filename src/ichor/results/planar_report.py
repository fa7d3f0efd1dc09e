"""A second report for viewers: each region's outline on the slice where it is largest, as coordinates in the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ichor.reporting.outline import outlines
from ichor.reporting.words import names_subtype
from ichor.results.case import Case
from ichor.results.codes import code, label_code, site_code
from ichor.results.report import measurement, measurement_report
from ichor.results.segmentation import segment_label, tracking_uid

__all__ = ["planar_report"]


def planar_report(case: Case, sop_uid: str) -> Dataset:
    """Make the report; the full one is the record, and this one stands beside it.

    Parameters
    ----------
    case
        With regions.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    count = len(case.findings.regions)
    return measurement_report(case, sop_uid, [_group(case, number) for number in range(1, count + 1)])


def _group(case: Case, number: int) -> Any:
    from highdicom.sr import (
        FindingSite,
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    region = case.findings.regions[number - 1]
    named = region.label if names_subtype(region) else "any"
    k = int((case.mask == number).sum(axis=(1, 2)).argmax())
    instance = case.originals.instances[k]
    frames = None if instance.frame is None else [instance.frame]
    p = region.probabilities.get(region.label) if names_subtype(region) else None
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            tracking_uid(case.identity, number), segment_label(number, region)
        ),
        referenced_region=ImageRegion(
            "POLYLINE",
            _closed_line(case.mask[k] == number),
            SourceImageForRegion(instance.sop_class, instance.sop_uid, frames),
        ),
        finding_category=code("category"),
        finding_type=label_code(named),
        finding_sites=[FindingSite(code(site_code(named)))],
        measurements=[] if p is None else [measurement("probability", p, "ratio")],
    )


def _closed_line(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(k, 2)`` column and row of the longest line around what is set, 0 at the outer edge of the first pixel."""
    lines = outlines(mask, away=0)
    longest = max(lines, key=lambda line: float(np.hypot(*np.diff(line, axis=0).T).sum()))
    return np.concatenate([longest, longest[:1]])[:, ::-1]

"""What is odd about the geometry of an exam, whatever format it came in."""

from __future__ import annotations

import numpy as np

from ichor.exam import Geometry
from ichor.notices import Notice, notice

__all__ = ["AXIAL_COSINE", "MIN_COVERAGE_MM", "MIN_SLICES", "geometry_notices"]

MIN_SLICES = 5
"""Fewer slices are no exam."""
MIN_COVERAGE_MM = 40.0
"""Less of the head than this is no exam."""
AXIAL_COSINE = 0.7
"""Slices whose normal is within 45 degrees of the patient's long axis are axial."""
_OBLIQUE_DEGREES = 10.0
_TILT_DEGREES = 0.5
_THICK_MM = 7.0


def geometry_notices(geometry: Geometry) -> tuple[Notice, ...]:
    """Describe a stack of slices; nothing here changes it.

    Returns
    -------
    tuple of Notice
        ``gantry_tilt``, ``oblique``, ``orientation_flipped``, ``spacing_uneven``, ``slices_missing``,
        ``thickness_mixed``, ``slices_thick``, as far as they apply.
    """
    return (
        *_direction_notices(geometry),
        *_gap_notices(geometry),
        *_thickness_notices(geometry),
    )


def _direction_notices(geometry: Geometry) -> list[Notice]:
    out = []
    off_axis = float(np.degrees(np.arccos(np.clip(geometry.normal[2], -1, 1))))
    tilt = geometry.tilt_degrees if geometry.positions_known else 0.0
    if tilt > _TILT_DEGREES:
        text = f"The slices are sheared by {tilt:.1f} degrees against their normal (gantry tilt)."
        out.append(notice("gantry_tilt", text))
    row, column = geometry.row_direction, geometry.column_direction
    roll = float(np.degrees(np.arcsin(np.clip(np.sort(np.abs(row))[1], 0, 1))))
    if off_axis - tilt > _OBLIQUE_DEGREES or roll > _OBLIQUE_DEGREES:
        text = f"The slices stand {max(off_axis, roll):.0f} degrees off the patient's axes."
        out.append(notice("oblique", text))
    if row[0] < -0.7 or column[1] < -0.7 or abs(row[1]) > 0.7:
        text = "Rows or columns run against the usual; the model sees them turned."
        out.append(notice("orientation_flipped", text))
    return out


def _gap_notices(geometry: Geometry) -> list[Notice]:
    if geometry.n_slices < 2 or not geometry.positions_known:
        return []
    gaps, step = geometry.gaps, geometry.slice_step
    uneven = np.flatnonzero(np.abs(gaps - step) > max(0.1 * step, 0.05))
    if not len(uneven):
        return []
    text = f"The gaps between slices run from {gaps.min():.2f} to {gaps.max():.2f} mm."
    out = [notice("spacing_uneven", text, uneven.tolist())]
    # A gap that its slices' own thickness explains is no hole.
    known = geometry.thickness if len(geometry.thickness) else np.full(geometry.n_slices, np.nan)
    thick = np.nan_to_num(known, nan=step)
    between = (thick[1:] + thick[:-1]) / 2
    covered = np.where(between > 1.2 * step, between, step)
    ratio = gaps / covered
    holes = np.flatnonzero((ratio > 1.6) & (np.abs(ratio - np.round(ratio)) < 0.15))
    if len(holes):
        missing = int(np.round(ratio[holes]).sum() - len(holes))
        seem = "slice seems" if missing == 1 else "slices seem"
        text = f"About {missing} {seem} to be missing: gaps of a multiple of the {step:.1f} mm step."
        out.append(notice("slices_missing", text, holes.tolist()))
    return out


def _thickness_notices(geometry: Geometry) -> list[Notice]:
    out = []
    known = geometry.thickness[np.isfinite(geometry.thickness)]
    if len(known) and known.max() - known.min() > 0.1:
        text = f"Slice thickness runs from {known.min():g} to {known.max():g} mm."
        out.append(notice("thickness_mixed", text))
    step = max(round(geometry.slice_step, 2), float(np.median(known)) if len(known) else 0.0)
    if step > _THICK_MM:
        out.append(notice("slices_thick", f"The slices are {step:.1f} mm thick or apart."))
    return out

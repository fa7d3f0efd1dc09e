"""Which slices a person should look at first."""

from __future__ import annotations

import numpy as np

from ichor.findings import Findings

__all__ = ["reported_slices", "suspicious_slices"]

_APART_MM = 7.5
"""Shown slices lie further apart than this, else three of them would show one and the same cut."""
_APART_SLICES = 2
_AT_MOST = 4
_AT_LEAST = 3


def suspicious_slices(findings: Findings) -> list[int]:
    """Return indices of all slices that reach the threshold or hold a part of a region."""
    threshold = findings.thresholds.any
    chosen = {i for region in findings.regions for i in region.slices}
    for s in findings.slices:
        if threshold is not None and s.probabilities.any is not None and s.probabilities.any >= threshold:
            chosen.add(s.index)
    return sorted(chosen)


def reported_slices(findings: Findings) -> list[int]:
    """Choose the slices that a report shows, the most suspicious first.

    Of the suspicious slices (of all, where none is) those with the highest probability, none closer than
    7.5 mm (two slices where positions are not known) to one already taken, at most four; then, to make three,
    those with the next highest probability. Where the largest region would not be seen, the slice on which
    it is largest takes the last place.

    Returns
    -------
    list of int
        Empty where nothing was assessed.
    """
    ranked = sorted(findings.slices, key=lambda s: -(s.probabilities.any or 0.0))
    positions = {s.index: s.position_mm for s in findings.slices}
    suspicious = set(suspicious_slices(findings))
    most = _AT_MOST if suspicious else _AT_LEAST
    chosen: list[int] = []
    for s in ranked:
        apart = not any(_near(s.index, other, positions) for other in chosen)
        if len(chosen) < most and apart and (s.index in suspicious or not suspicious):
            chosen.append(s.index)
    rest = [s.index for s in ranked if s.index not in chosen]
    chosen += rest[: max(0, _AT_LEAST - len(chosen))]
    largest = _largest_region_slice(findings)
    if largest is not None and chosen and not _region_seen(findings, chosen):
        chosen = [*chosen[: most - 1], largest]
    return chosen


def _near(a: int, b: int, positions: dict[int, float | None]) -> bool:
    pa, pb = positions[a], positions[b]
    if pa is None or pb is None:
        return abs(a - b) < _APART_SLICES
    return abs(pa - pb) < _APART_MM


def _largest_region(findings: Findings) -> int | None:
    """Return the number (1-based) of the region with most volume, or with most voxels."""
    if not findings.regions:
        return None
    if findings.mask is not None:
        held = findings.mask[sorted({k for region in findings.regions for k in region.slices})]
        counts = np.bincount(held[held > 0], minlength=len(findings.regions) + 1)[1:]
        return int(counts.argmax()) + 1
    return max(range(len(findings.regions)), key=lambda i: findings.regions[i].volume_ml or 0.0) + 1


def _largest_region_slice(findings: Findings) -> int | None:
    number = _largest_region(findings)
    if number is None:
        return None
    slices = findings.regions[number - 1].slices
    if findings.mask is None or not slices:
        return slices[len(slices) // 2] if slices else None
    return slices[int((findings.mask[slices] == number).sum(axis=(1, 2)).argmax())]


def _region_seen(findings: Findings, chosen: list[int]) -> bool:
    number = _largest_region(findings)
    return number is not None and bool(set(findings.regions[number - 1].slices) & set(chosen))

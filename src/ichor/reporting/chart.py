"""The strip chart: probabilities along the head, laid out for the template to draw as SVG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.findings import Findings
from ichor.labels import SUBTYPES
from ichor.reporting.words import (
    number_ranges,
    probability,
    region_colour,
    region_subtype,
    untrusted_subtypes,
)

__all__ = ["Cell", "Chart", "Lane", "strip_chart"]

_WIDTH, _LEFT, _RIGHT, _TOP = 900.0, 132.0, 14.0, 12.0
_PLOT, _LANE, _GAP = 150.0, 15.0, 8.0
_MAX_REGIONS = 12


@dataclass(frozen=True)
class Cell:
    """A rectangle with the words for it; ``strength`` 0..1 is how strongly it is painted."""

    x: float
    y: float
    width: float
    height: float
    strength: float
    title: str


@dataclass(frozen=True)
class Lane:
    """A row of cells: a subtype over all slices, or a region over its own."""

    name: str
    colour: str
    y: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws, in the units of the SVG.

    Attributes
    ----------
    width, height, left, right, top, bottom
        The drawing, and the plot of bars within it.
    bars
        Probability of any hemorrhage, one a slice; strength 1 from the threshold upwards.
    subtypes, regions
        Rows below the plot; their height is ``lane``.
    lane
        Height of a row.
    threshold_y
        Height of the threshold; None where there is none.
    ticks
        x and text along the axis.
    axis_y
        Where the axis lies.
    axis
        What the axis shows.
    left_out
        Regions beyond the first twelve, which are in the table only.
    summary
        The chart in words, for those who do not see it.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    bars: tuple[Cell, ...]
    subtypes: tuple[Lane, ...]
    regions: tuple[Lane, ...]
    lane: float
    threshold_y: float | None
    ticks: tuple[tuple[float, str], ...]
    axis_y: float
    axis: str
    left_out: int
    summary: str


@dataclass(frozen=True)
class _Axis:
    """Where each slice lies along x."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    titles: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    name: str

    def cell(self, i: int, y: float, height: float, strength: float, words: str) -> Cell:
        x0, x1 = float(self.starts[i]), float(self.ends[i])
        gap = min(1.0, (x1 - x0) * 0.15)
        return Cell(x0 + gap / 2, y, x1 - x0 - gap, height, strength, f"{self.titles[i]}: {words}")


def strip_chart(findings: Findings) -> Chart | None:
    """Lay out the chart, base on the left, vertex on the right; None for fewer than two slices."""
    slices, threshold = findings.slices, findings.thresholds.any
    if len(slices) < 2:
        return None
    axis = _axis(findings)
    bottom = _TOP + _PLOT
    any_p = [s.probabilities.any or 0.0 for s in slices]
    bars = tuple(
        axis.cell(
            i,
            bottom - _PLOT * p,
            _PLOT * p,
            float(threshold is not None and p >= threshold),
            f"any hemorrhage {probability(p)}",
        )
        for i, p in enumerate(any_p)
    )
    y = bottom + _GAP
    subtypes = []
    for label in SUBTYPES:
        values = [getattr(s.probabilities, label.name) or 0.0 for s in slices]
        cells = tuple(
            axis.cell(i, y, _LANE - 3, p, f"{label.display.lower()} {probability(p)}")
            for i, p in enumerate(values)
            if p >= 0.01  # a paler cell would not be seen
        )
        subtypes.append(Lane(label.display, label.colour, y, cells))
        y += _LANE
    y += _GAP if findings.regions else 0
    regions = []
    for number, region in enumerate(findings.regions[:_MAX_REGIONS], start=1):
        words = f"region {number}: {region_subtype(region, untrusted_subtypes(findings))}"
        cells = tuple(axis.cell(i, y, _LANE - 3, 1.0, words) for i in region.slices)
        regions.append(Lane(f"Region {number}", region_colour(region), y, cells))
        y += _LANE
    return Chart(
        width=_WIDTH,
        height=y + 46,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        bottom=bottom,
        bars=bars,
        subtypes=tuple(subtypes),
        regions=tuple(regions),
        lane=_LANE,
        threshold_y=None if threshold is None else bottom - _PLOT * threshold,
        ticks=axis.ticks,
        axis_y=y + 4,
        axis=axis.name,
        left_out=max(0, len(findings.regions) - _MAX_REGIONS),
        summary=_summary(any_p, threshold),
    )


def _axis(findings: Findings) -> _Axis:
    n = len(findings.slices)
    given = [s.position_mm for s in findings.slices if s.position_mm is not None]
    in_mm = len(given) == n and bool(np.all(np.diff(given) > 0))
    at = np.array(given) if in_mm else np.arange(1.0, n + 1)
    # A slice reaches half-way to its neighbours, but not into a hole where slices are missing.
    gaps = np.diff(at)
    step = float(np.median(gaps))
    half = np.minimum(gaps, 1.5 * step) / 2
    starts = at - np.concatenate([half[:1], half])
    ends = at + np.concatenate([half, half[-1:]])
    low, high = float(starts[0]), float(ends[-1])
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)
    titles = tuple(f"Slice {i + 1} of {n}" + (f", {at[i]:.1f} mm" if in_mm else "") for i in range(n))
    ticks = tuple((_LEFT + (value - low) * scale, f"{value:g}") for value in _round_values(at[0], at[-1]))
    name = (
        "position along the slices' normal, mm (base of the skull → vertex)"
        if in_mm
        else "slice (base → vertex)"
    )
    return _Axis(_LEFT + (starts - low) * scale, _LEFT + (ends - low) * scale, titles, ticks, name)


def _round_values(low: float, high: float, wanted: int = 8) -> list[float]:
    """Round numbers between two values, about as many as wanted."""
    raw = max(high - low, 1e-9) / wanted
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return [float(v) + 0.0 for v in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def _summary(any_p: list[float], threshold: float | None) -> str:
    top = int(np.argmax(any_p))
    text = (
        f"Probability of any hemorrhage over {len(any_p)} slices, from the base to the vertex; "
        f"highest on slice {top + 1}: {probability(any_p[top])}."
    )
    if threshold is None:
        return text
    above = [i for i, p in enumerate(any_p) if p >= threshold]
    where = f"slices {number_ranges(above)}" if above else "no slice"
    return f"{text} At or above the threshold: {where}."

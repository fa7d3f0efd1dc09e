"""Histograms and the strip of exams, laid out for inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.exploring.survey import HU_LOW, LABEL_STATES, ExamFacts, Survey
from ichor.preparing.windows import WINDOWS, Window

__all__ = ["Plot", "Series", "Skyline", "brain_plot", "histogram", "hu_plot", "skyline", "window_plots"]

WIDTH, HEIGHT = 380.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 14.0, 46.0
_LEAST_PIXELS = 2000
"""From which a histogram says something."""
_SMOOTH_HU = 2.5


@dataclass(frozen=True)
class Series:
    """One line, or one filled shape, of a plot: its name, its class of colour, and its SVG path."""

    name: str
    style: str
    path: str


@dataclass(frozen=True)
class Plot:
    """A drawing within ``WIDTH`` x ``HEIGHT``.

    Attributes
    ----------
    title, x, y
        Of the plot and its axes.
    series
        What is drawn.
    x_ticks, y_ticks
        Place and text.
    summary
        The plot in words.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    summary: str
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    bottom: float = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class Skyline:
    """All exams beside each other, a column each, base of the skull at the bottom.

    Attributes
    ----------
    width, height
        Of the drawing.
    columns
        An exam's words and its runs of like slices: x, y, width, height, class.
    ticks
        y and text of numbers of slices.
    """

    width: float
    height: float
    columns: tuple[tuple[str, tuple[tuple[float, float, float, float, str], ...]], ...]
    ticks: tuple[tuple[float, str], ...]


def brain_plot(survey: Survey) -> Plot:
    """Share of pixels by HU where brain and blood lie, for slices with and without hemorrhage, and for blood."""
    # Where a source is cut, its ends pile up: they are left out, but for a few sources of windows of their own.
    low = int(max(-20.0, np.quantile([e.hu_range[0] + 2 for e in survey.exams], 0.95)))
    high = int(min(120.0, np.quantile([e.hu_range[1] - 2 for e in survey.exams], 0.05)))
    rows = [
        (f"slices {'with hemorrhage' if k == 1 else 'without'}", LABEL_STATES[k], survey.hu[k])
        for k in (0, 1)
    ]
    rows.append(("pixels marked as blood", "blood", survey.blood_hu))
    if not survey.hu[:2].any():
        rows.append(("slices", "unknown", survey.hu[2]))
    lines = []
    for name, style, counts in rows:
        inside = counts[low - HU_LOW : high - HU_LOW].astype(np.float64)
        if inside.sum() >= _LEAST_PIXELS:
            # 8-bit sources do not fill every HU evenly.
            smooth = ndimage.gaussian_filter1d(inside, _SMOOTH_HU, mode="nearest")
            lines.append((name, style, 100 * smooth / smooth.sum()))
    top = max((float(y.max()) for _, _, y in lines), default=1.0)
    edges = np.arange(low, high + 1)
    return _lines("Where brain and blood lie", "HU", "% of these pixels per HU, smoothed", edges, lines, top)


def hu_plot(survey: Survey) -> Plot:
    """Every HU, on a logarithmic scale."""
    step = 40
    pixels = survey.hu.sum(axis=0)
    n = len(pixels) // step
    counts = pixels[: n * step].reshape(n, step).sum(axis=1)
    edges = HU_LOW + step * np.arange(n + 1)
    share = np.log10(np.maximum(100 * counts / max(1, counts.sum()), 1e-3)) + 3
    labels = [(0.0, "0.001"), (1.0, "0.01"), (2.0, "0.1"), (3.0, "1"), (4.0, "10"), (5.0, "100")]
    plot = _bars("All of the scale", "HU", "% of pixels (log)", edges, share, float(np.ceil(share.max())))
    top = max(1.0, float(np.ceil(share.max())))
    ticks = tuple((_y(v, top), text) for v, text in labels if v <= top)
    return Plot(plot.title, plot.x, plot.y, plot.series, plot.x_ticks, ticks, plot.summary)


def window_plots(survey: Survey, windows: Mapping[str, Window] = WINDOWS) -> list[Plot]:
    """Draw what a network is given: the grey values of each window."""
    pixels = survey.hu.sum(axis=0)
    hu = np.arange(len(pixels)) + HU_LOW
    return [_window_plot(name, window, hu, pixels) for name, window in windows.items()]


def histogram(title: str, x: str, values: NDArray[np.float64], y: str = "exams") -> Plot:
    """Count values in round bins."""
    low, high = float(values.min()), float(values.max())
    whole = bool(np.all(values == np.rint(values)))
    step = _step(max(high - low, 1e-6), 16)
    if whole:
        step = max(1.0, float(np.rint(step)))
    if high - low < 1e-6:
        step = 1.0 if whole else max(abs(high) / 10, 0.1)
    first = np.floor(low / step + 1e-9) * step
    n = max(3, int(np.floor((high - first) / step + 1e-9)) + 1)
    edges = first + step * np.arange(n + 1)
    if whole and step == 1:
        edges = edges - 0.5
    counts = np.histogram(values, edges)[0].astype(np.float64)
    return _bars(title, x, y, edges, counts, float(max(counts.max(), 1)))


def skyline(exams: list[ExamFacts], most: int, named: dict[str, str]) -> Skyline | None:
    """Lay out exams by number of slices; evenly chosen where there are more than ``most``."""
    if not exams or max(len(e.labels) for e in exams) < 2:
        return None
    order = sorted(exams, key=lambda e: (-_positives(e), -len(e.labels)))
    order = [order[int(i)] for i in np.unique(np.linspace(0, len(order) - 1, min(most, len(order))))]
    tallest = max(len(e.labels) for e in order)
    width, height = 960.0, 260.0
    step, unit = (width - _LEFT) / len(order), (height - 2 * _TOP) / tallest
    columns = []
    for k, exam in enumerate(order):
        state = np.where(np.isnan(exam.labels[:, 0]), 2, exam.labels[:, 0] > 0).astype(int)
        starts = np.flatnonzero(np.diff(state, prepend=-1))
        ends = np.append(starts[1:], len(state))
        runs = tuple(
            (
                _LEFT + k * step,
                height - _TOP - b * unit,
                min(step * 0.86, 24.0),
                (b - a) * unit,
                LABEL_STATES[state[a]],
            )
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        )
        words = f"{named[exam.patient]}: {len(state)} slices, {_positives(exam)} with hemorrhage"
        columns.append((words, runs))
    ticks = tuple((height - _TOP - v * unit, f"{v:g}") for v in _round_values(0, tallest, 4))
    return Skyline(width, height, tuple(columns), ticks)


def _window_plot(name: str, window: Window, hu: NDArray[np.int_], pixels: NDArray[np.int64]) -> Plot:
    grey = window.apply(hu) * 255
    inside = (grey > 0) & (grey < 255)
    edges = np.linspace(0, 255, 33)
    counts = np.histogram(grey[inside], edges, weights=pixels[inside])[0]
    # A bin of a narrow window holds 2 or 3 whole HU: by turns too many and too few.
    width = np.maximum(np.histogram(grey[inside], edges)[0], 1)
    density = counts / width
    top = float(density.max()) or 1.0
    title = f"{name.capitalize()} (level {window.level:g}, width {window.width:g})"
    return _bars(title, "grey value", "pixels", edges, density / top, 1.0, y_ticks=())


def _lines(
    title: str,
    x: str,
    y: str,
    edges: NDArray[np.int_],
    lines: list[tuple[str, str, NDArray[np.float64]]],
    top: float,
) -> Plot:
    low, high = float(edges[0]), float(edges[-1])
    middles = (edges[:-1] + edges[1:]) / 2
    series = []
    for name, style, values in lines:
        points = [
            f"{_x(float(m), low, high):.1f} {_y(float(v), top):.1f}"
            for m, v in zip(middles, values, strict=True)
            if np.isfinite(v)
        ]
        series.append(Series(name, style, "M" + "L".join(points)))
    peaks = "; ".join(f"{n} highest at {middles[int(np.nanargmax(v))]:.0f} HU" for n, _, v in lines)
    return Plot(
        title,
        x,
        y,
        tuple(series),
        _x_ticks(low, high),
        _y_ticks(top),
        f"{title}: {peaks or 'nothing known'}.",
    )


def _bars(
    title: str,
    x: str,
    y: str,
    edges: NDArray[np.floating] | NDArray[np.int_],
    values: NDArray[np.float64],
    top: float,
    y_ticks: tuple[tuple[float, str], ...] | None = None,
) -> Plot:
    low, high = float(edges[0]), float(edges[-1])
    path = ""
    for a, b, value in zip(edges[:-1], edges[1:], values, strict=True):
        if value > 0:
            x0, x1 = _x(float(a), low, high) + 0.5, _x(float(b), low, high) - 0.5
            path += f"M{x0:.1f} {_y(0, top):.1f}V{_y(float(value), top):.1f}H{x1:.1f}V{_y(0, top):.1f}Z"
    highest = int(values.argmax())
    summary = f"{title}: most between {edges[highest]:g} and {edges[highest + 1]:g}."
    ticks = _y_ticks(top) if y_ticks is None else y_ticks
    return Plot(title, x, y, (Series("", "bar", path),), _x_ticks(low, high), ticks, summary)


def _positives(exam: ExamFacts) -> int:
    return int((exam.labels[:, 0] == 1).sum())


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _BOTTOM - _TOP)


def _x_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    return tuple((_x(v, low, high), f"{v:g}") for v in _round_values(low, high, 7))


def _y_ticks(top: float) -> tuple[tuple[float, str], ...]:
    return tuple((_y(v, top), f"{v:g}") for v in _round_values(0, top, 4))


def _round_values(low: float, high: float, parts: int) -> list[float]:
    step = _step(high - low, parts)
    values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [round(float(v), 10) + 0.0 for v in values]


def _step(extent: float, parts: int) -> float:
    """Choose a round step that gives about as many parts as parts."""
    raw = max(extent, 1e-9) / parts
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999))

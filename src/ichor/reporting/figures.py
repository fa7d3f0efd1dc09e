"""One slice, ready to be shown: its windows, what is outlined on it, marks and a scale bar."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.preparing.windows import BONE, BRAIN, SUBDURAL, Window
from ichor.reporting.outline import outlines
from ichor.reporting.view import Marks, View
from ichor.reporting.words import heat_words, region_colour

__all__ = ["Outline", "Panel", "ScaleBar", "SliceFigure", "slice_figures"]

_SHOWN: tuple[tuple[str, Window], ...] = (("Brain", BRAIN), ("Subdural", SUBDURAL), ("Bone", BONE))
_BAR_MM = (50, 20, 10, 5)
_HEAT, _MOST_HEAT = (255, 122, 26), 0.75
"""Colour of the heat map, and how much of it covers the grey where it is warmest."""
_BAR_SHARE = 0.34
"""Of a picture's width, which the longest bar that fits may take."""


@dataclass(frozen=True)
class Outline:
    """A closed line around a part of a region.

    Attributes
    ----------
    region
        Number of the region, 1-based.
    colour
        ``#rrggbb`` of the region's label.
    points
        ``(k, 2)`` x and y in pixels of the picture.
    """

    region: int
    colour: str
    points: NDArray[np.float64]

    @property
    def path(self) -> str:
        """The line as an SVG path."""
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in self.points) + "Z"


@dataclass(frozen=True)
class Panel:
    """A slice in one window.

    Attributes
    ----------
    name
        Of the window; of a picture, ``As given``.
    caption
        Level and width in words.
    grey
        ``(rows, columns)`` uint8; of a heat map ``(rows, columns, 3)``.
    """

    name: str
    caption: str
    grey: NDArray[np.uint8]

    @property
    def data_uri(self) -> str:
        """The picture as PNG within a ``data:`` address."""
        buffer = io.BytesIO()
        Image.fromarray(self.grey).save(buffer, "PNG", compress_level=4)  # half the time of 6, hardly larger
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class ScaleBar:
    """A bar of a known length.

    Attributes
    ----------
    pixels
        Length in the picture.
    label
        Length in words.
    """

    pixels: float
    label: str


@dataclass(frozen=True)
class SliceFigure:
    """A slice to be shown.

    Attributes
    ----------
    index
        0-based.
    panels
        One a window.
    outlines
        The same on all panels.
    marks
        Orientation letters; None where orientation is not known.
    bar
        Scale; None where spacing is not known.
    """

    index: int
    panels: tuple[Panel, ...]
    outlines: tuple[Outline, ...]
    marks: Marks | None
    bar: ScaleBar | None

    @property
    def width(self) -> int:
        """Columns of each panel."""
        return int(self.panels[0].grey.shape[1])

    @property
    def height(self) -> int:
        """Rows of each panel."""
        return int(self.panels[0].grey.shape[0])


def slice_figures(
    findings: Findings, image: Exam | Picture, slices: list[int], *, side: int = 480, heat: bool = False
) -> list[SliceFigure]:
    """Prepare slices to be shown.

    Parameters
    ----------
    findings
        Give the regions and their mask.
    image
        What they were found on.
    slices
        Indices wanted, 0-based.
    side
        Pixels of each panel's longer side.
    heat
        Whether the heat map, where the findings carry one, is shown in a panel of its own.

    Returns
    -------
    list of SliceFigure
        In the order of ``slices``, all cut out alike.
    """
    if not slices:
        return []
    view = View.of(image, slices, side)
    bar = _bar(view)
    warmth = findings.heat if heat else None
    figures = []
    for index in slices:
        panels = _panels(image, view, index)
        if warmth is not None:
            panels = (*panels, _heat_panel(panels[0], view.picture(warmth[index]), heat_words(findings)))
        figures.append(SliceFigure(index, panels, _outlines(findings, view, index), view.marks, bar))
    return figures


def _bar(view: View) -> ScaleBar | None:
    if view.pixel_mm is None:
        return None
    room = _BAR_SHARE * view.size[1] * view.pixel_mm
    mm = next((mm for mm in _BAR_MM if mm <= room), _BAR_MM[-1])
    return ScaleBar(mm / view.pixel_mm, f"{mm // 10} cm" if mm % 10 == 0 else f"{mm} mm")


def _panels(image: Exam | Picture, view: View, index: int) -> tuple[Panel, ...]:
    if isinstance(image, Picture):
        grey = (np.clip(view.picture(image.grey), 0, 255) + 0.5).astype(np.uint8)
        return (Panel("As given", "the window is the picture's own", grey),)
    hu = view.picture(image.volume[index])
    return tuple(
        Panel(name, f"level {window.level:g}, width {window.width:g} HU", window.to_grey(hu))
        for name, window in _SHOWN
    )


def _heat_panel(base: Panel, warmth: NDArray[np.float32], words: tuple[str, str]) -> Panel:
    """Lay the heat map over a panel: the warmer, the less of the grey is seen."""
    share = _MOST_HEAT * np.clip(warmth / 255, 0, 1)[..., None]
    rgb = (1 - share) * base.grey[..., None] + share * np.array(_HEAT, np.float32)
    return Panel(*words, np.rint(rgb).astype(np.uint8))


def _outlines(findings: Findings, view: View, index: int) -> tuple[Outline, ...]:
    mask = findings.mask
    if mask is None:
        return ()
    found = []
    for number in np.unique(mask[index]):
        if number:
            colour = region_colour(findings.regions[number - 1])
            found += [
                Outline(int(number), colour, view.points(line)) for line in outlines(mask[index] == number)
            ]
    return tuple(found)

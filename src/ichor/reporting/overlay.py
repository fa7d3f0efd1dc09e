"""Overlay pictures: one PNG a suspicious slice, its windows side by side, regions outlined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.reporting.choice import suspicious_slices
from ichor.reporting.figures import SliceFigure, slice_figures
from ichor.reporting.words import probability

__all__ = ["draw_marks", "outline_sheet", "write_overlays"]

_SIDE = 512
_HEAD, _GAP = 30, 6
_LETTERS = (243, 220, 138)
_FINE = 3
"""Lines are drawn this many times finer, then brought down, so that they are smooth."""


def write_overlays(findings: Findings, image: Exam | Picture, folder: Path) -> list[Path]:
    """Write ``slice-NNN.png`` for every slice at or above the threshold or with a part of a region.

    Parameters
    ----------
    findings
        What to show.
    image
        What they were found on.
    folder
        Made where it does not exist. Overlays of an earlier run in it are removed, so that none is taken for
        one of this run.

    Returns
    -------
    list of pathlib.Path
        Numbers count from 1; empty where no slice is suspicious.
    """
    slices = suspicious_slices(findings)
    if folder.is_dir():
        for stale in folder.glob("slice-*.png"):
            stale.unlink()
    if not slices:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    draws = not any(w.code == "model_does_not_locate" for w in findings.warnings)
    any_p = {s.index: s.probabilities.any for s in findings.slices}
    paths = []
    for figure in slice_figures(findings, image, slices, side=_SIDE, heat=True):
        head = f"slice {figure.index + 1} of {findings.n_slices}" if isinstance(image, Exam) else "picture"
        p = any_p.get(figure.index)
        head += f"   any hemorrhage {probability(p)}   (ichor: research software, not a medical device)"
        head += "" if draws else "   no outline: this model says whether, not where"
        path = folder / f"slice-{figure.index + 1:03d}.png"
        _draw(figure, head).save(path)
        paths.append(path)
    return paths


def _draw(figure: SliceFigure, head: str) -> Image.Image:
    """Lay the panels side by side under a line of text."""
    width = len(figure.panels) * (figure.width + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _HEAD + figure.height))
    draw = ImageDraw.Draw(sheet)
    size = 15
    while size > 8 and draw.textlength(head, font=ImageFont.load_default(size)) > width - 16:
        size -= 1
    draw.text((8, 6), head, fill=(225, 228, 232), font=ImageFont.load_default(size))
    lines = outline_sheet(figure)
    for place, panel in enumerate(figure.panels):
        left = place * (figure.width + _GAP)
        sheet.paste(Image.fromarray(panel.grey), (left, _HEAD))
        if lines is not None:
            sheet.paste(lines, (left, _HEAD), lines)
        draw_marks(draw, figure, (left, _HEAD), f"{panel.name}: {panel.caption}")
    return sheet


def outline_sheet(figure: SliceFigure) -> Image.Image | None:
    """Draw the outlines on a transparent sheet of the panel's size; None where there is none."""
    if not figure.outlines:
        return None
    fine = Image.new("RGBA", (figure.width * _FINE, figure.height * _FINE))
    draw = ImageDraw.Draw(fine)
    closed = [(o.colour, np.concatenate([o.points, o.points[:1]]) * _FINE) for o in figure.outlines]
    for width, dark in ((4 * _FINE, True), (2 * _FINE - 1, False)):
        for colour, points in closed:
            fill = (0, 0, 0, 130) if dark else colour
            draw.line([tuple(xy) for xy in points.tolist()], fill=fill, width=width, joint="curve")
    return fine.resize((figure.width, figure.height), Image.Resampling.LANCZOS)


def draw_marks(draw: ImageDraw.ImageDraw, figure: SliceFigure, corner: tuple[int, int], caption: str) -> None:
    """Write orientation marks, the scale bar and the window's name onto one panel.

    Parameters
    ----------
    draw
        Of the sheet that holds the panel.
    figure
        What the panel shows.
    corner
        x and y of the panel's upper left corner on the sheet.
    caption
        Written in its lower left corner; empty for none.
    """
    font, small = ImageFont.load_default(18), ImageFont.load_default(12)
    w, h = figure.width, figure.height
    left, top = corner

    def text(
        x: float, y: float, words: str, anchor: str, size: ImageFont.FreeTypeFont | ImageFont.ImageFont
    ) -> None:
        draw.text(
            (left + x, top + y),
            words,
            fill=_LETTERS,
            font=size,
            anchor=anchor,
            stroke_width=1,
            stroke_fill=0,
        )

    if figure.marks:
        text(6, h / 2, figure.marks.left, "lm", font)
        text(w - 6, h / 2, figure.marks.right, "rm", font)
        text(w / 2, 6, figure.marks.top, "mt", font)
        text(w / 2, h - 6, figure.marks.bottom, "mb", font)
    text(6, h - 6, caption, "lb", small)
    if figure.bar:
        x1, x0, y = left + w - 12, left + w - 12 - figure.bar.pixels, top + h - 10
        draw.line([(x0, y - 6), (x0, y), (x1, y), (x1, y - 6)], fill=_LETTERS, width=2)
        text(w - 12 - figure.bar.pixels / 2, h - 16, figure.bar.label, "mb", small)

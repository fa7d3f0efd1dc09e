"""The page for viewers that show neither segmentation nor report: key slices, outlines, figures, limits.

Nothing of the patient stands on it: the viewer shows that beside every image.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from ichor.labels import LABELS
from ichor.notices import CAUTIONS
from ichor.reporting.choice import reported_slices
from ichor.reporting.figures import SliceFigure, slice_figures
from ichor.reporting.overlay import draw_marks, outline_sheet
from ichor.reporting.words import (
    number_ranges,
    probability,
    region_colour,
    region_subtype,
    untrusted_subtypes,
    verdict,
    volume,
)
from ichor.results.case import Case
from ichor.results.sentences import (
    LIMITS,
    NOTHING_ASSESSED,
    ascii_text,
    call,
    model_sentence,
    side_words,
)
from ichor.results.sides import region_sides

__all__ = ["key_slices", "page"]

_WIDTH, _HEIGHT = 1440, 1020
_HEAD, _MARGIN, _GAP, _CAPTION = 64, 14, 8, 20
_PANEL = 292
_ROWS, _WINDOWS = 3, 3
_MOST_REGIONS = 6
_GROUND, _TEXT, _FAINT, _LINE = (0, 0, 0), (226, 229, 233), (150, 157, 166), (70, 76, 84)
_WARM, _CAUTION = (242, 133, 92), (240, 196, 90)
_COLOUR_OF = {"suspected": _WARM, "undetermined": _CAUTION, "not_attempted": _CAUTION, "not_detected": _TEXT}


def key_slices(case: Case) -> list[int]:
    """Return the slices that the page shows, in the exam's order; none where nothing was assessed."""
    if not case.findings.assessable:
        return []
    return sorted(reported_slices(case.findings)[:_ROWS])


def page(case: Case, scale: int = 1) -> Image.Image:
    """Draw the page.

    Parameters
    ----------
    case
        Assessed or not.
    scale
        How many times larger than 1440 x 1020 pixels.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    sheet = Image.new("RGB", (_WIDTH * scale, _HEIGHT * scale), _GROUND)
    draw = ImageDraw.Draw(sheet)
    slices = key_slices(case)
    wide = _WINDOWS * (_PANEL + _GAP) if slices else 0
    _heading(_Column(draw, scale, _MARGIN, 12, _WIDTH - _MARGIN), case)
    if slices:
        figures = slice_figures(case.findings, case.exam, slices, side=_PANEL * scale)
        for row, figure in enumerate(figures):
            _row(sheet, case, figure, row, scale)
    column = _Column(draw, scale, _MARGIN + wide + (10 if slices else 0), _HEAD + 6, _WIDTH - _MARGIN)
    if case.findings.assessable:
        _figures(column, case)
        _regions(column, case)
    _notices(column, case)
    _limits(_Column(draw, scale, column.left, _HEIGHT - 150, column.right), case)
    return sheet


@dataclass
class _Column:
    """A column of text that is filled from the top; measures are those of the page at scale 1."""

    draw: ImageDraw.ImageDraw
    scale: int
    left: int
    top: int
    right: int
    bottom: int = _HEIGHT - 160

    def font(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(size * self.scale)

    def put(
        self, x: float, text: str, size: int, fill: tuple[int, int, int] | str = _TEXT, anchor: str = "la"
    ) -> None:
        """Write at the present height, without moving on."""
        place = (x * self.scale, self.top * self.scale)
        self.draw.text(place, text, fill=fill, font=self.font(size), anchor=anchor)

    def paragraph(self, text: str, size: int = 14, fill: tuple[int, int, int] = _TEXT) -> bool:
        """Write a text in as many lines as it takes, and move on; False where there is no room for it."""
        lines = self._wrapped(text, size)
        height = round(size * 1.35)
        if self.top + height * len(lines) > self.bottom:
            return False
        for line in lines:
            self.put(self.left, line, size, fill)
            self.top += height
        return True

    def rule(self) -> None:
        """Draw a thin line, and move on."""
        self.top += 6
        y = self.top * self.scale
        self.draw.line(
            [(self.left * self.scale, y), (self.right * self.scale, y)], fill=_LINE, width=self.scale
        )
        self.top += 8

    def _wrapped(self, text: str, size: int) -> list[str]:
        font, room = self.font(size), (self.right - self.left) * self.scale
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.draw.textlength(longer, font=font) > room:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines


def _heading(column: _Column, case: Case) -> None:
    found = verdict(case.findings)
    headline = found.headline + (", uncertain" if case.findings.uncertain else "")
    column.put(column.left, ascii_text(headline).upper(), 28, _COLOUR_OF[call(case)])
    column.put(column.right, "ichor: research software, not a medical device", 15, _FAINT, "ra")
    column.top += 24
    n = case.findings.n_slices
    if n:
        column.put(column.right, f"{n} slices, counted from the base of the skull", 13, _FAINT, "ra")
    y = _HEAD * column.scale
    column.draw.line([(0, y), (_WIDTH * column.scale, y)], fill=_LINE, width=column.scale)


def _row(sheet: Image.Image, case: Case, figure: SliceFigure, row: int, scale: int) -> None:
    """Draw one slice in its windows, with its number above."""
    draw = ImageDraw.Draw(sheet)
    top = (_HEAD + 4 + row * (_PANEL + _CAPTION + 4)) * scale
    p = next(s.probabilities.any for s in case.findings.slices if s.index == figure.index)
    numbers = case.exam.source.instance_numbers
    image = f" (image {numbers[figure.index]})" if numbers and numbers[figure.index] is not None else ""
    text = f"slice {figure.index + 1} of {case.findings.n_slices}{image}, p {probability(p)}"
    font = ImageFont.load_default(14 * scale)
    draw.text((_MARGIN * scale, top), text, fill=_TEXT, font=font)
    lines = outline_sheet(figure)
    for place, panel in enumerate(figure.panels):
        cell = (_MARGIN + place * (_PANEL + _GAP)) * scale
        corner = (
            cell + (_PANEL * scale - figure.width) // 2,
            top + _CAPTION * scale + (_PANEL * scale - figure.height) // 2,
        )
        sheet.paste(Image.fromarray(panel.grey), corner)
        if lines is not None:
            sheet.paste(lines, corner, lines)
        draw_marks(draw, figure, corner, "")
        words = f"{panel.name}, {panel.caption}" if place else panel.name
        draw.text((cell + _PANEL * scale, top), words, fill=_FAINT, font=font, anchor="ra")


def _figures(column: _Column, case: Case) -> None:
    """Write the verdict's sentence and a line for each label: its probability, its threshold, and a bar."""
    findings = case.findings
    column.paragraph(ascii_text(verdict(findings).sentence))
    if findings.uncertain:
        column.paragraph(ascii_text(findings.uncertainty or ""), fill=_CAUTION)
    column.rule()
    left, right = column.left, column.right
    column.put(right, "probability, threshold", 12, _FAINT, "ra")
    column.put(left, "whole exam", 12, _FAINT)
    column.top += 18
    for label in LABELS:
        p, threshold = getattr(findings.probabilities, label.name), getattr(findings.thresholds, label.name)
        doubted = case.card is not None and label.name in case.card.untrusted_labels
        above = bool(getattr(findings.positive, label.name)) and not doubted
        name = label.display + (" (not to be relied on)" if doubted else "")
        column.put(left, name, 15, _TEXT if above else _FAINT)
        column.put(right - 60, probability(p), 15, _TEXT if above else _FAINT, "ra")
        column.put(right, probability(threshold), 13, _FAINT, "ra")
        column.top += 20
        _bar(column, (left, right), _FAINT if doubted else label.colour, p, threshold)
        column.top += 9
    column.rule()


def _bar(
    column: _Column,
    ends: tuple[int, int],
    colour: str | tuple[int, int, int],
    p: float | None,
    threshold: float | None,
) -> None:
    scale, y = column.scale, column.top * column.scale
    x0, x1 = (x * scale for x in ends)
    column.draw.rectangle([x0, y, x1, y + 4 * scale], fill=_LINE)
    if p is not None:
        column.draw.rectangle([x0, y, x0 + (x1 - x0) * p, y + 4 * scale], fill=colour)
    if threshold is not None:
        at = x0 + (x1 - x0) * threshold
        column.draw.rectangle([at, y - 2 * scale, at + scale, y + 6 * scale], fill=_TEXT)


def _regions(column: _Column, case: Case) -> None:
    findings = case.findings
    if not findings.regions:
        column.paragraph("No region was outlined.", fill=_FAINT)
        column.rule()
        return
    sides = region_sides(case.exam, case.mask, len(findings.regions))
    total = f", {volume(findings.volume_ml)} in all" if findings.volume_ml is not None else ""
    n = len(findings.regions)
    column.paragraph(f"{n} outlined {'region' if n == 1 else 'regions'}{total}", 15)
    for number, (region, side) in enumerate(zip(findings.regions, sides, strict=True), start=1):
        if number > _MOST_REGIONS:
            column.paragraph(f"and {n - _MOST_REGIONS} more, in the structured report", 13, _FAINT)
            break
        parts = [side_words(side), volume(region.volume_ml) if region.volume_ml is not None else ""]
        parts.append(f"slices {number_ranges(region.slices)}")
        text = f"{number}  {region_subtype(region, untrusted_subtypes(findings))}; {', '.join(p for p in parts if p)}"
        square = (column.left * column.scale, (column.top + 4) * column.scale)
        side_px = 9 * column.scale
        column.draw.rectangle([*square, square[0] + side_px, square[1] + side_px], fill=region_colour(region))
        column.left += 16
        column.paragraph(ascii_text(text), 13)
        column.left -= 16
    column.rule()


def _notices(column: _Column, case: Case) -> None:
    """Write what was noticed of the input, what puts the result in doubt first; of a refusal, its reason."""
    if not case.findings.assessable:
        column.paragraph(ascii_text(verdict(case.findings).sentence), 18)
        column.paragraph(NOTHING_ASSESSED, 18, _CAUTION)
        return
    shown = sorted(case.notices, key=lambda w: w.code not in CAUTIONS)
    for k, warning in enumerate(shown):
        fill = _CAUTION if warning.code in CAUTIONS else _FAINT
        if not column.paragraph(ascii_text(warning.message), 13, fill):
            column.bottom += 20
            column.paragraph(f"and {len(shown) - k} more notices, in the structured report", 13, _FAINT)
            break


def _limits(column: _Column, case: Case) -> None:
    column.bottom = _HEIGHT
    column.rule()
    for sentence in LIMITS if case.findings.assessable else LIMITS[:1]:
        column.paragraph(sentence, 13)
    column.paragraph(model_sentence(case), 12, _FAINT)

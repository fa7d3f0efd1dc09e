"""Findings in words and figures, the same on the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ichor.detecting.manifest import Unit, operating_points_of, thresholds_of
from ichor.findings import Findings, FindingsWarning, Region
from ichor.labels import LABELS, SUBTYPES, Label
from ichor.notices import NOTICES

if TYPE_CHECKING:
    from ichor.detecting.bundle import BundleCard
    from ichor.detecting.manifest import OperatingPoint

__all__ = [
    "NOT_DETERMINED",
    "UNTRUSTED",
    "LikelySubtype",
    "Verdict",
    "heat_words",
    "likely_subtypes",
    "limit",
    "names_subtype",
    "nothing_outlined",
    "number_ranges",
    "printable",
    "probability",
    "refusals",
    "region_colour",
    "region_subtype",
    "subtype_origin",
    "subtype_words",
    "threshold_origin",
    "untrusted_subtypes",
    "verdict",
    "volume",
]

Kind = Literal["positive", "negative", "uncalled", "refused"]
SUBTYPE_OF = {label.name: label for label in SUBTYPES}
_NAMED = 0.7
"""Probability from which a region's subtype is named; below, a name would be taken for more than it is."""
NOT_DETERMINED = "type not determined"
"""Where no subtype reaches its threshold."""
UNTRUSTED = "not to be relied on"
"""Of a subtype that the model was measured on too few patients with."""
_COLOURS = {label.name: label.colour for label in LABELS}


@dataclass(frozen=True)
class Verdict:
    """What is said first.

    Attributes
    ----------
    kind
        Which of the four it is.
    headline
        A few words.
    sentence
        The reason, with the figures.
    """

    kind: Kind
    headline: str
    sentence: str


def verdict(findings: Findings) -> Verdict:
    """Say what findings come to: suspected, not suspected, scored but not called, or not assessed and why."""
    p, threshold = findings.probabilities.any, findings.thresholds.any
    if not findings.assessable or p is None:
        reasons = " ".join(w.message for w in refusals(findings)) or "No reason was recorded."
        return Verdict("refused", "Not assessed", reasons)
    what = "exam" if findings.kind == "exam" else "picture"
    if threshold is None:
        return Verdict(
            "uncalled",
            "Scored, not called",
            f"The model scores hemorrhage on this {what} {probability(p)}. The score is not calibrated and has no "
            "threshold: neither hemorrhage nor its absence is called.",
        )
    found, bound = probability(p, against=threshold), limit(threshold, p)
    if findings.positive.any:
        return Verdict(
            "positive",
            "Hemorrhage suspected",
            f"The probability of hemorrhage on this {what} is {found}; it is suspected from {bound} upwards.",
        )
    return Verdict(
        "negative",
        "No hemorrhage suspected",
        f"The probability of hemorrhage on this {what} is {found}, below the threshold of {bound}. "
        "This does not rule hemorrhage out.",
    )


def threshold_origin(findings: Findings, card: BundleCard | None) -> str:
    """Say where the threshold of the verdict comes from, and what it costs; empty where that is not known."""
    used = findings.thresholds.any
    if used is None or card is None:
        return ""
    unit: Unit = "slice" if findings.n_slices == 1 else "exam"
    if findings.kind == "picture":
        unit = "picture"
    own = thresholds_of(card, unit).get("any")
    if own is None:
        return ""
    if abs(used - own.probability) > 1e-6:
        for point in operating_points_of(card, unit):
            if abs(used - point.probability) < 1e-6:
                return _of_point(point, unit)
        return f"This threshold was set for this run; the model's own is {probability(own.probability)}."
    text = (
        f"The threshold was chosen for {own.chosen_for}."
        if own.chosen_for
        else "The threshold is the model's own."
    )
    figures = [
        f"{name} {value:.0%}"
        for name, value in (("sensitivity", own.sensitivity), ("specificity", own.specificity))
        if value is not None and math.isfinite(value)
    ]
    if not figures:
        return text
    # All points were measured on the exams that the threshold was chosen on.
    n = next((_counted(point, unit) for point in operating_points_of(card, unit)), "")
    return f"{text} It gave {' and '.join(figures)} where it was chosen{n and f', on {n}'}."


def _counted(point: OperatingPoint, unit: Unit) -> str:
    """Say on how many exams, slices or pictures a point was measured."""
    return f"{point.sensitivity.n} {unit}s with hemorrhage and {point.specificity.n} without"


def _of_point(point: OperatingPoint, unit: Unit) -> str:
    """Say what an operating point gave where its threshold was chosen on other exams."""
    figures = [
        f"{name} {m.value:.0%} of {m.n} (95 % interval {m.low:.0%} to {m.high:.0%})"
        for name, m in (("sensitivity", point.sensitivity), ("specificity", point.specificity))
        if m.value is not None and m.low is not None and m.high is not None
    ]
    text = f"The threshold is the model's operating point for {point.aim:.0%} sensitivity."
    return f"{text} Chosen so on other {unit}s, it gave {' and '.join(figures)}." if figures else text


def nothing_outlined(findings: Findings) -> str:
    """Say why nothing is outlined although hemorrhage is suspected; empty where something is, or it is not."""
    if not findings.positive.any or findings.regions:
        return ""
    messages = {w.code: w.message for w in findings.warnings}
    if "model_does_not_locate" in messages:
        return f"{messages['model_does_not_locate']} It draws no outlines, gives no volume and has no mask."
    return messages.get("nothing_outlined", "Nothing is outlined.")


def heat_words(findings: Findings) -> tuple[str, str]:
    """Name the heat map of findings, and say what it shows: Grad-CAM of a model that draws no map, else its map."""
    if any(w.code == "grad_cam" for w in findings.warnings):
        return "Grad-CAM", "not an outline: which coarse parts of the slice spoke for a hemorrhage"
    return "Heat map", "not an outline: where the network's map is highest"


def refusals(findings: Findings) -> list[FindingsWarning]:
    """Return the warnings for which an input was refused; of a refused input without any, all of them."""
    if findings.assessable:
        return []
    refused = [w for w in findings.warnings if w.code in NOTICES and NOTICES[w.code].decision == "refuse"]
    return refused or list(findings.warnings)


@dataclass(frozen=True)
class LikelySubtype:
    """A subtype that is named, its probability, and whether the model was measured on enough patients with it."""

    label: Label
    probability: float
    trusted: bool

    @property
    def words(self) -> str:
        """The name with its probability."""
        return f"{self.label.display.lower()} {probability(self.probability)}"


def likely_subtypes(findings: Findings) -> list[LikelySubtype]:
    """Return the one or two subtypes to name, most probable first; none where the type is not determined."""
    found = [
        LikelySubtype(SUBTYPE_OF[s.label], getattr(findings.probabilities, s.label) or 0.0, s.trusted)
        for s in findings.subtypes
        if s.likely
    ]
    return sorted(found, key=lambda one: -one.probability)


def subtype_words(findings: Findings) -> str:
    """Name the likely subtypes in a line, untrusted ones marked; or say that the type is not determined."""
    named = [one.words + ("" if one.trusted else f" ({UNTRUSTED})") for one in likely_subtypes(findings)]
    return ", ".join(named) or NOT_DETERMINED


def untrusted_subtypes(findings: Findings) -> frozenset[str]:
    """Return the names of subtypes that the model was measured on too few patients with."""
    return frozenset(s.label for s in findings.subtypes if not s.trusted)


def subtype_origin(card: BundleCard | None) -> str:
    """Say from when on a subtype of an exam is named, and what that gave on other exams; empty where not known."""
    points = card.operating_points.subtypes if card is not None else {}
    shown = []
    for name, point in points.items():
        measured = (point.sensitivity, point.specificity, point.among_bleeds)
        rates = [f"{m.value:.0%} of {m.n}" for m in measured if m.value is not None]
        if len(rates) == len(measured):
            shown.append(f"{SUBTYPE_OF[name].display.lower()} {', '.join(rates)}")
    if not shown:
        return ""
    aim = next(iter(points.values())).aim
    return (
        f"A subtype is named from a probability on that {aim:.0%} of the exams without it did not reach. "
        "On other exams, thresholds chosen so named this share of those with it, and left out this share of those "
        f"without it, and of those with another bleed: {'; '.join(shown)}."
    )


def names_subtype(region: Region) -> bool:
    """Tell whether a region's subtype is probable enough to be named."""
    return region.label in SUBTYPE_OF and max(region.probabilities.values(), default=1.0) >= _NAMED


def region_subtype(region: Region, untrusted: Collection[str] = ()) -> str:
    """Name a region's subtype with its probability, marked where it is untrusted; or say that it is not determined."""
    if not names_subtype(region):
        return NOT_DETERMINED.capitalize()
    label, p = SUBTYPE_OF[region.label], region.probabilities.get(region.label)
    text = label.display if p is None else f"{label.display} ({label.abbreviation}) {probability(p)}"
    return f"{text}, {UNTRUSTED}" if label.name in untrusted else text


def region_colour(region: Region) -> str:
    """Return the colour to draw a region in: that of its subtype where it is named, else that of any hemorrhage."""
    return _COLOURS[region.label if names_subtype(region) else LABELS[0].name]


def probability(value: float | None, *, against: float | None = None) -> str:
    """Write a probability with two decimals, with more where only they tell it from ``against``."""
    if value is None:
        return "-"
    if against is not None and against != value:
        for decimals in (2, 3, 4):
            if f"{value:.{decimals}f}" != f"{against:.{decimals}f}":
                return _bounded(value, decimals)
    return _bounded(value, 2)


def limit(threshold: float | None, p: float) -> str:
    """Write a threshold with as many decimals as tell it from a probability: it is a number, and never ``>0.99``."""
    text = probability(threshold, against=p)
    return f"{threshold:.4g}" if threshold is not None and text[0] in "<>" else text


def volume(ml: float | None) -> str:
    """Write a volume in millilitres."""
    if ml is None:
        return "-"
    return "under 0.1 mL" if 0 < ml < 0.05 else f"{ml:.1f} mL"


def number_ranges(indices: Iterable[int]) -> str:
    """Write slice indices as a person counts them, from 1: ``[3, 4, 5, 9]`` is ``4-6, 10``."""
    spans: list[list[int]] = []
    for number in sorted({i + 1 for i in indices}):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def printable(text: str) -> str:
    """Replace line breaks and terminal control characters (a file may be named with them) by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _bounded(value: float, decimals: int) -> str:
    """Never round an uncertain thing to certainty."""
    smallest = 10.0**-decimals
    if value < smallest / 2:
        return f"<{smallest:.{decimals}f}"
    if value > 1 - smallest / 2:
        return f">{1 - smallest:.{decimals}f}"
    return f"{value:.{decimals}f}"

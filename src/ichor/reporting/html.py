"""``report.html``: everything about one input on one page that needs nothing else."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import ichor
from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.labels import LABELS, Label
from ichor.notices import NOTICES
from ichor.reporting.chart import strip_chart
from ichor.reporting.choice import reported_slices
from ichor.reporting.figures import SliceFigure, slice_figures
from ichor.reporting.words import (
    NOT_DETERMINED,
    UNTRUSTED,
    heat_words,
    likely_subtypes,
    limit,
    nothing_outlined,
    number_ranges,
    printable,
    probability,
    refusals,
    region_colour,
    region_subtype,
    subtype_origin,
    threshold_origin,
    untrusted_subtypes,
    verdict,
    volume,
)

if TYPE_CHECKING:
    from ichor.detecting.bundle import BundleCard

__all__ = ["write_html"]

_DECISIONS = {"go_on": "noted", "leave_out": "left out", "refuse": "not assessed"}


@dataclass(frozen=True)
class _Bar:
    """One label's probability against its threshold."""

    label: Label
    value: float
    text: str
    threshold: float | None
    threshold_text: str
    positive: bool
    caution: str

    @property
    def state(self) -> str:
        """How the probability stands to its threshold."""
        if self.threshold is None:
            return "no threshold"
        if self.threshold >= 1:
            return "not called by this model"
        if self.value < self.threshold:
            return f"below {self.threshold_text}"
        # A subtype is not called where hemorrhage itself is not.
        return f"at or above {self.threshold_text}" + ("" if self.positive else ", not called")


@dataclass(frozen=True)
class _Shown:
    """A slice's figure and what is written under it."""

    figure: SliceFigure
    number: int
    facts: str
    alt: str


def write_html(
    findings: Findings, image: Exam | Picture | None, path: Path, card: BundleCard | None = None
) -> Path:
    """Write the report: one file, no script, no request to anywhere.

    Parameters
    ----------
    findings
        What to report, also of a refused input.
    image
        What they were found on; None where it could not be read.
    path
        Of the file; replaced where it exists.
    card
        Of the bundle that spoke; without it, the page names the model but not how it was measured.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    environment = _environment()
    path.write_text(
        environment.get_template("report.html.j2").render(_context(findings, image, card)), "utf-8"
    )
    return path


@functools.cache
def _environment() -> Environment:
    """Return the compiled templates' home; compiled once for all inputs of a run."""
    environment = Environment(
        loader=PackageLoader("ichor.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        probability=probability,
        volume=volume,
        number_ranges=number_ranges,
        region_subtype=region_subtype,
        region_colour=region_colour,
    )
    return environment


def _context(findings: Findings, image: Exam | Picture | None, card: BundleCard | None) -> dict[str, Any]:
    """Collect what the template shows."""
    return {
        "findings": findings,
        "name": printable(findings.input),
        "verdict": verdict(findings),
        "threshold_origin": threshold_origin(findings, card),
        "names_type": bool(findings.positive.any and findings.subtypes),
        "likely": likely_subtypes(findings),
        "not_determined": NOT_DETERMINED,
        "untrusted_words": UNTRUSTED,
        "subtype_origin": subtype_origin(card) if findings.n_slices > 1 else "",
        "untrusted": untrusted_subtypes(findings),
        "bars": _bars(findings, card),
        "chart": strip_chart(findings),
        "shown": _shown(findings, image),
        "nothing_outlined": nothing_outlined(findings),
        "heat": heat_words(findings) if findings.heat is not None else None,
        "is_picture": isinstance(image, Picture),
        "largest_first": _regions(findings),
        "warnings": _warnings(findings),
        "facts": _facts(findings, image),
        "card": card,
        "version": ichor.__version__,
    }


def _bars(findings: Findings, card: BundleCard | None) -> list[_Bar]:
    bars = []
    reasons = dict(card.untrusted_labels) if card else {}
    reasons |= {s.label: s.reason for s in findings.subtypes if s.reason}
    for label in LABELS:
        value = getattr(findings.probabilities, label.name)
        if value is None:
            continue
        threshold = getattr(findings.thresholds, label.name)
        bars.append(
            _Bar(
                label,
                value,
                probability(value, against=threshold),
                threshold,
                limit(threshold, value),
                bool(getattr(findings.positive, label.name)),
                reasons.get(label.name, ""),
            )
        )
    return bars


def _shown(findings: Findings, image: Exam | Picture | None) -> list[_Shown]:
    if image is None:
        return []
    chosen = reported_slices(findings)
    if not chosen:  # refused: show what was refused
        chosen = [image.n_slices // 2]
    probabilities = {s.index: s for s in findings.slices}
    shown = []
    for figure in slice_figures(findings, image, chosen, heat=True):
        facts = []
        s = probabilities.get(figure.index)
        if s is not None:
            if s.position_mm is not None:
                facts.append(f"position {s.position_mm:.1f} mm")
            facts.append(f"any hemorrhage {probability(s.probabilities.any)}")
        regions = sorted({o.region for o in figure.outlines})
        if regions:
            facts.append(f"region{'s' if len(regions) > 1 else ''} {', '.join(map(str, regions))} outlined")
        elif findings.regions:
            facts.append("no outlined region on this slice")
        outlined = f"with region {', '.join(map(str, regions))} outlined" if regions else "without an outline"
        alt = f"slice {figure.index + 1} of {image.n_slices}, {outlined}"
        shown.append(_Shown(figure, figure.index + 1, " · ".join(facts), alt))
    return shown


def _regions(findings: Findings) -> list[tuple[int, Any]]:
    numbered = list(enumerate(findings.regions, start=1))
    return sorted(numbered, key=lambda pair: -(pair[1].volume_ml or 0.0))


def _warnings(findings: Findings) -> list[dict[str, str]]:
    """Collect what was noticed, the reasons of a refusal first."""
    first = refusals(findings)
    return [
        {
            "code": w.code,
            "message": printable(w.message),
            "decision": _DECISIONS[NOTICES[w.code].decision] if w.code in NOTICES else "noted",
            "slices": number_ranges(w.slices) if w.slices else "",
        }
        for w in [*first, *(w for w in findings.warnings if w not in first)]
    ]


def _facts(findings: Findings, image: Exam | Picture | None) -> list[tuple[str, str]]:
    """Technical facts of the acquisition; ``source.details`` holds nothing of a patient."""
    facts: list[tuple[str, str]] = []
    if isinstance(image, Exam):
        geometry = image.geometry
        rows, columns = image.volume.shape[1:]
        facts.append(("Slices", f"{image.n_slices} of {rows} x {columns} pixels"))
        if geometry.spacing_known:
            facts.append(("Pixel spacing", f"{geometry.spacing[0]:.3f} x {geometry.spacing[1]:.3f} mm"))
        else:
            facts.append(("Pixel spacing", "not known"))
        if geometry.positions_known and image.n_slices > 1:
            gaps = geometry.gaps
            step = f"{geometry.slice_step:.2f} mm"
            if gaps.max() - gaps.min() > 0.1:
                step += f" (from {gaps.min():.2f} to {gaps.max():.2f} mm)"
            facts.append(("Distance between slices", step))
            facts.append(("Covered", f"{geometry.distances[-1] - geometry.distances[0]:.0f} mm"))
            facts.append(("Gantry tilt", f"{geometry.tilt_degrees:.1f}°"))
    elif isinstance(image, Picture):
        facts.append(("Picture", f"{image.file_shape[0]} x {image.file_shape[1]} pixels"))
        facts.append(("Slice within it", f"{image.box[2]} x {image.box[3]} pixels"))
    if image is not None:
        facts += [
            (_words(key), printable(str(value))) for key, value in image.source.details.items() if value
        ]
    for key, uid in (("Study", findings.study_uid), ("Series", findings.series_uid)):
        if uid:
            facts.append((f"{key} UID", uid))
    return facts


def _words(key: str) -> str:
    """``convolution_kernel`` and ``convolution kernel`` to ``Convolution kernel``; ``kVp`` stays."""
    text = key.replace("_", " ").strip()
    return text if any(c.isupper() for c in text) else text[:1].upper() + text[1:]

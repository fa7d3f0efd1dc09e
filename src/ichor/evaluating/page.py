"""One page and one JSON of an evaluation: figures, curves, confusion, calibration, how training went."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ichor.evaluating.calibration import accurate_threshold, called_across_folds
from ichor.evaluating.compare import Difference
from ichor.evaluating.failures import Failure
from ichor.evaluating.metrics import confusion
from ichor.evaluating.out_of_fold import Figure, Level, levels
from ichor.evaluating.predictions import OutOfFold
from ichor.labels import LABEL_NAMES

__all__ = ["Evaluation", "write_page"]

_INK = "#123456"
"""Stands for the page's own colour of text, so that drawings fit the dark page and the light one."""
_COLOURS = ("#3b82f6", "#ef4444", "#f59e0b", "#10b981", "#a855f7", "#ec4899")
_BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """Everything measured of one model.

    Attributes
    ----------
    name, dataset
        Of the model and the data.
    run
        Its predictions.
    figures
        Tables by title.
    differences
        Against another model.
    against
        That model's name.
    folder
        Of the run, whose ``log.csv`` files tell how training went; None for a table of predictions.
    failures
        Exams that it calls wrongly, where that was asked for.
    """

    name: str
    dataset: str
    run: OutOfFold
    figures: dict[str, list[Figure]]
    differences: list[Difference] = field(default_factory=list)
    against: str = ""
    folder: Path | None = None
    failures: list[Failure] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return figures, differences and confusion tables as plain values; NaN becomes null."""
        return {
            "model": self.name,
            "dataset": self.dataset,
            "figures": {title: [_plain(asdict(f)) for f in rows] for title, rows in self.figures.items()},
            "against": self.against or None,
            "differences": [_plain(asdict(d)) for d in self.differences],
            "confusion": {name: table.tolist() for name, table in self.confusions().items()},
        }

    def confusions(self) -> dict[str, np.ndarray]:
        """Confusion tables of ``any`` by level, thresholds chosen on the other folds for accuracy."""
        out = {}
        for level in levels(self.run):
            called = called_across_folds(
                self.run, "exam" if level.name == "exam" else "slice", accurate_threshold
            )
            known = level.known(0)
            out[level.name] = confusion(level.labels[known, 0], called[known])
        return out


def write_page(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write ``evaluation.html``, which needs nothing beside it, and ``evaluation.json``.

    Returns
    -------
    tuple of pathlib.Path
        The page and the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "evaluation.json"
    data.write_text(json.dumps(evaluation.as_json(), indent=1, allow_nan=False) + "\n")
    environment = Environment(
        loader=PackageLoader("ichor.evaluating"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    page = folder / "evaluation.html"
    page.write_text(
        environment.get_template("evaluation.html.j2").render(
            e=evaluation,
            drawings=_drawings(evaluation),
            confusions=evaluation.confusions(),
            number=_number,
            headline=_headline(evaluation),
        ),
        encoding="utf-8",
    )
    return page, data


def _headline(evaluation: Evaluation) -> list[Figure]:
    """Return what a reader looks for first: areas of ``any``, accuracy, log loss; the first of each name."""
    found: dict[str, Figure] = {}
    for rows in evaluation.figures.values():
        for figure in rows:
            found.setdefault(figure.name, figure)
    ends = ("AUC, any", "accuracy, any", "log loss", "log loss, any")
    return [f for name, f in found.items() if name.partition(" ")[2].removeprefix("weighted ") in ends]


def _number(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.3f}"


def _drawings(evaluation: Evaluation) -> dict[str, str]:
    """Return inline SVG by caption."""
    from matplotlib.figure import Figure as Drawing

    out = {}
    for level in levels(evaluation.run):
        drawing = Drawing(figsize=(10.5, 3.4), layout="constrained")
        roc, pr, reliability = drawing.subplots(1, 3)
        _draw_roc(roc, level)
        _draw_pr(pr, level)
        _draw_reliability(reliability, level)
        out[f"{level.name.capitalize()}s: ROC and precision-recall by subtype, reliability of 'any'"] = _svg(
            drawing
        )
    logs = _logs(evaluation.folder)
    if logs:
        drawing = Drawing(figsize=(10.5, 3.2), layout="constrained")
        _draw_logs(drawing.subplots(1, 2), logs)
        out["Loss and accuracy of 'any' while training, by fold (dashed: held-out slices)"] = _svg(drawing)
    return out


def _draw_roc(axes: Any, level: Level) -> None:
    from sklearn.metrics import roc_curve

    for j, name in enumerate(LABEL_NAMES):
        if level.has_both(j):
            known = level.known(j)
            fpr, tpr, _ = roc_curve(level.labels[known, j], level.logits[known, j])
            axes.plot(fpr, tpr, color=_COLOURS[j], lw=2 if not j else 1, label=name)
    axes.plot([0, 1], [0, 1], color=_INK, lw=0.5, ls=":")
    _dress(axes, "1 - specificity", "sensitivity")
    axes.legend(fontsize=7, frameon=False, labelcolor=_INK, loc="lower right")


def _draw_pr(axes: Any, level: Level) -> None:
    from sklearn.metrics import precision_recall_curve

    for j in range(len(LABEL_NAMES)):
        if level.has_both(j):
            known = level.known(j)
            precision, recall, _ = precision_recall_curve(level.labels[known, j], level.logits[known, j])
            axes.plot(recall, precision, color=_COLOURS[j], lw=2 if not j else 1)
    _dress(axes, "sensitivity (recall)", "precision")


def _draw_reliability(axes: Any, level: Level) -> None:
    known = level.known(0)
    labels, p = level.labels[known, 0], level.probabilities[known, 0]
    parts = [b for b in np.array_split(np.argsort(p, kind="stable"), min(_BINS, len(p))) if len(b)]
    axes.plot([0, 1], [0, 1], color=_INK, lw=0.5, ls=":")
    axes.plot([p[b].mean() for b in parts], [labels[b].mean() for b in parts], "o-", color=_COLOURS[0], ms=4)
    _dress(axes, "probability", "share that bled")


def _draw_logs(axes: Any, logs: dict[str, list[dict[str, str]]]) -> None:
    for axis, (column, title) in zip(axes, (("loss", "loss"), ("accuracy", "accuracy")), strict=True):
        for k, (part, rows) in enumerate(logs.items()):
            for side, style in (("train", "-"), ("val", "--")):
                points = [
                    (float(r["epoch"]), float(r[f"{side}_{column}"]))
                    for r in rows
                    if r.get(f"{side}_{column}")
                ]
                if points:
                    axis.plot(*zip(*points, strict=True), style, color=_COLOURS[k % 6], lw=1, label=part)
        _dress(axis, "epoch", title, unit=False)


def _dress(axes: Any, x: str, y: str, *, unit: bool = True) -> None:
    axes.set_xlabel(x, color=_INK, fontsize=8)
    axes.set_ylabel(y, color=_INK, fontsize=8)
    axes.tick_params(colors=_INK, labelsize=7)
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_color(_INK)
        spine.set_visible(side in ("left", "bottom"))
    if unit:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)


def _svg(drawing: Any) -> str:
    import matplotlib

    drawing.patch.set_alpha(0)
    stream = io.StringIO()
    # No date, no remarks, fixed ids: the same figures give the same page, and it names no other place.
    with matplotlib.rc_context({"svg.hashsalt": "ichor", "svg.fonttype": "none"}):
        drawing.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _logs(folder: Path | None) -> dict[str, list[dict[str, str]]]:
    out = {}
    for path in sorted(Path(folder).glob("fold-*/log.csv")) if folder else []:
        with path.open(newline="") as file:
            rows: Sequence[dict[str, str]] = list(csv.DictReader(file))
        if rows and "train_loss" in rows[0]:
            out[path.parent.name] = list(rows)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

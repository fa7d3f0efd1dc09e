"""One page that needs nothing beside it, and one JSON."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

import ichor
from ichor.exploring.drawings import brain_plot, histogram, hu_plot, skyline, window_plots
from ichor.exploring.figures import figures_of
from ichor.exploring.remarks import remarks
from ichor.exploring.summary import Exploration, measures
from ichor.exploring.survey import Survey
from ichor.labels import LABELS, SUBTYPES

__all__ = ["write_report"]

_A_CLASS = 12
_MOST_PAIRS = 40
_MOST_COLUMNS = 120
_MOST_SIZES = 6


def write_report(exploration: Exploration, path: Path) -> tuple[Path, Path]:
    """Write the page, and a JSON of the same name beside it.

    Returns
    -------
    tuple of pathlib.Path
        The page and the JSON.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = figures_of(exploration)
    data = path.with_suffix(".json")
    data.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n")
    environment = Environment(
        loader=PackageLoader("ichor.exploring"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    found, name_of = exploration.survey, exploration.name_of
    plots = [brain_plot(found), *([] if exploration.pictures else [hu_plot(found)])]
    slices = np.array([len(x.labels) for x in found.exams], np.float64)
    text = environment.get_template("exploration.html.j2").render(
        e=exploration,
        f=figures,
        labels=LABELS,
        subtypes=SUBTYPES,
        remarks=remarks(exploration),
        plots=plots,
        windows=window_plots(found, exploration.windows),
        sizes=_sizes(figures["rows_and_columns"], exploration.survey),
        skyline=skyline(found.exams, _MOST_COLUMNS, {x.patient: name_of(x.patient) for x in found.exams}),
        most_columns=_MOST_COLUMNS,
        slices=histogram("Slices per exam", "slices", slices) if not exploration.pictures else None,
        measured=_measured(exploration),
        montages=_montages(exploration),
        pairs=_pairs(exploration),
        version=ichor.__version__,
        percent=_percent,
    )
    path.write_text(text, encoding="utf-8")
    return path, data


def _sizes(shapes: dict[str, int], survey: Survey) -> str:
    if len(shapes) <= _MOST_SIZES:
        return ", ".join(f"{shape} ({n})" for shape, n in shapes.items())
    order = sorted((x.shape for x in survey.exams), key=lambda shape: shape[0] * shape[1])
    (r0, c0), (r1, c1) = order[0], order[-1]
    return f"from {r0} x {c0} to {r1} x {c1}, {len(shapes)} different"


def _measured(e: Exploration) -> list[Any]:
    out = []
    for _, (title, values) in measures(e.survey).items():
        if len(values) and np.ptp(values) > 1e-3:
            head, _, unit = title.partition(", ")
            out.append(histogram(head, unit, values, e.things))
    return out


def _montages(e: Exploration) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return each class, in how many exams it was seen, and pictures with their captions."""
    displayed = {label.name: label.display for label in SUBTYPES}
    out = []
    for name, thumbnails in e.survey.thumbnails.items():
        if not thumbnails:
            continue
        chosen = [
            thumbnails[int(i)]
            for i in np.unique(np.linspace(0, len(thumbnails) - 1, min(_A_CLASS, len(thumbnails))))
        ]
        title = displayed.get(name) or {"none": "No hemorrhage"}.get(name, "Hemorrhage, subtype not labelled")
        tiles = []
        for s in chosen:
            where = e.name_of(s.patient) if e.pictures else f"{e.name_of(s.patient)}, slice {s.index + 1}"
            tiles.append((_jpeg(s.grey), where))
        out.append((title, len(thumbnails), tiles))
    return out


def _pairs(e: Exploration) -> list[dict[str, Any]]:
    out = []
    for duplicate in e.duplicates[:_MOST_PAIRS]:
        pair = [(duplicate.first, duplicate.best[0]), (duplicate.second, duplicate.best[1])]
        out.append(
            {
                "pair": duplicate,
                "tiles": [
                    (
                        _jpeg(e.survey.compared[key]),
                        e.name_of(key[0]) + ("" if e.pictures else f", slice {key[1] + 1}"),
                    )
                    for key in pair
                ],
                "labels": [_labels(e.survey.patients[name]) for name, _ in pair],
            }
        )
    return out


def _labels(row: NDArray[np.float32]) -> str:
    present = [label.display.lower() for j, label in enumerate(LABELS) if j and row[j] == 1]
    return ", ".join(present) or ("hemorrhage" if row[0] == 1 else "none" if row[0] == 0 else "unknown")


def _jpeg(grey: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"

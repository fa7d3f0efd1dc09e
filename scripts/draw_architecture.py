"""Draw who may import whom, the ways through the rooms, and a study's way from a PACS and back.

``python scripts/draw_architecture.py`` writes all; ``--check`` only compares. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TypeAlias

from sections import update

__all__ = ["ARROWS", "pictures"]

_COMMAND = "python scripts/draw_architecture.py"
_STYLE = """
.page { fill: #ffffff; stroke: #d0d7de; }
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2328; }
.small { font-size: 13px; fill: #424a53; }
.name { font-size: 15.5px; font-weight: 600; }
.title { font-size: 17px; font-weight: 700; }
.core { fill: #ddf0ff; stroke: #2878b8; }
.train { fill: #fdeccf; stroke: #a8711a; }
.serve { fill: #dcf3e0; stroke: #2f8a4c; }
.results { fill: #efe3fb; stroke: #7d4bb0; }
.all { fill: #eef0f3; stroke: #6e7781; }
.arrow { fill: none; stroke: #57606a; stroke-width: 1.8; }
.head { fill: #57606a; }
@media (prefers-color-scheme: dark) {
.page { fill: #151b23; stroke: #3d444d; }
text { fill: #f0f6fc; }
.small { fill: #c3ccd6; }
.core { fill: #12304a; stroke: #4c9fdd; }
.train { fill: #40300f; stroke: #d29b3f; }
.serve { fill: #143821; stroke: #4fb56f; }
.results { fill: #2c1c40; stroke: #a87bdc; }
.all { fill: #262c36; stroke: #9198a1; }
.arrow { stroke: #9aa4af; }
.head { fill: #9aa4af; }
}
"""
_LINE = 18
_DETOUR = 29
"""Pixels below a row: half of the space to the next one."""


@dataclass(frozen=True)
class Box:
    """A named box with lines of text; ``x`` and ``y`` are its upper left corner."""

    name: str
    lines: tuple[str, ...]
    group: str
    x: float
    y: float
    width: float = 176
    height: float = 76


_X = (24.0, 232.0, 440.0, 648.0, 856.0, 1064.0)
_Y = (62.0, 196.0, 330.0)
_ROOMS = (
    Box("shared types", ("labels, errors, notices,", "exam, findings"), "core", _X[0], _Y[0]),
    Box("reading", ("DICOM, NIfTI, pictures:", "to an exam in HU"), "core", _X[1], _Y[0]),
    Box("preparing", ("the model's grid,", "windows, neighbours"), "core", _X[2], _Y[0]),
    Box("detecting", ("bundle, Detector,", "score(), regions"), "core", _X[3], _Y[0]),
    Box("reporting", ("JSON, CSV, report,", "overlay, mask"), "core", _X[4], _Y[0]),
    Box("exploring", ("survey of a data set,", "duplicates"), "train", _X[1], _Y[1]),
    Box("datasets", ("public data sets, splits,", "prepared stores"), "train", _X[2], _Y[1]),
    Box("evaluating", ("metrics, calibration,", "comparison"), "train", _X[3], _Y[1]),
    Box("models", ("networks in torch,", "of no other room"), "train", _X[2], _Y[2]),
    Box("training", ("recipes, families, folds,", "release of a bundle"), "train", _X[3], _Y[2]),
    Box("results", ("segmentation, report,", "capture: back to a PACS"), "results", _X[5], _Y[0]),
    Box("bulk", ("archives by many", "processes or machines"), "results", _X[5], _Y[1]),
    Box("jobs", ("queue, worker,", "database, storage"), "serve", _X[4], _Y[1]),
    Box("serving", ("the page and", "its API"), "serve", _X[4], _Y[2]),
    Box("node", ("DICOM in and out, HL7,", "FHIR, worklist"), "results", _X[5], _Y[2]),
    Box("cli", ("the commands:", "may import every room"), "all", _X[0], _Y[2], 384),
)
ARROWS = (
    ("reading", "shared types"),
    ("preparing", "reading"),
    ("detecting", "preparing"),
    ("reporting", "detecting"),
    ("datasets", "preparing"),
    ("exploring", "datasets"),
    ("evaluating", "datasets"),
    ("evaluating", "detecting"),
    ("training", "evaluating"),
    ("training", "models"),
    ("results", "reporting"),
    ("bulk", "results"),
    ("bulk", "datasets"),
    ("jobs", "results"),
    ("serving", "jobs"),
    ("node", "serving"),
)
"""Who may import whom; and whatever that one may import."""
_Ways: TypeAlias = Mapping[str, tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]]
"""By title: the group, and each box with its lines."""
_WAYS: _Ways = {
    "A study: ichor detect, Detector.detect_all": (
        "core",
        (
            (
                "reading",
                ("archive, series, decoding", "in a disposable process:", "an Exam, in HU"),
            ),
            ("preparing", ("prepare(): the grid,", "each slice with its", "neighbours, windows")),
            (
                "detecting",
                ("quality and range checks,", "network: maps and logits,", "score(): slices, exam"),
            ),
            ("detecting", ("calibration, thresholds,", "localise(): regions, mL:", "Findings")),
            ("reporting", ("findings.json, slices.csv,", "report.html, overlay,", "NIfTI mask")),
        ),
    ),
    "A training run: ichor train, ichor.train": (
        "train",
        (
            ("datasets", ("exams and labels, split", "by patient; stores of", "prepared slices")),
            (
                "training",
                ("CrossValidation fits each", "fold; a ModelFamily has", "batches, loss, graphs"),
            ),
            ("training", ("the fold's patients, by", "score(): predictions.csv;", "stacking, mean weights")),
            ("evaluating", ("figures with intervals,", "calibration, thresholds,", "all out of fold")),
            ("training", ("release: ONNX graphs,", "bundle.json, card; a", "Detector loads it")),
        ),
    ),
    "An upload: the page or its API": (
        "serve",
        (
            ("serving", ("who may; announced files", "and sizes; chunks to", "a folder of the upload")),
            ("jobs", ("one row a job in the", "database; the supervisor", "keeps a worker alive")),
            ("jobs", ("the worker leases a job,", "reads in a child process,", "asks its Detector")),
            ("jobs", ("findings, volume, report", "are stored; the study's", "state becomes ready")),
            ("serving", ("events, worklist, viewer,", "verdicts, export", "")),
        ),
    ),
}
_RESULTS_OUT = "Results out, each kept in the outbox until it is delivered"
_PACS: _Ways = {
    "A study in": (
        "results",
        (
            ("scanner or PACS", ("sends CT by C-STORE;", "only peers named by", "--allow may")),
            ("node", ("each file is on the disk", "before it is answered", "with success")),
            ("node", ("a rule takes the study;", "quiet for 10 s, or known", "to be whole: queued")),
            ("worker", ("reads in a disposable", "process, asks the model:", "findings")),
            ("page", ("suspected and unread", "studies first; a reader", "gives a verdict")),
        ),
    ),
    _RESULTS_OUT: (
        "serve",
        (
            ("worker", ("findings become", "objects and messages", "")),
            ("PACS", ("SEG, SR, SC, KO by", "C-STORE or STOW, with", "storage commitment")),
            ("RIS", ("HL7 ORU^R01: OBR-5 is S", "where hemorrhage is", "suspected")),
            ("worklist manager", ("a UPS step: HIGH or", "MEDIUM", "")),
            ("viewer", ("asks the node by C-FIND:", "the most probable", "first")),
        ),
    ),
}


def pictures() -> dict[str, str]:
    """Return the files by their path from the root."""
    return {
        "docs/images/architecture-rooms.svg": _rooms(),
        "docs/images/architecture-ways.svg": _ways(
            _WAYS, "The way of a study, of a training run and of an upload"
        ),
        "docs/images/connect-a-pacs.svg": _ways(
            _PACS, "The way of a study from a PACS, and of its results", fans={_RESULTS_OUT}
        ),
    }


def _rooms() -> str:
    boxes = {room.name: room for room in _ROOMS}
    parts = [
        _text(24, 36, "title", "Rooms: an arrow means may import, and so on along the arrows"),
        *(_arrow(boxes[a], boxes[b]) for a, b in ARROWS),
        *(line for room in _ROOMS for line in _box(room)),
    ]
    for k, (group, words) in enumerate(
        (
            ("core", "core: no torch, no pandas"),
            ("train", "extra train"),
            ("serve", "extra serve"),
            ("results", "extras results, node, scale"),
        )
    ):
        x = (24, 260, 400, 540)[k]
        parts += [_rectangle(group, x, 430, 22, 16), _text(x + 32, 443, "small", words)]
    return _page(1264, 462, "Rooms of ichor and who may import whom", parts)


def _ways(ways: _Ways, named: str, fans: Collection[str] = ()) -> str:
    """Draw ways, a row each, box by box; those of ``fans`` go from the first box to each of the others."""
    parts: list[str] = []
    y = 36.0
    for title, (group, steps) in ways.items():
        parts.append(_text(24, y, "title", title))
        row = [
            Box(name, lines, group, x, y + 16, 184, 96)
            for x, (name, lines) in zip(_ways_x(), steps, strict=True)
        ]
        pairs = ((row[0], box) for box in row[1:]) if title in fans else pairwise(row)
        parts += [_arrow(a, b) for a, b in pairs]
        parts += [line for box in row for line in _box(box)]
        y += 156
    return _page(1056, y, named, parts)


def _ways_x() -> Iterator[float]:
    return (24 + 206.0 * k for k in range(5))


def _box(box: Box) -> Iterator[str]:
    yield _rectangle(box.group, box.x, box.y, box.width, box.height)
    middle = box.x + box.width / 2
    yield _text(middle, box.y + 25, "name", box.name, centred=True)
    for k, line in enumerate(filter(None, box.lines)):
        yield _text(middle, box.y + 45 + _LINE * k, "small", line, centred=True)


def _arrow(a: Box, b: Box) -> str:
    """Return an arrow between boxes that lie in one row or one column; around those that lie between in a row."""
    if a.y == b.y and abs(a.x - b.x) > _X[1] - _X[0]:
        x1, x2, y = a.x + a.width / 4, b.x + 3 * b.width / 4, a.y + a.height
        points = f"{x2:g},{y:g} {x2 - 5:g},{y + 8:g} {x2 + 5:g},{y + 8:g}"
        line = f"M {x1:g} {y:g} V {y + _DETOUR:g} H {x2:g} V {y + 4:g}"
    elif a.y == b.y:
        right = b.x > a.x
        y = a.y + a.height / 2
        x1, x2 = (a.x + a.width, b.x) if right else (a.x, b.x + b.width)
        tip, back = (x2, y), -8 if right else 8
        points = f"{tip[0]:g},{y:g} {tip[0] + back:g},{y - 5:g} {tip[0] + back:g},{y + 5:g}"
        line = f"M {x1:g} {y:g} H {x2 + back / 2:g}"
    else:
        x, y1, y2 = a.x + a.width / 2, a.y, b.y + b.height
        points = f"{x:g},{y2:g} {x - 5:g},{y2 + 8:g} {x + 5:g},{y2 + 8:g}"
        line = f"M {x:g} {y1:g} V {y2 + 4:g}"
    return f'<path class="arrow" d="{line}"/><polygon class="head" points="{points}"/>'


def _rectangle(group: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{group}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'


def _text(x: float, y: float, style: str, words: str, *, centred: bool = False) -> str:
    anchor = ' text-anchor="middle"' if centred else ""
    return f'<text class="{style}" x="{x:g}" y="{y:g}"{anchor}>{escape(words)}</text>'


def _page(width: float, height: float, title: str, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
    ground = f'<rect class="page" x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="10"/>'
    lines = [head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", ground, *parts, "</svg>"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 where a picture is out of date"
    )
    return update(pictures(), check=parser.parse_args().check, command=_COMMAND)


if __name__ == "__main__":
    sys.exit(main())

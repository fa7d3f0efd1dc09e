"""From a finished run to a bundle: graph, calibration, thresholds, measured figures, card."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ichor import __version__
from ichor.datasets.registry import open_dataset
from ichor.detecting.bundle import load_bundle
from ichor.errors import UsageError
from ichor.evaluating.calibration import (
    SLICE_SPECIFICITY,
    best_threshold,
    fit_calibration,
    specific_threshold,
)
from ichor.evaluating.metrics import sensitivity_specificity
from ichor.evaluating.out_of_fold import MIN_POSITIVE_PATIENTS, Figure, figures
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.labels import LABEL_NAMES
from ichor.models import MapSpec
from ichor.preparing import prepare
from ichor.training.engine import load_model
from ichor.training.export import MAP_STRIDE, export_graphs
from ichor.training.run import ALL, Run

__all__ = ["release"]

_COMPARED_PATIENTS = 2


def release(run: Run, destination: Path | None = None, part: str = ALL) -> Path:
    """Write the bundle of a run whose folds are there.

    Parameters
    ----------
    run
        The run.
    destination
        Folder of the bundle; ``bundle`` in the run's folder by default.
    part
        Whose weights: those of all patients, or of a fold. Calibration, thresholds and figures come from all
        folds in either case.

    Returns
    -------
    pathlib.Path
        The folder, loaded once to prove that detection takes it.

    Raises
    ------
    UsageError
        Where a part of the run is missing.
    BundleError
        Where the graphs differ from the network.
    """
    weights = run.folder / part / "weights.safetensors"
    if not weights.is_file():
        raise UsageError(
            f"{weights}: found no file; expected the weights of part {part!r}; "
            f"train it: ichor train ... -o {run.folder} --parts {part}, or name another part"
        )
    recipe = run.recipe
    home = destination or run.folder / "bundle"
    home.mkdir(parents=True, exist_ok=True)
    target = open_dataset(recipe.target, run.data)
    oof = read_predictions(run.folder, target)
    measured = figures(oof)
    model = load_model(recipe, weights)
    some = sorted(target.patients())[:_COMPARED_PATIENTS]
    exams = [prepare(target.load(p).exam, recipe.preparation).stack[::step] for step, p in enumerate(some, start=4)]
    graphs, difference = export_graphs(model, recipe.preparation, home, exams)
    locates = isinstance(recipe.model, MapSpec)
    exam_calibration = fit_calibration(oof.exam_logits, oof.exam_labels)
    slice_calibration = fit_calibration(oof.logits, oof.labels)
    lone = read_predictions(run.folder, target, "map" if locates else "rule")
    lone_calibration = fit_calibration(lone.logits, lone.labels)
    manifest: dict[str, Any] = {
        "format": "ichor.bundle/1",
        "name": recipe.name,
        "version": __version__,
        "description": recipe.description.strip(),
        "licence": "Apache-2.0; trained on data under the licences listed in trained_on",
        "labels": list(LABEL_NAMES),
        "preparation": recipe.preparation.model_dump(mode="json"),
        "graphs": {
            graph.name: {
                "file": graph.file,
                "sha256": hashlib.sha256((home / graph.file).read_bytes()).hexdigest(),
                "inputs": graph.inputs,
                "outputs": graph.outputs,
            }
            for graph in graphs
        },
        "map_stride": MAP_STRIDE,
        "slice_rule": {
            "kind": "hottest_of_smoothed_map" if locates else "graph",
            **recipe.slice_rule.model_dump(mode="json"),
        },
        "exam_rule": {"kind": "mean_of_hottest", "slices": 2},
        "calibration": {
            "slice": _scales(slice_calibration.scale, slice_calibration.offset),
            "exam": _scales(exam_calibration.scale, exam_calibration.offset),
            "lone": _scales(lone_calibration.scale, lone_calibration.offset),
        },
        "thresholds": _thresholds(
            oof.exam_labels,
            exam_calibration.probabilities(oof.exam_logits),
            best_threshold,
            "the highest sensitivity plus specificity over the out-of-fold exams",
        ),
        # Most slices are normal: on a lone one, a false alarm is what must be rare.
        "slice_thresholds": _thresholds(
            lone.labels,
            lone_calibration.probabilities(lone.logits),
            specific_threshold,
            f"a specificity of {SLICE_SPECIFICITY:.0%} over the out-of-fold slices",
        ),
        "localisation": {"probability": 0.5, "min_volume_ml": 0.1},
        "untrusted_labels": _untrusted(oof),
        "trained_on": _trained_on(run),
        "measured": [_measured(f) for f in measured],
        "limits": json.loads(_resource("limits.json")),
    }
    (home / "bundle.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    (home / "card.md").write_text(_card(manifest, run, difference))
    load_bundle(home)
    return home


def _scales(scale: Any, offset: Any) -> list[dict[str, float]]:
    return [
        {"scale": round(float(s), 6), "offset": round(float(o), 6)}
        for s, o in zip(scale, offset, strict=True)
    ]


def _thresholds(
    labels: Any, probabilities: Any, choose: Callable[[Any, Any], float], chosen_for: str
) -> dict[str, dict[str, Any]]:
    out = {}
    for j, name in enumerate(LABEL_NAMES):
        known = ~np.isnan(labels[:, j])
        truth, p = labels[known, j], probabilities[known, j]
        if not 0 < truth.sum() < len(truth):
            out[name] = {"probability": 0.5, "chosen_for": "nothing: the measured data does not tell this label"}
            continue
        threshold = choose(truth, p)
        sensitivity, specificity = sensitivity_specificity(truth, p, threshold)
        out[name] = {
            "probability": round(threshold, 4),
            "sensitivity": round(sensitivity, 4),
            "specificity": round(specificity, 4),
            "chosen_for": chosen_for,
        }
    return out


def _untrusted(oof: OutOfFold) -> dict[str, str]:
    counts = np.nansum(oof.exam_labels, axis=0)
    return {
        name: f"only {int(n)} patients with this subtype in the measured data"
        for name, n in zip(LABEL_NAMES, counts, strict=True)
        if n < MIN_POSITIVE_PATIENTS
    }


def _trained_on(run: Run) -> list[dict[str, Any]]:
    known = json.loads(_resource("provenance.json"))
    rows = []
    for name in (run.recipe.target, *run.recipe.extra):
        dataset = open_dataset(name, run.data)
        patients = dataset.patients()
        slices = sum(len(dataset.slice_labels(p)) for p in patients)
        told = {"licence": dataset.info.licence, "citation": dataset.info.citation, "note": ""}
        told |= known.get(dataset.name, {})
        rows.append({"name": dataset.name, "exams": len(patients), "slices": slices, **told})
    return rows


def _measured(figure: Figure) -> dict[str, Any]:
    i = figure.interval
    kind = f"{figure.name.split()[0]}s"
    unit = f"{i.n} {kind}, {i.positives} positive, {i.patients} patients"
    numbers = {
        k: None if math.isnan(v) else round(v, 4)
        for k, v in (("value", i.value), ("low", i.low), ("high", i.high))
    }
    return {"name": figure.name, **numbers, "n": i.n, "unit": unit, "protocol": figure.protocol}


def _card(manifest: dict[str, Any], run: Run, difference: float) -> str:
    """Fill the card's template with what the manifest says."""
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    return environment.from_string(_resource("card.md.j2")).render(
        m=manifest, recipe=run.recipe, difference=f"{difference:.1e}"
    )


def _resource(name: str) -> str:
    return (importlib.resources.files("ichor.training") / "release_text" / name).read_text(encoding="utf-8")

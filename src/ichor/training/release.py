"""From a finished run to a bundle: graphs, calibration, thresholds, measured figures, card."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor import __version__
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.detecting.bundle import load_bundle
from ichor.errors import UsageError
from ichor.evaluating.calibration import (
    EXAM_SENSITIVITY,
    SLICE_SPECIFICITY,
    Calibration,
    best_threshold,
    fit_calibration,
    sensitive_threshold,
    specific_threshold,
)
from ichor.evaluating.compare import compare
from ichor.evaluating.metrics import sensitivity_specificity
from ichor.evaluating.out_of_fold import MIN_POSITIVE_PATIENTS, Figure, figures
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.labels import LABEL_NAMES
from ichor.models import MapSpec
from ichor.preparing import prepare
from ichor.training.card import card_text, limits_of, provenance
from ichor.training.export import MAP_STRIDE, ExportedGraph, export_graphs, export_together
from ichor.training.fitting import load_model
from ichor.training.quantise import quantised_graphs, quantised_run
from ichor.training.reference_ranges import exam_traits, input_profile
from ichor.training.reliability import measured as measured_figure
from ichor.training.reliability import operating_points, uncertain_band
from ichor.training.run import SEQUENCE, WEIGHTS, Run
from ichor.training.stacking import read_opinions

__all__ = ["part_graphs", "release"]

_COMPARED_PATIENTS = 2
_Rule = tuple[Callable[[Any, Any], float], str]
"""How a threshold is chosen from labels and probabilities, and what for."""
_ANY_OF_EXAMS: _Rule = (
    sensitive_threshold(EXAM_SENSITIVITY),
    f"a sensitivity of {EXAM_SENSITIVITY:.0%} over the out-of-fold exams",
)
_SUBTYPE_OF_EXAMS: _Rule = (
    best_threshold,
    "the highest sensitivity plus specificity over the out-of-fold exams",
)
_SLICES: _Rule = (specific_threshold, f"a specificity of {SLICE_SPECIFICITY:.0%} over the out-of-fold slices")
_UNTOLD = -7.0
"""Calibrated logit of a label that the measured data does not tell: a probability of 0.0009."""


def release(
    run: Run,
    destination: Path | None = None,
    part: str | None = None,
    *,
    name: str | None = None,
    int8: bool = False,
) -> Path:
    """Write the bundle of a run whose folds are there.

    Parameters
    ----------
    run
        The run.
    destination
        Folder of the bundle; ``bundle`` in the run's folder by default.
    part
        Whose weights: those that the recipe ships by default, or of a fold. Calibration, thresholds and figures
        come from all folds in either case.
    name
        Of the bundle; the recipe's by default, with ``-int8`` where that is asked for.
    int8
        With weights and activations of 8 bits; calibrated and measured as such.

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
    part = part or run.parts()[-1]
    _complete(run, part)
    recipe = run.recipe
    source = quantised_run(run) if int8 else run
    home = destination or source.folder / "bundle"
    target = open_dataset(recipe.target, run.data)
    oof = read_predictions(source.folder, target)
    _tells_both(oof, source.folder)
    measured = figures(oof)
    lost = compare(oof, read_predictions(run.folder, target)) if int8 else []
    home.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place until all is well: a bundle that was there before stays whole where something fails.
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=home.parent) as folder:
        new = Path(folder)
        graphs, difference = part_graphs(run, part, new, int8=int8)
        manifest = _manifest(source, oof, measured, new, graphs)
        manifest["limits"] = limits_of(run, oof, int8=int8)
        manifest["name"] = name or recipe.name + ("-int8" if int8 else "")
        card = card_text(manifest, source, oof, part, difference, lost)
        (new / "card.md").write_text(card, encoding="utf-8")
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        (new / "bundle.json").write_text(text, encoding="utf-8")
        load_bundle(new)
        home.mkdir(exist_ok=True)
        for file in sorted(new.iterdir(), key=lambda path: path.name == "bundle.json"):
            file.replace(home / file.name)
    return home


def part_graphs(
    run: Run, part: str, folder: Path, *, int8: bool = False
) -> tuple[list[ExportedGraph], float]:
    """Write the graphs of a part of a run.

    Parameters
    ----------
    run, part
        Whose weights, and what was learnt beside them.
    folder
        Where to write.
    int8
        With weights and activations of 8 bits; what weighs slices together stays fp32.

    Returns
    -------
    graphs, difference
        What was written, and the largest difference of a logit between torch and the fp32 graphs.
    """
    recipe, target = run.recipe, open_dataset(run.recipe.target, run.data)
    exams = _compared(target, run)
    network = load_model(recipe, run.folder / part / WEIGHTS)
    if int8:
        graphs, difference = quantised_graphs(run, part, network, folder, exams)
    else:
        graphs, difference = export_graphs(network, recipe.preparation, folder, exams)
    together = run.together(part)
    if together is not None:
        opinions = [said.astype(np.float32) for said in read_opinions(run.folder, target).values()]
        more, other = export_together(together, folder, opinions[:_COMPARED_PATIENTS])
        graphs, difference = [*graphs, *more], max(difference, other)
    return graphs, difference


def _complete(run: Run, part: str) -> None:
    """See that a part has its weights, and that nothing lacks its predictions."""
    weights = run.folder / part / WEIGHTS
    go_on = f"ichor train ... -o {run.folder}"
    if not weights.is_file():
        raise UsageError(
            f"{weights}: found no file; expected the weights of part {part!r}; "
            f"train it: {go_on} --parts {part}, or name another part"
        )
    folds = run.folds()
    missing = [name for name in folds if not (run.folder / name / "predictions.csv").is_file()]
    if missing:
        raise UsageError(
            f"{run.folder}: found no predictions.csv of {', '.join(missing)}; expected all {len(folds)} folds: "
            f"calibration and thresholds come from them; train them: {go_on} --parts {','.join(missing)}"
        )
    if run.recipe.sequence and not run.finished(SEQUENCE):
        raise UsageError(
            f"{run.folder}: found no weights of part {SEQUENCE!r}; expected them: the recipe has one; "
            f"train it: {go_on} --parts {SEQUENCE}"
        )


def _tells_both(oof: OutOfFold, folder: Path) -> None:
    """Refuse where nothing could be calibrated: a verdict that was never measured is none."""
    for unit, labels in (("exams", oof.exam_labels), ("slices", oof.labels)):
        truth = labels[~np.isnan(labels[:, 0]), 0]
        if not 0 < truth.sum() < len(truth):
            raise UsageError(
                f"{folder}: found predictions of {int(truth.sum())} {unit} with and {int((truth == 0).sum())} "
                "without hemorrhage; expected both: without them there is no threshold; "
                "train on data that holds both"
            )


def _compared(target: Dataset, run: Run) -> list[NDArray[np.float32]]:
    """Real slices of some exams, of different numbers, to compare graphs and network on; one alone among them."""
    some = sorted(target.patients())[:_COMPARED_PATIENTS]
    stacks = [prepare(target.load(p).exam, run.recipe.preparation).stack for p in some]
    return [*(stack[::step] for step, stack in enumerate(stacks, start=4)), stacks[0][:1]]


def _manifest(
    run: Run, oof: OutOfFold, measured: list[Figure], folder: Path, graphs: Sequence[ExportedGraph]
) -> dict[str, Any]:
    """Say all that ``bundle.json`` holds."""
    recipe = run.recipe
    locates = isinstance(recipe.model, MapSpec)
    exam_calibration = _fitted(oof.exam_logits, oof.exam_labels, oof.exam_folds)
    slice_calibration = _fitted(oof.logits, oof.labels, oof.folds)
    lone = read_predictions(run.folder, open_dataset(recipe.target, run.data), "map" if locates else "rule")
    lone_calibration = _fitted(lone.logits, lone.labels, lone.folds)
    profile = input_profile(exam_traits(run)) if oof.kind == "exams" else {}
    return {
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
                "sha256": hashlib.sha256((folder / graph.file).read_bytes()).hexdigest(),
                "inputs": graph.inputs,
                "outputs": graph.outputs,
            }
            for graph in graphs
        },
        "map_stride": MAP_STRIDE,
        "slice_rule": {
            **recipe.slice_rule.model_dump(mode="json"),
            "kind": "hottest_of_smoothed_map" if locates else "graph",
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
            [_ANY_OF_EXAMS, *[_SUBTYPE_OF_EXAMS] * (len(LABEL_NAMES) - 1)],
        ),
        # Most slices are normal: on a lone one, a false alarm is what must be rare.
        "slice_thresholds": _thresholds(
            lone.labels,
            lone_calibration.probabilities(lone.logits),
            [_SLICES] * len(LABEL_NAMES),
        ),
        "operating_points": {
            "exam": operating_points(oof, "exam", exam_calibration),
            "slice": operating_points(lone, "slice", lone_calibration),
        },
        "uncertain_band": uncertain_band(oof, exam_calibration),
        "input_profile": {
            name: {"low": round(low, 4), "high": round(high, 4)} for name, (low, high) in profile.items()
        },
        "localisation": {"probability": 0.5, "min_volume_ml": 0.1},
        "untrusted_labels": _untrusted(oof),
        "trained_on": _trained_on(run),
        "measured": [_measured(f) for f in measured],
    }


def _fitted(logits: NDArray[np.float64], labels: NDArray[np.float32], folds: NDArray[np.intp]) -> Calibration:
    """Calibrate; a label that the data does not tell is hardly probable, whatever the network says of it."""
    fitted = fit_calibration(logits, labels, folds)
    positive = np.nansum(labels, axis=0)
    untold = (positive == 0) | (positive == (~np.isnan(labels)).sum(axis=0))
    return Calibration(np.where(untold, 0.0, fitted.scale), np.where(untold, _UNTOLD, fitted.offset))


def _scales(scale: Any, offset: Any) -> list[dict[str, float]]:
    return [
        {"scale": round(float(s), 6), "offset": round(float(o), 6)}
        for s, o in zip(scale, offset, strict=True)
    ]


def _thresholds(labels: Any, probabilities: Any, rules: Sequence[_Rule]) -> dict[str, dict[str, Any]]:
    """Choose a threshold of each label by its rule."""
    out = {}
    for j, (name, (choose, chosen_for)) in enumerate(zip(LABEL_NAMES, rules, strict=True)):
        known = ~np.isnan(labels[:, j])
        truth, p = labels[known, j], probabilities[known, j]
        if not 0 < truth.sum() < len(truth):
            out[name] = {
                "probability": 1.0,
                "chosen_for": "never: the measured data does not tell this label",
            }
            continue
        threshold = math.floor(choose(truth, p) * 1e4) / 1e4  # rounded down: what just reaches it still does
        sensitivity, specificity = sensitivity_specificity(truth, p, threshold)
        out[name] = {
            "probability": threshold,
            "sensitivity": round(sensitivity, 4),
            "specificity": round(specificity, 4),
            "chosen_for": chosen_for,
        }
    return out


def _untrusted(oof: OutOfFold) -> dict[str, str]:
    reasons = {}
    for j, name in enumerate(LABEL_NAMES):
        truth = oof.exam_labels[~np.isnan(oof.exam_labels[:, j]), j]
        positive = int(truth.sum())
        if not 0 < positive < len(truth):
            reasons[name] = (
                f"the measured data does not tell it ({positive} of {len(truth)} patients for whom it is known): "
                "its probability means nothing, and it is never called"
            )
        elif positive < MIN_POSITIVE_PATIENTS:
            reasons[name] = f"only {positive} patients with this subtype in the measured data"
    return reasons


def _trained_on(run: Run) -> list[dict[str, Any]]:
    rows = []
    for name in (run.recipe.target, *run.recipe.extra):
        dataset = open_dataset(name, run.data)
        patients = dataset.patients()
        slices = sum(len(dataset.slice_labels(p)) for p in patients)
        counts = {"name": dataset.name, "exams": len(patients), "slices": slices}
        rows.append(counts | provenance(dataset.info))
    return rows


def _measured(figure: Figure) -> dict[str, Any]:
    return measured_figure(figure.name, figure.interval, f"{figure.name.split()[0]}s", figure.protocol)

"""From a finished run to a bundle: graphs, calibration, thresholds, measured figures, card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.errors import UsageError
from ichor.evaluating.compare import compare
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.preparing import prepare
from ichor.training.bundle_folder import new_bundle, write_texts
from ichor.training.card import CardFacts, card_text
from ichor.training.describing import Measurements, manifest_of
from ichor.training.export import export_graphs, export_stacker
from ichor.training.families.family import Graph
from ichor.training.fitting import load_model
from ichor.training.picture_calibration import predict_pictures, read_pictures
from ichor.training.quantise import quantised_graphs, quantised_run
from ichor.training.run_data import RunData
from ichor.training.run_folder import STACKING, RunFolder
from ichor.training.stacking import read_stacking_inputs

__all__ = ["part_graphs", "release"]

_COMPARED_PATIENTS = 2


def release(
    data: RunData,
    destination: Path | None = None,
    part: str | None = None,
    *,
    name: str | None = None,
    int8: bool = False,
) -> Path:
    """Write the bundle of a run whose folds are there.

    Parameters
    ----------
    data
        The run, with its data.
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
    folder, recipe = data.folder, data.folder.recipe
    part = part or folder.parts[-1]
    _complete(folder, part)
    predicted = quantised_run(data) if int8 else folder
    home = destination or predicted.path / "bundle"
    oof = read_predictions(predicted.path, data.target)
    _has_both_classes(oof, predicted.path)
    of_map = "map" in recipe.family.heads
    single = read_predictions(folder.path, data.target, single=recipe.slice_rule if of_map else None)
    if folder.recipe.pictures:
        predict_pictures(data, data.progress)
    pictures = read_pictures(data)
    differences = compare(oof, read_predictions(folder.path, data.target)) if int8 else []
    with new_bundle(home) as new:
        graphs, rounding = part_graphs(data, part, new, int8=int8)
        own_name = name or recipe.name + ("-int8" if int8 else "")
        manifest = manifest_of(
            data, Measurements(oof, single, pictures), new, graphs, name=own_name, int8=int8
        )
        facts = CardFacts(part, rounding, predicted.path, differences)
        write_texts(new, manifest, card_text(manifest, data, oof, facts))
    return home


def part_graphs(data: RunData, part: str, folder: Path, *, int8: bool = False) -> tuple[list[Graph], float]:
    """Write the graphs of a part of a run.

    Parameters
    ----------
    data, part
        Whose weights, and which stacking model goes with them.
    folder
        Where to write.
    int8
        With weights and activations of 8 bits; the stacking model stays fp32.

    Returns
    -------
    graphs, difference
        What was written, and the largest difference of a logit between torch and the fp32 graphs.
    """
    recipe = data.folder.recipe
    exams = _compared(data)
    network = load_model(recipe, data.folder.weights(part))
    if int8:
        graphs, difference = quantised_graphs(data, part, network, folder, exams)
    else:
        graphs, difference = export_graphs(recipe, network, folder, exams)
    stacker = data.folder.stacker(part)
    if stacker is not None:
        inputs = [one.logits.astype(np.float32) for one in read_stacking_inputs(data.folder.path).values()]
        more, other = export_stacker(stacker, folder, inputs[:_COMPARED_PATIENTS])
        graphs, difference = [*graphs, *more], max(difference, other)
    return graphs, difference


def _complete(folder: RunFolder, part: str) -> None:
    """See that a part has its weights, and that nothing lacks its predictions."""
    weights = folder.weights(part)
    go_on = f"ichor train ... -o {folder.path}"
    if not weights.is_file():
        raise UsageError(
            f"{weights}: found no file; expected the weights of part {part!r}; "
            f"train it: {go_on} --parts {part}, or name another part"
        )
    missing = [name for name in folder.folds if not folder.predictions(name).is_file()]
    if missing:
        raise UsageError(
            f"{folder.path}: found no predictions.csv of {', '.join(missing)}; expected all {len(folder.folds)} folds: "
            f"calibration and thresholds come from them; train them: {go_on} --parts {','.join(missing)}"
        )
    if folder.recipe.sequence and not folder.finished(STACKING):
        raise UsageError(
            f"{folder.path}: found no weights of part {STACKING!r}; expected them: the recipe has one; "
            f"train it: {go_on} --parts {STACKING}"
        )


def _has_both_classes(oof: OutOfFold, folder: Path) -> None:
    """Refuse where nothing could be calibrated: a verdict that was never measured is none."""
    for unit, labels in (("exams", oof.exam_labels), ("slices", oof.labels)):
        truth = labels[~np.isnan(labels[:, 0]), 0]
        if not 0 < truth.sum() < len(truth):
            raise UsageError(
                f"{folder}: found predictions of {int(truth.sum())} {unit} with and {int((truth == 0).sum())} "
                "without hemorrhage; expected both: without them there is no threshold; "
                "train on data that holds both"
            )


def _compared(data: RunData) -> list[NDArray[np.float32]]:
    """Real slices of some exams, of different numbers, to compare graphs and network on; a single one among them."""
    some = sorted(data.target.patients())[:_COMPARED_PATIENTS]
    stacks = [prepare(data.target.load(p).exam, data.folder.recipe.preparation).stack for p in some]
    return [*(stack[::step] for step, stack in enumerate(stacks, start=4)), stacks[0][:1]]

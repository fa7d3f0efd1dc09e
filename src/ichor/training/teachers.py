"""Teachers: bundles, or a run's own networks fold by fold; and what can be checked of what they learned from.

A run is measured on patients that its folds hold out. A teacher that learned from them would hand their labels on to
the very network that is measured on them: no bundle is taken that names a measured data set among those it learned
from. A run's folder gives fold k the network that did not see the patients of fold k either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.splits import load_split
from ichor.detecting.combining import CombinedDetector, logits, open_detector
from ichor.detecting.examining import examine
from ichor.detecting.manifest import TrainedOn
from ichor.detecting.scoring import score, sigmoid
from ichor.errors import UsageError
from ichor.exam import Exam
from ichor.preparing import GridSpec, plan_grid, prepare
from ichor.training.card import provenance
from ichor.training.fitting import load_model
from ichor.training.predicting import inference_device
from ichor.training.run_data import RunData
from ichor.training.run_folder import RECIPE, RunFolder
from ichor.training.teacher_facts import TeacherFacts

if TYPE_CHECKING:
    from ichor.detecting import Detector
    from ichor.preparing.grid import GridTransform

__all__ = ["SoftTargets", "Teacher", "open_teacher"]

_LEVELS = 255
"""A probability of a map is kept as so many."""
_SCALE = 1000.0
"""Probabilities are carried to the grid as HU are: whole numbers, outside the scan far below 0."""


class SoftTargets(NamedTuple):
    """What a teacher gives for an exam, on the grid of the network that learns from it.

    Attributes
    ----------
    slices
        ``(m, 6)`` probabilities.
    maps
        ``(m, 6, rows / 2, columns / 2)`` uint8, 255 for 1; None of a teacher that draws none.
    """

    slices: NDArray[np.float32]
    maps: NDArray[np.uint8] | None


class _Outputs(NamedTuple):
    """Probabilities of the exam's own slices ``(n, 6)``; logits of maps ``(k, 6, h, w)`` on a grid of the teacher's."""

    native: NDArray[np.float64]
    maps: NDArray[np.float32] | None
    transform: GridTransform


@dataclass(frozen=True)
class Teacher:
    """A model whose outputs are learned from.

    Attributes
    ----------
    facts
        Which model it is.
    outputs
        Assesses an exam; None where it refuses.
    """

    facts: TeacherFacts
    outputs: Callable[[Exam], _Outputs | None]

    def targets(self, exam: Exam, grid: GridSpec, *, with_maps: bool) -> SoftTargets | None:
        """Assess an exam.

        Parameters
        ----------
        exam
            Without labels.
        grid
            Of the network that learns.
        with_maps
            Whether that network draws maps.

        Returns
        -------
        SoftTargets or None
            None where the teacher refuses the exam.
        """
        found = self.outputs(exam)
        if found is None:
            return None
        own = plan_grid(exam.volume, exam.geometry, grid)
        slices = own.to_grid_weights @ found.native.astype(np.float32)
        maps = None if found.maps is None or not with_maps else _carried(found, own)
        return SoftTargets(slices, maps)


def open_teacher(data: RunData, part: str, accelerator: str = "cpu") -> Teacher:
    """Open the teacher of a part of a run.

    Parameters
    ----------
    data
        Of the run that learns; its recipe names the teacher.
    part
        Which part: a teacher that is a run gives its network of the same fold, and to ``all`` what it ships.
    accelerator
        Where a run's network computes: see :func:`ichor.training.predicting.inference_device`.

    Raises
    ------
    UsageError
        Where it is not there, or learned from patients that this run is measured on.
    """
    distil = data.folder.recipe.distil
    if distil is None or not distil.teacher or not distil.unlabelled:
        raise UsageError(
            f"recipe {data.folder.recipe.name}: found no teacher, or no exams without labels; expected both; give "
            "--teacher BUNDLE and --unlabelled DATA"
        )
    if (Path(distil.teacher) / RECIPE).is_file():
        return _of_run(RunFolder.open(Path(distil.teacher)), data, part, accelerator)
    return _of_bundle(distil.teacher, data)


def _of_bundle(name: str, data: RunData) -> Teacher:
    detector = open_detector(name, engine="onnxruntime")
    manifest = detector.bundle.manifest
    measured = {_plain(one): one for one in (data.target.name, *data.folder.recipe.folded)}
    seen = [measured[_plain(one.name)] for one in manifest.trained_on if _plain(one.name) in measured]
    if seen:
        raise UsageError(
            f"--teacher {name}: found a bundle that learned from {', '.join(seen)}, on whose held-out patients this "
            "run is measured; expected one that did not: it would hand their labels on; give another bundle, or the "
            "folder of a run with the same folds (--teacher RUN): fold by fold its own network is the teacher"
        )
    if not manifest.calibrated:
        data.progress(
            f"teacher {detector.bundle.name}: not calibrated, its scores are taken for probabilities; ichor bundle "
            "calibrate makes them such",
            0.0,
        )
    parts = detector.parts if isinstance(detector, CombinedDetector) else (detector,)
    facts = TeacherFacts(
        name=detector.bundle.name,
        version=detector.bundle.version,
        sha256=detector.bundle.sha256,
        trained_on=manifest.trained_on,
        restrictions=manifest.restrictions,
    )
    return Teacher(facts, lambda exam: _by_bundles(parts, exam))


def _by_bundles(parts: Sequence[Detector], exam: Exam) -> _Outputs | None:
    examined = examine(exam, parts[0].bundle.manifest.preparation)
    if examined.refused:
        return None
    found, drawn = [], None
    for part in parts:
        manifest = part.bundle.manifest
        same = manifest.preparation == examined.preparation
        prepared = examined.prepared if same else prepare(exam, manifest.preparation)
        prediction = part.model.predict(prepared.stack)
        scores = score(
            prediction, prepared.transform.slice_distances, manifest.scoring_rules, part.model.stacking
        )
        calibration = manifest.calibration
        native = (
            calibration.slice_probabilities(scores.native) if manifest.calibrated else sigmoid(scores.native)
        )
        found.append(logits(native))
        if drawn is None and prediction.maps is not None:
            drawn = (prediction.maps, prepared.transform)
    maps, transform = drawn or (None, examined.prepared.transform)
    return _Outputs(np.asarray(sigmoid(np.mean(found, axis=0))), maps, transform)


def _of_run(folder: RunFolder, data: RunData, part: str, accelerator: str) -> Teacher:
    _check_folds(folder, data)
    recipe = folder.recipe
    weights = folder.weights(part) if part in folder.folds else folder.shipped_weights()
    if not weights.is_file():
        raise UsageError(
            f"{weights}: found no file; expected the network that teaches {part}; train it: ichor train ... -o "
            f"{folder.path} --parts {part}"
        )
    network = load_model(recipe, weights).to(inference_device(accelerator))
    family, rules = recipe.family, recipe.family.rules(recipe)

    def outputs(exam: Exam) -> _Outputs | None:
        examined = examine(exam, recipe.preparation)
        if examined.refused:
            return None
        transform = examined.prepared.transform
        prediction = family.predict(network, examined.prepared.stack)
        scores = score(prediction, transform.slice_distances, rules)
        return _Outputs(np.asarray(sigmoid(scores.native)), prediction.maps, transform)

    of_run = RunData(folder, data.root, data.progress)
    sets = (of_run.target, *of_run.others)
    facts = TeacherFacts(
        name=recipe.name,
        version=weights.parent.name,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        trained_on=tuple(TrainedOn.model_validate({"name": one.name} | provenance(one.info)) for one in sets),
        restrictions=tuple(
            f"Learned from {one.name}, which is for {one.info.restriction} only."
            for one in sets
            if one.info.restriction
        ),
    )
    return Teacher(facts, outputs)


def _check_folds(folder: RunFolder, data: RunData) -> None:
    """See that each fold of a run held out what the same fold of the run that learns holds out."""
    held: dict[str, dict[str, int]] = {data.target.name: data.split, **data.folded}
    other = folder.recipe
    paths = {other.target: folder.split, **{name: folder.of_folded(name).split for name in other.folded}}
    for name, split in held.items():
        # A private set's name says little: which patients it has, its split does.
        known = next(
            (path for key, path in paths.items() if key == name or key.partition(":")[0] == name), None
        )
        learned = name in {key.partition(":")[0] for key in (other.target, *other.extra)}
        if known is not None and known.is_file() and dict(load_split(known).folds) == split:
            continue
        if known is None and not learned:
            continue
        raise UsageError(
            f"--teacher {folder.path}: found a run that deals the patients of {name} to other folds, or to none; "
            f"expected the split of {data.folder.path}: else a network would be taught by one that learned from the "
            "patients it is measured on; train both by the same target, n_folds and seed"
        )


def _carried(found: _Outputs, own: GridTransform) -> NDArray[np.uint8] | None:
    """Carry maps over the exam's own pixels to another grid, at half of its size."""
    if found.maps is None:
        return None
    rows, columns = own.spec.rows // 2, own.spec.columns // 2
    out = np.zeros((own.n_slices, found.maps.shape[1], rows, columns), np.uint8)
    for j in range(found.maps.shape[1]):
        probabilities: NDArray[Any] = sigmoid(found.maps[:, j])
        if probabilities.max() * _LEVELS < 1:
            continue
        native = found.transform.grid_to_native(probabilities.astype(np.float32))
        share = own.native_to_grid(np.rint(native * _SCALE).astype(np.int16)).clip(0, _SCALE) / _SCALE
        halved = (
            share[:, : 2 * rows, : 2 * columns].reshape(len(share), rows, 2, columns, 2).mean(axis=(2, 4))
        )
        out[:, j] = np.rint(halved * _LEVELS).astype(np.uint8)
    return out


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())

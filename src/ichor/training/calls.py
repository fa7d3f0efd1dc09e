"""``ichor.train``: a recipe in, a measured model out; the command mirrors it. Needs the extra ``train``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import UsageError
from ichor.progress import Progress, silent

if TYPE_CHECKING:
    from ichor.training.cross_validation import CrossValidation
    from ichor.training.hardware import Hardware
    from ichor.training.recipe import Recipe

__all__ = ["EVERYTHING", "FOLDS", "Choice", "Training", "TrainingRun", "open_training", "train"]

EVERYTHING, FOLDS = "everything", "folds"
"""Names for several parts: all that the recipe has, and then the bundle; or the folds alone."""
Place = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainingRun:
    """What training left.

    Attributes
    ----------
    folder
        Of the run: its recipe, its split, and its parts with their weights, logs and predictions.
    bundle
        What ``ichor.detect`` takes; None where only some parts were trained.
    """

    folder: Path
    bundle: Path | None


@dataclass(frozen=True)
class Choice:
    """What to train, from what: see :func:`train`."""

    recipe: Place | Recipe = "default"
    dataset: str | None = None
    settings: Sequence[str] = ()
    weights: str = "hub"
    start_from: Place | None = None
    shards: str | None = None
    teacher: Place | None = None
    unlabelled: Place | None = None


@dataclass(frozen=True)
class Training:
    """What :func:`train` does, before it begins.

    Attributes
    ----------
    run
        The cross-validation.
    parts
        Those to train, in order.
    bundle
        Whether a bundle is made at the end.
    """

    run: CrossValidation
    parts: tuple[str, ...]
    bundle: bool

    def carry_out(self) -> TrainingRun:
        """Train the parts, the recipe's warm-up before them, and make the bundle.

        Raises
        ------
        UsageError
            Where processes that share a batch would have several parts to train.
        """
        from ichor.training.cross_validation import CrossValidation
        from ichor.training.fitting import Start
        from ichor.training.ranks import is_first_process
        from ichor.training.release import release
        from ichor.training.run_folder import ALL

        run = self.run
        several = run.hardware.world > 1
        if several and len(self.parts) > 1:
            raise UsageError(
                f"training: found {len(self.parts)} parts for processes that share a batch; expected one: they end "
                "with their part; train one part after the other"
            )
        before = run.warm_up() if run.start.path is None else None
        if before is not None:
            if several and not before.folder.finished(ALL):
                raise UsageError(
                    f"{before.folder.path}: found no weights; expected what this recipe starts from; processes that "
                    f"share a batch train one part: run ichor train {before.recipe.name} --parts all "
                    f"-o {before.folder.path} first"
                )
            before.train(ALL)
            start = Start(run.start.weights, before.folder.path)
            run = CrossValidation(
                run.folder, run.data.root, start, run.hardware, run.progress, run.data.shards
            )
        for part in self.parts:
            run.train(part)
        made = release(run.data) if self.bundle and is_first_process() else None
        return TrainingRun(run.folder.path, made)


def train(
    recipe: Place | Recipe = "default",
    data: Place = "data",
    output: Place | None = None,
    *,
    dataset: str | None = None,
    settings: Sequence[str] = (),
    parts: str | Sequence[str] = EVERYTHING,
    weights: str = "hub",
    start_from: Place | None = None,
    shards: str | None = None,
    teacher: Place | None = None,
    unlabelled: Place | None = None,
    hardware: Hardware | None = None,
    progress: Progress = silent,
) -> TrainingRun:
    """Train a recipe: its folds by patient, then the network that ships, then the bundle.

    Parameters
    ----------
    recipe
        The name of a recipe of the package, a YAML file, or what :func:`ichor.training.recipe.load_recipe` gave.
    data
        Folder with one sub-folder a data set.
    output
        Folder of the run, ``runs/RECIPE`` by default; a run goes on where it stopped.
    dataset
        Data set to train and measure on, instead of the recipe's.
    settings
        Changes of the recipe: ``key=value``.
    parts
        ``everything`` (the recipe's parts, and the bundle), ``folds``, or some of ``fold-0``, ``fold-1``, ...,
        ``sequence``, ``soup``, ``all``.
    weights
        ImageNet weights: ``hub`` (timm's), ``none``, or a safetensors file under timm's names.
    start_from
        Weights to start from: a run's folder (what it ships) or a safetensors file.
    shards
        Place of what ``ichor data prepare`` made: a folder or ``s3://bucket/prefix``; read where it lies. By default
        slices are prepared beside the run.
    teacher
        Whose outputs on ``unlabelled`` are learned beside the labels: a bundle (``A+B``: combined), or the folder of
        a run with the same folds, of which each fold's own network is the teacher.
    unlabelled
        A folder of studies, or a data set whose labels are not used.
    hardware
        Where to train; this process, on a GPU where there is one, by default.
    progress
        Called with the part, what it is at, and the share of the part that is done.

    Returns
    -------
    TrainingRun
        The run's folder, and the bundle.

    Raises
    ------
    UsageError
        Where the extra is missing, or something that is named is not there.
    """
    choice = Choice(recipe, dataset, settings, weights, start_from, shards, teacher, unlabelled)
    return open_training(choice, data, output, parts, hardware, progress).carry_out()


def open_training(
    choice: Choice,
    data: Place,
    output: Place | None = None,
    parts: str | Sequence[str] = EVERYTHING,
    hardware: Hardware | None = None,
    progress: Progress = silent,
) -> Training:
    """Check what :func:`train` is asked for, and read the recipe; nothing is trained yet."""
    try:
        import torch

        from ichor.training.cross_validation import CrossValidation
        from ichor.training.fitting import Start
        from ichor.training.hardware import Hardware
        from ichor.training.recipe import load_recipe
        from ichor.training.run_folder import RunFolder
    except ImportError as error:
        raise UsageError(
            f"training: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    recipe, dataset = choice.recipe, choice.dataset
    if isinstance(recipe, str | os.PathLike):
        recipe = load_recipe(os.fspath(recipe), dataset, choice.settings)
    elif dataset is not None or choice.settings:
        raise UsageError(
            "train: found a loaded recipe, and a data set or settings; expected them where it is loaded: "
            "ichor.training.recipe.load_recipe(name, dataset, settings)"
        )
    recipe = _with_teacher(recipe, choice)
    hardware = hardware or Hardware()
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    default_name = recipe.name if dataset is None else f"{recipe.name}-{Path(dataset).name}"
    folder = RunFolder(Path(output) if output is not None else Path("runs") / default_name, recipe)
    start = Start(_weights(choice.weights), None if choice.start_from is None else Path(choice.start_from))
    run = CrossValidation(folder, Path(data), start, hardware, progress, choice.shards)
    if parts in (EVERYTHING, FOLDS):
        return Training(
            run, tuple(folder.parts if parts == EVERYTHING else folder.folds), parts == EVERYTHING
        )
    named = parts.split(",") if isinstance(parts, str) else parts
    return Training(run, tuple(folder.checked(part) for part in named), bundle=False)


def _with_teacher(recipe: Recipe, choice: Choice) -> Recipe:
    """Put the teacher and the exams without labels into the recipe: they make the run what it is."""
    from ichor.training.recipe import DistilRecipe

    given = {"teacher": choice.teacher, "unlabelled": choice.unlabelled}
    given = {key: os.fspath(value) for key, value in given.items() if value is not None}
    if given:
        recipe = recipe.replaced(distil=(recipe.distil or DistilRecipe()).replaced(**given))
    distil = recipe.distil
    if distil is not None and not (distil.teacher and distil.unlabelled):
        missing = "--unlabelled DATA" if distil.teacher else "--teacher BUNDLE"
        raise UsageError(
            f"recipe {recipe.name}: found one of --teacher and --unlabelled, or neither; expected both, to learn from "
            f"exams without labels; give {missing}, too"
        )
    return recipe


def _weights(text: str) -> bool | Path | None:
    if text in ("hub", "none"):
        return True if text == "hub" else None
    if not Path(text).is_file():
        raise UsageError(
            f"{text}: found no file; expected hub, none, or a safetensors file (docs/how-to/train.md)"
        )
    return Path(text)

"""What a run learns from and is measured on: its data sets, their split, their slices on the grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import Split, load_split, save_split, split_of
from ichor.datasets.store import Store
from ichor.datasets.store_build import build_store
from ichor.datasets.unlabelled import open_unlabelled
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import prediction_rows, write_predictions
from ichor.preparing import prepare
from ichor.progress import Progress, silent
from ichor.training.run_folder import RECIPE, STACKING, RunFolder
from ichor.training.stacking import predict_stacked, read_stacking_inputs

__all__ = ["RunData", "trained_on"]

_SOME_SLICES = 4


@dataclass(frozen=True)
class RunData:
    """The data of a run.

    Attributes
    ----------
    folder
        Its recipe names the data sets; it keeps the split.
    root
        Folder with one sub-folder a data set.
    progress
        Called where something takes long, and with what a data set left out.
    shards
        Place where ``ichor data prepare`` put the slices; None to prepare them beside the run.
    """

    folder: RunFolder
    root: Path
    progress: Progress = silent
    shards: str | None = None

    @cached_property
    def target(self) -> Dataset:
        """The data set whose patients are folded."""
        dataset = open_dataset(self.folder.recipe.target, self.root)
        dataset.patients()  # some data sets know only then what they left out
        for note in dataset.notes:
            self.progress(f"data: {dataset.name}: {note}", 0.0)
        return dataset

    @cached_property
    def others(self) -> list[Dataset]:
        """The data sets of ``extra``."""
        return [open_dataset(name, self.root) for name in self.folder.recipe.extra]

    @cached_property
    def split(self) -> dict[str, int]:
        """Fold of each patient of the target; dealt once a run, and kept beside its recipe."""
        return self._dealt(self.target, self.folder.split)

    @cached_property
    def folded(self) -> dict[str, dict[str, int]]:
        """Fold of each patient of each set of ``extra`` that is folded."""
        return {
            dataset.name: self._dealt(dataset, self.folder.of_folded(dataset.name).split)
            for dataset in self.others
            if dataset.name in self.folder.recipe.folded
        }

    @cached_property
    def folds(self) -> dict[str, int]:
        """The split, of the patients that can be trained on."""
        usable = set(self.stores[0].patients)
        return {patient: fold for patient, fold in self.split.items() if patient in usable}

    @cached_property
    def stores(self) -> list[Store]:
        """Slices on the grid: of the target, then of the sets that only train."""
        return [self._store(dataset) for dataset in (self.target, *self.others)]

    @cached_property
    def unlabelled(self) -> Dataset:
        """The exams without labels that the recipe's teacher assesses.

        Raises
        ------
        UsageError
            Where the recipe names none.
        """
        distil = self.folder.recipe.distil
        if distil is None or not distil.unlabelled:
            raise UsageError(
                f"recipe {self.folder.recipe.name}: found no exams without labels; expected some; give "
                "--unlabelled DATA"
            )
        return open_unlabelled(distil.unlabelled, self.root)

    @cached_property
    def unlabelled_store(self) -> Store:
        """Their slices on the grid, prepared beside the run."""
        return self._prepared(self.unlabelled)

    @property
    def taught_by_run(self) -> bool:
        """Whether the recipe's teacher is a run, whose folds teach each their own."""
        distil = self.folder.recipe.distil
        return distil is not None and (Path(distil.teacher) / RECIPE).is_file()

    def held_out(self, part: str) -> set[str]:
        """Return the patients that a part does not train on."""
        return {patient for patient, fold in self.folds.items() if f"fold-{fold}" == part}

    def held_out_of(self, name: str, part: str) -> set[str]:
        """Return the patients of a set of ``extra`` that a part does not train on: none where it is not folded."""
        return {patient for patient, fold in self.folded.get(name, {}).items() if f"fold-{fold}" == part}

    def grid_labels(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(m, 6)`` labels of the grid's slices of each patient that can be trained on."""
        store = self.stores[0]
        return {patient: store.labels[store.exam == k] for k, patient in enumerate(store.patients)}

    def some_slices(self, patients: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """Draw prepared slices ``(n, channels, rows, columns)`` of each of some patients, not always as many."""
        recipe = self.folder.recipe
        rng = np.random.default_rng(recipe.seed)
        for number, patient in enumerate(patients):
            stack = prepare(self.target.load(patient).exam, recipe.preparation).stack
            count = min(len(stack), _SOME_SLICES + number % 2)
            yield stack[np.sort(rng.choice(len(stack), count, replace=False))]

    def write_stacked(self, folder: Path) -> None:
        """Predict each exam by the stacking model that was fitted without it, and keep that.

        Parameters
        ----------
        folder
            This run's, or one with other predictions of the same networks; takes ``sequence/predictions.csv``.
        """
        recipe = self.folder.recipe
        stackers = {part: stacker for part in self.folder.folds if (stacker := self.folder.stacker(part))}
        inputs = read_stacking_inputs(folder)
        part_of = {patient: f"fold-{fold}" for patient, fold in self.split.items()}
        rows: list[dict[str, object]] = []
        for patient, scores in predict_stacked(stackers, inputs, part_of, recipe.exam_rule):
            rows += prediction_rows(recipe.target, patient, {STACKING: scores}, inputs[patient].distances)
        path = RunFolder(folder, recipe).predictions(STACKING)
        path.parent.mkdir(exist_ok=True)
        write_predictions(path, rows)

    def pictures_split(self, dataset: Dataset) -> Split:
        """Return the folds of a set of ``pictures``: its networks' where it is folded."""
        if dataset.name in self.folded:
            return load_split(self.folder.of_folded(dataset.name).split, dataset)
        path = self.folder.of_pictures(dataset.name).split
        self._dealt(dataset, path)
        return load_split(path, dataset)

    def _dealt(self, dataset: Dataset, path: Path) -> dict[str, int]:
        recipe = self.folder.recipe
        if not path.exists():
            save_split(split_of(dataset, recipe.n_folds, recipe.seed), path)
        return dict(load_split(path, dataset).folds)

    def _store(self, dataset: Dataset) -> Store:
        if self.shards is not None:
            from ichor.datasets.shards import open_shards

            return open_shards(self.shards, dataset, self.folder.recipe.store_grid)
        return self._prepared(dataset)

    def _prepared(self, dataset: Dataset) -> Store:
        folder, grid = self.folder.path.parent / "store", self.folder.recipe.store_grid
        return build_store(dataset, grid, folder, lambda line: self.progress(f"data: {line}", 0.0))


def trained_on(split: Mapping[str, int], part: str) -> list[str]:
    """Return the patients of a split that a part trains on."""
    return sorted(patient for patient, fold in split.items() if f"fold-{fold}" != part)

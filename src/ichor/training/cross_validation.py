"""Cross-validation: the folds of a run, what is fitted on their predictions, and the network that ships."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ichor.datasets.splits import train_validation
from ichor.datasets.store import Store
from ichor.detecting.scoring import Prediction
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import prediction_rows, write_predictions
from ichor.preparing.grid import SliceDistances
from ichor.progress import Progress, silent
from ichor.training.backbone_weights import check_backbone_weights
from ichor.training.distilling import distilled
from ichor.training.families.family import INFERENCE_BATCH, FeatureSource, TrainingSlices
from ichor.training.features import FrozenFeatures
from ichor.training.fitting import FitData, Start, fit, load_model
from ichor.training.hardware import Hardware
from ichor.training.plain import label_weights
from ichor.training.predicting import inference_device, predict
from ichor.training.ranks import is_first_process, naming_lost_processes, wait_for_all
from ichor.training.recipe import PlainSampling, load_recipe
from ichor.training.run_data import RunData
from ichor.training.run_folder import ALL, AVERAGED, PREDICTIONS, STACKING, WEIGHTS, RunFolder
from ichor.training.sampling import Batch
from ichor.training.stacking import fit_stacker, read_stacking_inputs

__all__ = ["CrossValidation"]

_MOST_VALIDATION_SLICES = 320


class CrossValidation:
    """Trains the parts of a run, each once.

    Parameters
    ----------
    folder
        The recipe, and where everything goes.
    root
        Folder with one sub-folder a data set.
    start
        Weights to start from; a folder stands for what the run in it ships.
    hardware
        Where to train.
    progress
        Called with the part, what it is at, and the share of the part that is done.
    shards
        As of :class:`~ichor.training.run_data.RunData`.
    """

    def __init__(
        self,
        folder: RunFolder,
        root: Path,
        start: Start | None = None,
        hardware: Hardware | None = None,
        progress: Progress = silent,
        shards: str | None = None,
    ) -> None:
        self.folder, self.recipe = folder, folder.recipe
        self.data = RunData(folder, root, progress, shards)
        self.start = start or Start()
        self.hardware = hardware or Hardware()
        self.progress = progress

    def warm_up(self) -> CrossValidation | None:
        """Return the run that this one starts from, kept beside it; None where its recipe names none.

        Raises
        ------
        UsageError
            Where that run would train on patients that this one is measured on.
        """
        if self.recipe.warm_up is None:
            return None
        # Of a warm-up one network is wanted, of all its patients, whatever its recipe would ship.
        recipe = load_recipe(self.recipe.warm_up).replaced(ships=ALL, sequence=None)
        if self.recipe.target in (recipe.target, *recipe.extra):
            raise UsageError(
                f"recipe {self.recipe.name}: found the warm-up {recipe.name}, which trains on {self.recipe.target}; "
                "expected one on other data: the patients of this set are held out in turn"
            )
        path = self.folder.path
        beside = RunFolder(path.with_name(f"{path.name}-warm-up"), recipe)
        return CrossValidation(
            beside, self.data.root, self.start, self.hardware, self.progress, self.data.shards
        )

    def train(self, part: str) -> None:
        """Train one part, and predict its held-out patients; what is already there is kept."""
        if is_first_process():
            self.folder.keep_recipe()
        if part in (AVERAGED, STACKING):
            if not self.folder.finished(part) and is_first_process():
                (self._average if part == AVERAGED else self._stack)()
            return
        folders = [self.folder, *(self.folder.of_folded(name) for name in self.recipe.folded)]
        if all(folder.predictions(part).exists() for folder in folders) or (
            part == ALL and self.folder.finished(ALL)
        ):
            return
        with naming_lost_processes(self.hardware.world):
            weights = self._fit(part)
            if part != ALL and is_first_process():
                network = load_model(self.recipe, weights).to(inference_device(self.hardware.accelerator))
                self._predict(network, part)
                self._predict_folded(network, part)
            wait_for_all()

    def _fit(self, part: str) -> Path:
        recipe, data = self.recipe, self.data
        if self.start.weights is True and not self.folder.finished(part):
            check_backbone_weights(recipe.model)  # before minutes go into the data
        held_out = data.held_out(part)
        training, watched = set(data.folds) - held_out, held_out
        if recipe.early_stopping:
            # What chooses an epoch may not be what the run is measured on.
            labels = data.target.patients()
            training, watched = train_validation(
                {p: labels[p] for p in training}, recipe.early_stopping.share, recipe.seed
            )
        first, *rest = data.stores
        others = [(store, set(store.patients) - data.held_out_of(store.name, part)) for store in rest]
        slices = TrainingSlices(first, training, others, self._features)
        sampler = recipe.family.sampler(recipe, slices)
        if not self.folder.finished(part):
            sampler = distilled(data, sampler, part, self.hardware.accelerator)
        return fit(
            recipe,
            FitData(
                sampler,
                self._validation(watched),
                self._positive_weight(training),
                streamed=data.shards is not None,
            ),
            self.folder.path / part,
            self._start(),
            self.progress,
            self.hardware,
        )

    def _predict(self, network: nn.Module, part: str) -> None:
        """Write the predictions of the patients that a part did not see."""
        store, target, recipe = self.data.stores[0], self.data.target, self.recipe
        rows: list[dict[str, object]] = []
        for patient in sorted(self.data.held_out(part)):
            inside = store.exam == store.patients.index(patient)
            prediction = self._from_features(network, inside, len(target.slice_labels(patient)))
            if prediction is None:
                rows += predict(network, target, [patient], recipe)
                continue
            places = np.arange(len(prediction.slices), dtype=np.float64)
            distances = SliceDistances(places, places)
            scores = recipe.family.scores(prediction, distances, recipe.family.rules(recipe))
            rows += prediction_rows(target.name, patient, scores, distances)
        write_predictions(self.folder.predictions(part), rows)

    def _predict_folded(self, network: nn.Module, part: str) -> None:
        """Write the predictions of the patients of folded sets that a part did not see."""
        for dataset in self.data.others:
            if dataset.name in self.recipe.folded:
                patients = sorted(self.data.held_out_of(dataset.name, part))
                path = self.folder.of_folded(dataset.name).predictions(part)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_predictions(path, predict(network, dataset, patients, self.recipe))

    def _from_features(
        self, network: nn.Module, inside: NDArray[np.bool_], n_slices: int
    ) -> Prediction | None:
        """Predict from cached features; None without, or where the grid's slices are not the exam's own."""
        if self._features is None or int(inside.sum()) != n_slices:
            return None
        return self._features.predict(network, inside)

    def _stack(self) -> None:
        """Fit the stacking model, for each fold on the others and for what ships on all."""
        recipe = self.recipe.sequence
        if recipe is None:
            raise UsageError(
                f"recipe {self.recipe.name}: found no 'sequence'; expected one to train this part"
            )
        self.folder.require(PREDICTIONS, STACKING)
        inputs, labels = read_stacking_inputs(self.folder.path), self.data.grid_labels()
        state: dict[str, torch.Tensor] = {}
        for number, part in enumerate([*self.folder.folds, ALL]):
            count = self.recipe.n_folds + 1
            self.progress(f"{STACKING} {number}/{count}: heads over the slices, for {part}", number / count)
            names = [p for p in inputs if p in labels and f"fold-{self.data.split[p]}" != part]
            fitted = fit_stacker(
                [inputs[p].logits for p in names], [labels[p] for p in names], recipe, self.recipe.seed
            )
            state |= {f"{part}.{name}": value.contiguous() for name, value in fitted.state_dict().items()}
        self.folder.save_weights(STACKING, state)
        self.data.write_stacked(self.folder.path)

    def _average(self) -> None:
        """Average the weights of the folds' networks."""
        self.folder.require(WEIGHTS, AVERAGED)
        self.progress(f"{AVERAGED}: the mean of the folds' weights", 0.0)
        networks = [load_model(self.recipe, self.folder.weights(part)) for part in self.folder.folds]
        stacks = list(self.data.some_slices(sorted(self.data.folds)))
        averaged = self.recipe.family.average(networks, stacks)
        self.folder.save_weights(AVERAGED, averaged.state_dict())

    @cached_property
    def _features(self) -> FrozenFeatures | None:
        source = FeatureSource(
            self.data.target,
            self.data.stores[0],
            self.folder.path.parent / "features",
            self.start.weights,
            self.hardware.accelerator,
            lambda line: self.progress(f"data: {line}", 0.0),
        )
        return self.recipe.family.cached_features(self.recipe, source)

    def _start(self) -> Start:
        """Where to start from; of a run's folder, what it ships."""
        path = self.start.path
        if path is None or path.is_file():
            return self.start
        if not path.exists():
            raise UsageError(
                f"{path}: found nothing there; expected the folder of a run, or a safetensors file; "
                "check --start-from"
            )
        return Start(self.start.weights, RunFolder.open(path).shipped_weights())

    def _positive_weight(self, patients: set[str]) -> torch.Tensor | None:
        sampling = self.recipe.sampling
        if not isinstance(sampling, PlainSampling) or sampling.balance != "weights":
            return None
        store = self.data.stores[0]
        inside = np.isin(store.exam, [i for i, p in enumerate(store.patients) if p in patients])
        return torch.from_numpy(label_weights(store.labels[inside]))

    def _validation(self, patients: set[str]) -> Sequence[Batch]:
        """Batches of unchanged slices of some patients, at most a few hundred."""
        store, recipe = self.data.stores[0], self.recipe
        exams = [i for i, p in enumerate(store.patients) if p in patients]
        if not exams:
            return []
        groups = [np.flatnonzero(store.exam == e) for e in exams]
        if recipe.sequential:
            kept = groups[:: max(1, sum(map(len, groups)) // _MOST_VALIDATION_SLICES)]
        else:
            every = np.concatenate(groups)
            every = every[:: -(-len(every) // _MOST_VALIDATION_SLICES)]
            kept = np.array_split(every, -(-len(every) // INFERENCE_BATCH))
        return [self._unchanged(store, index) for index in kept]

    def _unchanged(self, store: Store, index: NDArray[np.intp]) -> Batch:
        border = self.recipe.border
        labels = torch.from_numpy(store.labels[index])
        length = len(index) if self.recipe.sequential else 0
        nothing = torch.empty(0)
        if self._features is not None:
            features = torch.from_numpy(self._features.views[0, index].astype(np.float32))
            return Batch(nothing, nothing, labels, length, features)
        rows, columns = self.recipe.preparation.rows, self.recipe.preparation.columns
        inner = np.s_[..., border : border + rows, border : border + columns]
        near = store.neighbours(index, self.recipe.preparation.max_gap_mm)
        hu = store.hu[near].astype(np.float32)[inner]
        return Batch(torch.from_numpy(hu), torch.from_numpy(store.blood[index][inner]), labels, length)

"""A whole run of a recipe: its folds, their out-of-fold predictions, the model on all patients."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split, save_split, split_of, train_validation
from ichor.datasets.store import Store
from ichor.datasets.store_build import build_store
from ichor.detecting.rules import ExamRule, ScoringRules
from ichor.detecting.scoring import Prediction, score
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES
from ichor.models import ClassifierSpec, build_network
from ichor.models.classifier import SliceClassifier
from ichor.preparing import prepare
from ichor.training.features import cached_views, inference_device
from ichor.training.fitting import Hardware, fit, load_model
from ichor.training.plain import PlainSampler, label_weights
from ichor.training.recipe import MixedSampling, PlainSampling, Recipe, load_recipe
from ichor.training.sampling import Batch, MixedSampler, Sampler
from ichor.training.stacking import Together, judged, learn, load_together, read_opinions
from ichor.training.weight_averaging import soup

__all__ = [
    "ALL",
    "SEQUENCE",
    "SOUP",
    "SPLIT",
    "WEIGHTS",
    "Run",
    "predict",
    "read_recipe",
    "write_predictions",
]

ALL = "all"
"""Name of the part of a run that trains on every patient."""
SOUP = "soup"
"""Name of the part of a run that is the mean of its folds' weights."""
SEQUENCE = "sequence"
"""Name of the part of a run that weighs the slices of an exam together, learnt on what the folds said."""
RECIPE = "recipe.yaml"
SPLIT = "split.json"
WEIGHTS = "weights.safetensors"
_MOST_VALIDATION_SLICES = 320
_INFERENCE_BATCH = 16
_SOME_SLICES = 4
Log = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Run:
    """A recipe, the data and a folder for what comes out.

    Attributes
    ----------
    recipe
        What to do.
    data
        Folder with one sub-folder a data set.
    folder
        ``recipe.yaml``, and ``fold-0`` ... and ``all``, each with its weights, log and predictions.
    weights
        ImageNet weights: True for timm's hub, a safetensors file, or None.
    log
        Told the part, the step, the number of steps and a line.
    hardware
        Where to train.
    start_from
        The folder of a run on other data, or a file of weights: training starts from them. From a folder, from
        what that run ships.
    """

    recipe: Recipe
    data: Path
    folder: Path
    weights: bool | Path | None
    log: Log
    hardware: Hardware = field(default_factory=Hardware)
    start_from: Path | None = None

    def warm_up(self) -> Run | None:
        """Return the run that this one starts from, kept beside it; None where its recipe names none.

        Raises
        ------
        UsageError
            Where that run would train on patients that this one is measured on.
        """
        if self.recipe.warm_up is None:
            return None
        # Of a warm-up one network is wanted, of all its patients, whatever its recipe would ship.
        recipe = load_recipe(self.recipe.warm_up).model_copy(update={"ships": ALL, "sequence": None})
        if self.recipe.target in (recipe.target, *recipe.extra):
            raise UsageError(
                f"recipe {self.recipe.name}: found the warm-up {recipe.name}, which trains on {self.recipe.target}; "
                "expected one on other data: the patients of this set are held out in turn"
            )
        return replace(self, recipe=recipe, folder=self.folder.with_name(f"{self.folder.name}-warm-up"))

    def parts(self) -> list[str]:
        """Return the names of the run's parts: the folds, then what ships, the network last."""
        sequence = [SEQUENCE] if self.recipe.sequence else []
        return [*self.folds(), *sequence, self.recipe.ships]

    def known(self, part: str) -> str:
        """Check the name of a part.

        Raises
        ------
        UsageError
            Where the run has none of this name.
        """
        known = dict.fromkeys([*self.parts(), ALL])
        if part not in known:
            raise UsageError(f"part {part!r}: found none of this name; expected one of {', '.join(known)}")
        return part

    def folds(self) -> list[str]:
        """Return the names of the run's folds."""
        return [f"fold-{k}" for k in range(self.recipe.n_folds)]

    def finished(self, part: str) -> bool:
        """Whether a part has its weights."""
        return (self.folder / part / WEIGHTS).exists()

    def train(self, part: str) -> None:
        """Train one part, and predict its held-out patients; what is already there is kept."""
        self._keep_recipe()
        if part in (SOUP, SEQUENCE):
            if not self.finished(part) and os.environ.get("LOCAL_RANK", "0") == "0":
                (self._mix if part == SOUP else self._stack)()
            return
        recipe = self.recipe
        home = self.folder / part
        predictions = home / "predictions.csv"
        if predictions.exists() or (part == ALL and self.finished(ALL)):
            return
        held_out = {p for p, k in self._folds.items() if f"fold-{k}" == part}
        training = set(self._folds) - held_out
        watched = held_out
        if recipe.early_stopping:
            # What chooses an epoch may not be what the run is measured on.
            training, watched = train_validation(
                {p: self._target.patients()[p] for p in training}, recipe.early_stopping.share, recipe.seed
            )
        weights = fit(
            recipe,
            self._sampler(training),
            home,
            self.weights,
            lambda *args: self.log(part, *args),
            validation=self._validation(watched),
            hardware=self.hardware,
            positive_weight=self._positive_weight(training),
            start_from=self._start(),
        )
        if part != ALL and os.environ.get("LOCAL_RANK", "0") == "0":
            network = load_model(recipe, weights)
            network = network.to(inference_device(self.hardware.accelerator))
            rows = self._predict_cached(network, held_out) if recipe.cached_features else None
            write_predictions(predictions, rows or predict(network, self._target, sorted(held_out), recipe))

    def some_slices(self, patients: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """Draw prepared slices ``(n, channels, rows, columns)`` of each of some patients, not always as many."""
        rng = np.random.default_rng(self.recipe.seed)
        for number, patient in enumerate(patients):
            stack = prepare(self._target.load(patient).exam, self.recipe.preparation).stack
            count = min(len(stack), _SOME_SLICES + number % 2)
            yield stack[np.sort(rng.choice(len(stack), count, replace=False))]

    def together(self, part: str) -> Together | None:
        """Read what weighs the slices of an exam beside the network of a part; None where the recipe has no such."""
        if self.recipe.sequence is None:
            return None
        learnt_for = part if part in self.folds() else ALL
        return load_together(self.folder / SEQUENCE / WEIGHTS, learnt_for, self.recipe.sequence)

    def weigh(self, folder: Path) -> None:
        """Judge each exam by what its fold learnt of the others, from the predictions of the folds in a folder.

        Parameters
        ----------
        folder
            This run's, or one with other judgements of the same networks; takes ``sequence/predictions.csv``.
        """
        opinions = read_opinions(folder, self._target)
        by_part = {part: together for part in self.folds() if (together := self.together(part)) is not None}
        weighed = judged(by_part, opinions, {p: f"fold-{k}" for p, k in self._split.items()})
        rows = [
            row for patient, said in weighed for row in _rows(self.recipe.target, patient, {SEQUENCE: said})
        ]
        path = folder / SEQUENCE / "predictions.csv"
        path.parent.mkdir(exist_ok=True)
        write_predictions(path, rows)

    def _stack(self) -> None:
        """Learn, for each fold on the others and for what ships on all, how slices are weighed together."""
        recipe = self.recipe.sequence
        if recipe is None:
            raise UsageError(
                f"recipe {self.recipe.name}: found no 'sequence'; expected one to train this part"
            )
        self._need("predictions.csv", SEQUENCE)
        opinions = read_opinions(self.folder, self._target)
        state: dict[str, torch.Tensor] = {}
        for number, part in enumerate([*self.folds(), ALL]):
            self.log(SEQUENCE, number, self.recipe.n_folds + 1, f"heads over the slices, for {part}")
            names = [p for p in opinions if f"fold-{self._split[p]}" != part]
            labels = [self._target.slice_labels(p) for p in names]
            learnt = learn([opinions[p] for p in names], labels, recipe, self.recipe.seed)
            state |= {f"{part}.{name}": value.contiguous() for name, value in learnt.state_dict().items()}
        self._save(SEQUENCE, state)
        self.weigh(self.folder)

    def _need(self, file: str, part: str) -> None:
        missing = [fold for fold in self.folds() if not (self.folder / fold / file).is_file()]
        if missing:
            raise UsageError(
                f"{self.folder}: found no {file} of {', '.join(missing)}; expected those of all folds, of which part "
                f"{part!r} is made; train them: --parts {','.join(missing)}"
            )

    def _save(self, part: str, state: dict[str, torch.Tensor]) -> None:
        """Write a part's weights; the file is there whole or not at all."""
        path = self.folder / part / WEIGHTS
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def _mix(self) -> None:
        """Make the soup of the folds."""
        self._need(WEIGHTS, SOUP)
        self.log(SOUP, 0, 0, "the mean of the folds' weights")
        networks = [load_model(self.recipe, self.folder / part / WEIGHTS) for part in self.folds()]
        mixed = soup(networks, list(self.some_slices(sorted(self._folds))))
        self._save(SOUP, mixed.state_dict())

    @cached_property
    def _target(self) -> Dataset:
        dataset = open_dataset(self.recipe.target, self.data)
        dataset.patients()  # some data sets know only then what they left out
        for note in dataset.notes:
            self.log("data", 0, 0, f"{dataset.name}: {note}")
        return dataset

    @cached_property
    def _folds(self) -> dict[str, int]:
        """Of the patients that can be trained on."""
        usable = set(self._stores[0].patients)
        return {patient: fold for patient, fold in self._split.items() if patient in usable}

    @cached_property
    def _split(self) -> dict[str, int]:
        """Dealt once a run, and kept beside its recipe."""
        path = self.folder / SPLIT
        if not path.exists():
            save_split(split_of(self._target, self.recipe.n_folds, self.recipe.seed), path)
        return dict(load_split(path, self._target).folds)

    @cached_property
    def _stores(self) -> list[Store]:
        others = [open_dataset(name, self.data) for name in self.recipe.extra]
        return [self._store(dataset) for dataset in (self._target, *others)]

    @cached_property
    def _views(self) -> NDArray[np.float16] | None:
        if not self.recipe.cached_features:
            return None
        preparation = self.recipe.preparation
        torch.manual_seed(self.recipe.seed)
        network = build_network(
            self.recipe.model,
            len(preparation.channels),
            (preparation.rows, preparation.columns),
            self.weights,
        )
        if not isinstance(network, SliceClassifier):
            raise TypeError("cached features are of a classifier's backbone")
        kept = self.folder.parent / "features"
        return cached_views(
            self.recipe,
            network,
            self._target,
            self._stores[0],
            kept,
            lambda line: self.log("data", 0, 0, line),
            self.hardware.accelerator,
        )

    def _keep_recipe(self) -> None:
        """Write what the run is; a folder holds one run."""
        text = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path = self.folder / RECIPE
        self.folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and read_recipe(self.folder) != self.recipe:
            raise UsageError(
                f"{path}: found another recipe than the one asked for; expected the same, to go on; "
                "name another folder with --output"
            )
        path.write_text(text)

    def _sampler(self, patients: set[str]) -> Sampler:
        first, *others = self._stores
        if isinstance(self.recipe.sampling, MixedSampling):
            return MixedSampler(self.recipe, (first, patients), [(s, set(s.patients)) for s in others])
        return PlainSampler(self.recipe, first, patients, self._views)

    def _positive_weight(self, patients: set[str]) -> torch.Tensor | None:
        sampling = self.recipe.sampling
        if not isinstance(sampling, PlainSampling) or sampling.balance != "weights":
            return None
        store = self._stores[0]
        inside = np.isin(store.exam, [i for i, p in enumerate(store.patients) if p in patients])
        return torch.from_numpy(label_weights(store.labels[inside]))

    def _validation(self, patients: set[str]) -> Sequence[Batch]:
        """Batches of unchanged slices of some patients, at most a few hundred."""
        store, recipe = self._stores[0], self.recipe
        exams = [i for i, p in enumerate(store.patients) if p in patients]
        if not exams:
            return []
        groups = [np.flatnonzero(store.exam == e) for e in exams]
        if recipe.sequential:
            kept = groups[:: max(1, sum(map(len, groups)) // _MOST_VALIDATION_SLICES)]
        else:
            every = np.concatenate(groups)
            every = every[:: -(-len(every) // _MOST_VALIDATION_SLICES)]
            kept = np.array_split(every, -(-len(every) // _INFERENCE_BATCH))
        return [self._unchanged(store, index) for index in kept]

    def _unchanged(self, store: Store, index: NDArray[np.intp]) -> Batch:
        border = self.recipe.border
        labels = torch.from_numpy(store.labels[index])
        length = len(index) if self.recipe.sequential else 0
        nothing = torch.empty(0)
        if self._views is not None:
            features = torch.from_numpy(self._views[0, index].astype(np.float32))
            return Batch(nothing, nothing, labels, length, features)
        rows, columns = self.recipe.preparation.rows, self.recipe.preparation.columns
        inner = np.s_[..., border : border + rows, border : border + columns]
        near = store.neighbours(index, self.recipe.preparation.max_gap_mm)
        hu = store.hu[near].astype(np.float32)[inner]
        return Batch(torch.from_numpy(hu), torch.from_numpy(store.blood[index][inner]), labels, length)

    def _start(self) -> Path | None:
        if self.start_from is None or self.start_from.is_file():
            return self.start_from
        if not self.start_from.exists():
            raise UsageError(
                f"{self.start_from}: found nothing there; expected the folder of a run, or a safetensors file; "
                "check --start-from"
            )
        path = self.start_from / read_recipe(self.start_from).ships / WEIGHTS
        if not path.is_file():
            raise UsageError(
                f"{path}: found no file; expected the weights that this run ships; train them: "
                f"--parts {path.parent.name}"
            )
        return path

    def _predict_cached(self, network: nn.Module, patients: set[str]) -> list[dict[str, object]]:
        store, views = self._stores[0], self._views
        rows: list[dict[str, object]] = []
        for number, patient in enumerate(store.patients):
            if patient not in patients or views is None:
                continue
            if int((store.exam == number).sum()) != len(self._target.slice_labels(patient)):
                # Slabs of thin slices: the way back to the slices is that of detection.
                rows += predict(network, self._target, [patient], self.recipe)
                continue
            features = torch.from_numpy(views[0, store.exam == number].astype(np.float32))
            with torch.inference_mode():
                logits = network.head(features.to(_device_of(network))).cpu().numpy()  # type: ignore[operator]
            rows += _rows(self.recipe.target, patient, {"rule": logits})
        return rows

    def _store(self, dataset: Dataset) -> Store:
        spec = self.recipe.preparation.grid
        border = self.recipe.border
        spec = replace(spec, rows=spec.rows + 2 * border, columns=spec.columns + 2 * border, border=border)
        return build_store(
            dataset, spec, self.folder.parent / "store", lambda line: self.log("data", 0, 0, line)
        )


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe that a run's folder keeps."""
    path = Path(folder) / RECIPE
    if not path.is_file():
        raise UsageError(f"{path}: found no file; expected the folder of a run; run ichor train first")
    return Recipe.model_validate(yaml.safe_load(path.read_text()))


def predict(
    network: nn.Module, dataset: Dataset, patients: Iterable[str], recipe: Recipe
) -> Iterator[dict[str, object]]:
    """Judge exams as detection does, slice by slice.

    Parameters
    ----------
    network
        In evaluation mode.
    dataset, patients
        Whom to judge.
    recipe
        Its preparation and slice rule.

    Yields
    ------
    dict
        One row a slice: dataset, patient, slice, and six logits by the slice rule (what detection gives); of
        a map model also of the slice's own map, and of the pooled head. Labels stay with the data set.
    """
    for patient in patients:
        prepared = prepare(dataset.load(patient).exam, recipe.preparation)
        stack = torch.from_numpy(prepared.stack).contiguous(memory_format=torch.channels_last)
        stack = stack.to(_device_of(network))
        with torch.inference_mode():
            parts = [stack[k : k + _INFERENCE_BATCH] for k in range(0, len(stack), _INFERENCE_BATCH)]
            if isinstance(recipe.model, ClassifierSpec):
                features = torch.cat([network.features(p) for p in parts])  # type: ignore[operator]
                logits = {"rule": network.head(features).cpu().numpy()}  # type: ignore[operator]
            else:
                maps, hottest, pooled = (
                    torch.cat(v).cpu().numpy() for v in zip(*map(network, parts), strict=True)
                )
                rules = ScoringRules(recipe.slice_rule, ExamRule(), recipe.preparation.max_gap_mm)
                distances = prepared.transform.slice_distances
                ruled = score(Prediction(maps, hottest, pooled), distances, rules).rule
                logits = {"rule": ruled, "map": hottest, "pooled": pooled}
        native = {name: prepared.transform.grid_values_to_native(values) for name, values in logits.items()}
        yield from _rows(dataset.name, patient, native)


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _rows(dataset: str, patient: str, logits: Mapping[str, NDArray[np.floating]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for k in range(len(next(iter(logits.values())))):
        row: dict[str, object] = {"dataset": dataset, "patient": patient, "slice": k}
        for name, values in logits.items():
            row |= {f"{name}_{n}": f"{float(v):.5f}" for n, v in zip(LABEL_NAMES, values[k], strict=True)}
        rows.append(row)
    return rows


def write_predictions(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write rows of :func:`predict`; the file is there whole or not at all."""
    rows = list(rows)
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.rename(path)

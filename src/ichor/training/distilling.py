"""Distillation: a network learns what a teacher gives for exams without labels, beside the labels of others.

A teacher assesses each exam once, as it is read; its probabilities of slices, and its maps where it draws any, are kept
beside the prepared exams. In training they are soft targets: they move with their slices, and are not smoothed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN
from ichor.datasets.store import Store
from ichor.errors import UsageError
from ichor.training.plain import PlainSampler
from ichor.training.ranks import is_first_process
from ichor.training.recipe import PlainSampling, Recipe
from ichor.training.run_data import RunData
from ichor.training.sampling import Batch, Sampler
from ichor.training.teacher_facts import keep_facts
from ichor.training.teachers import Teacher, open_teacher

__all__ = ["DistilSampler", "TaughtSlices", "distilled", "taught_slices"]

_OWN_DRAW = 1_000_003
"""Of the seed that chooses which places of a batch have no labels."""
_SAME = 1e-6
"""A label whose probability varies less over all slices is one that the teacher does not know."""


@dataclass(frozen=True)
class TaughtSlices:
    """Slices without labels, and what a teacher gives for them.

    Attributes
    ----------
    store
        The slices; its labels are the teacher's probabilities, NaN of labels that it does not know.
    patients
        Whose slices may be drawn.
    folder
        Holds the maps exam by exam; None where there are none.
    """

    store: Store
    patients: set[str]
    folder: Path | None

    def maps(self, index: NDArray[np.intp]) -> torch.Tensor | None:
        """Return ``(len(index), 6, r / 2, c / 2)`` float32, 0..1."""
        if self.folder is None:
            return None
        first = np.searchsorted(self.store.exam, self.store.exam[index])
        rows = [
            np.load(_file(self.folder, int(self.store.exam[i]), "maps"), mmap_mode="r")[i - f]
            for i, f in zip(index, first, strict=True)
        ]
        return torch.from_numpy(np.stack(rows)).float() / 255


class _TaughtSampler(PlainSampler):
    """Slices, or exams in order, as the teacher has them: some with hemorrhage, the others without.

    Parameters
    ----------
    recipe
        Augmentation, seed; its ``distil``.
    taught
        Where they lie.
    length
        Slices of a sequence of the labelled ones; 0 where each stands alone.
    """

    def __init__(self, recipe: Recipe, taught: TaughtSlices, length: int) -> None:
        plain = recipe.replaced(sampling=PlainSampling(length=max(1, length)))
        super().__init__(plain, taught.store, taught.patients)
        self.taught, self.length = taught, length
        self.share = 0.0 if recipe.distil is None else recipe.distil.positive
        most = np.array([np.nan_to_num(self.store.labels[item, 0]).max() for item in self.items])
        self.with_bleeding, self.without = np.flatnonzero(most >= 0.5), np.flatnonzero(most < 0.5)

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """Draw slices whose labels are the teacher's."""
        drawn = super().batch(step, slots)
        return replace(drawn, taught=len(drawn.labels))

    def _draw(self, step: int, slot: int, rng: np.random.Generator) -> int:
        asked = self.with_bleeding if rng.random() < self.share else self.without
        return int(rng.choice(asked if len(asked) else np.arange(len(self.items))))

    def _marks(self, index: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor | None]:
        maps = self.taught.maps(index)
        if maps is None:
            return super()._marks(index)
        # For what is cut away: a strip that would take a bleed along is not.
        bleeds = torch.where(maps[:, 0] >= 0.5, ANY_SUBTYPE, UNKNOWN).to(torch.uint8)
        return bleeds.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2), maps


class DistilSampler:
    """Batches of which some places hold slices without labels, at random; the rest is as without a teacher.

    Parameters
    ----------
    recipe
        Its ``distil``, seed and size of a batch.
    base
        Draws what has labels.
    taught
        What has none.
    """

    def __init__(self, recipe: Recipe, base: Sampler, taught: TaughtSlices) -> None:
        if recipe.distil is None:
            raise TypeError(f"recipe {recipe.name}: has no distil")
        self.recipe, self.base = recipe, base
        self.count = recipe.distil.slices_of(recipe.batch_size)
        self.taught = _TaughtSampler(recipe, taught, getattr(base, "length", 0))
        self.epoch_steps = base.epoch_steps

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """See :meth:`ichor.training.sampling.Sampler.batch`."""
        rng = np.random.default_rng([self.recipe.seed, step, _OWN_DRAW])
        without = set(rng.permutation(self.recipe.batch_size)[: self.count].tolist())
        labelled, unlabelled = ([s for s in slots if (s in without) == those] for those in (False, True))
        if not unlabelled:
            return self.base.batch(step, labelled)
        soft = self.taught.batch(step, unlabelled)
        if not labelled:
            return soft
        own = self.base.batch(step, labelled)
        hu, blood, labels = (
            torch.cat(pair)
            for pair in ((own.hu, soft.hu), (own.blood, soft.blood), (own.labels, soft.labels))
        )
        return Batch(hu, blood, labels, own.length, None, soft.taught, soft.maps)


def distilled(data: RunData, sampler: Sampler, part: str, accelerator: str) -> Sampler:
    """Return what draws a part's batches, with a teacher's slices among them; the sampler itself without a teacher."""
    if data.folder.recipe.distil is None:
        return sampler
    return DistilSampler(data.folder.recipe, sampler, taught_slices(data, part, accelerator))


def taught_slices(data: RunData, part: str, accelerator: str = "cpu") -> TaughtSlices:
    """Let the teacher of a part assess the exams without labels, or open what it gave.

    Parameters
    ----------
    data
        Of the run.
    part
        Patients that it holds out are not among those that may be drawn, whatever they are called: an exam with a
        slice that equals one of theirs is theirs.
    accelerator
        See :func:`ichor.training.teachers.open_teacher`.

    Raises
    ------
    UsageError
        Where the teacher is not there, learned from held-out patients, or assesses none of the exams.
    """
    teacher = open_teacher(data, part, accelerator)
    store = data.unlabelled_store
    folder = data.folder.path.parent / "taught" / f"{store.name}-{_key(data, teacher)}"
    left_out = _assess(data, teacher, folder)
    labels = np.concatenate(
        [np.load(_file(folder, number, "slices")) for number in range(len(store.patients))]
    )
    known = labels[~np.isnan(labels).all(axis=1)]
    if len(known):
        labels[:, known.max(axis=0) - known.min(axis=0) < _SAME] = np.nan
    held_out = _held_out(data, part)
    patients = set(store.patients) - held_out
    seen = np.isin(store.exam, [k for k, patient in enumerate(store.patients) if patient in patients])
    if not (seen & ~np.isnan(labels).all(axis=1)).any():
        raise UsageError(
            f"--unlabelled {data.unlabelled.name}: found {len(store.patients)} exams, of which the teacher refuses "
            f"{left_out} and {part} holds out {len(held_out)}; expected some to learn from; give other exams"
        )
    if is_first_process():
        keep_facts(data, part, teacher.facts, left_out, len(held_out))
    drawn = any(_file(folder, number, "maps").exists() for number in range(len(store.patients)))
    return TaughtSlices(replace(store, labels=labels), patients, folder if drawn else None)


def _assess(data: RunData, teacher: Teacher, folder: Path) -> int:
    """Assess what was not assessed yet, exam by exam, and return how many the teacher refused."""
    from filelock import FileLock

    store, dataset = data.unlabelled_store, data.unlabelled
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        for number, patient in enumerate(store.patients):
            if _file(folder, number, "slices").exists():
                continue
            done = number / len(store.patients)
            data.progress(f"teacher {teacher.facts.name}: exam {number + 1} of {len(store.patients)}", done)
            found = teacher.targets(
                dataset.load(patient).exam,
                data.folder.recipe.store_grid,
                with_maps=data.folder.recipe.family.locates,
            )
            count = int((store.exam == number).sum())
            if found is None:
                _write(folder, number, "slices", np.full((count, store.labels.shape[1]), np.nan, np.float32))
                continue
            if found.maps is not None:
                _write(folder, number, "maps", found.maps)
            _write(folder, number, "slices", found.slices.astype(np.float32))  # last: it is then whole
    slices = [np.load(_file(folder, number, "slices")) for number in range(len(store.patients))]
    return sum(bool(np.isnan(one).all()) for one in slices)


def _held_out(data: RunData, part: str) -> set[str]:
    """Return the exams without labels that are of a patient whom a part holds out: by data set, or by their pixels."""
    others = [data.stores[0], *(s for s in data.stores[1:] if s.name in data.folded)]
    out: set[str] = set()
    digests: set[bytes] = set()
    for store in others:
        held = data.held_out(part) if store is others[0] else data.held_out_of(store.name, part)
        if store.name == data.unlabelled.name:
            out |= held
        inside = np.isin(store.exam, [k for k, patient in enumerate(store.patients) if patient in held])
        digests |= {digest for _, digest in _digests(store, np.flatnonzero(inside))}
    own = data.unlabelled_store
    if digests:
        every = _digests(own, np.arange(len(own.exam)))
        out |= {own.patients[own.exam[index]] for index, digest in every if digest in digests}
    groups = data.unlabelled.groups() or {}
    of_held = {groups.get(patient, patient) for patient in out}
    return {patient for patient in own.patients if groups.get(patient, patient) in of_held}


def _digests(store: Store, index: NDArray[np.intp]) -> list[tuple[int, bytes]]:
    """Hash slices; one that is the same all over is nobody's."""
    out = []
    for i in index.tolist():
        hu = store.hu[np.array([i])]
        if hu.min() < hu.max():
            out.append((i, hashlib.sha256(hu.tobytes()).digest()))
    return out


def _key(data: RunData, teacher: Teacher) -> str:
    """Hash what a teacher's outputs depend on: its weights, the exams, the grid."""
    store = data.unlabelled_store
    with_maps = data.folder.recipe.family.locates
    parts = (
        teacher.facts.sha256,
        with_maps,
        data.folder.recipe.store_grid,
        store.name,
        str(data.unlabelled.root.resolve()),
        store.patients,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _file(folder: Path, number: int, kind: str) -> Path:
    return folder / f"{number:06}.{kind}.npy"


def _write(folder: Path, number: int, kind: str, values: NDArray[Any]) -> None:
    path = _file(folder, number, kind)
    with path.with_suffix(".new").open("wb") as file:
        np.save(file, values)
    path.with_suffix(".new").replace(path)

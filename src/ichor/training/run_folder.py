"""The folder of a run: what lies on disk, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from ichor.errors import UsageError
from ichor.training.recipe import Recipe
from ichor.training.stacking import Stacker, load_stacker

__all__ = [
    "ALL",
    "AVERAGED",
    "PREDICTIONS",
    "RECIPE",
    "SPLIT",
    "STACKING",
    "WEIGHTS",
    "RunFolder",
    "read_recipe",
]

ALL = "all"
"""Name of the part of a run that trains on every patient."""
AVERAGED = "soup"
"""Name of the part of a run that is the mean of its folds' weights."""
STACKING = "sequence"
"""Name of the part of a run that is fitted on its folds' predictions of whole exams."""
RECIPE = "recipe.yaml"
SPLIT = "split.json"
WEIGHTS = "weights.safetensors"
PREDICTIONS = "predictions.csv"
_FOLDED = "folded"
_PICTURES = "pictures"


@dataclass(frozen=True)
class RunFolder:
    """A recipe and a folder for what comes out.

    Attributes
    ----------
    path
        Holds ``recipe.yaml``, ``split.json`` and a folder for each part: ``fold-0`` ... and ``all``, each with its
        weights, log and predictions.
    recipe
        What the run does.
    """

    path: Path
    recipe: Recipe

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the folder of a run by the recipe that it keeps."""
        return cls(path, read_recipe(path))

    @property
    def folds(self) -> list[str]:
        """Names of the run's folds."""
        return [f"fold-{k}" for k in range(self.recipe.n_folds)]

    @property
    def parts(self) -> list[str]:
        """Names of the run's parts: the folds, then what ships, the network last."""
        stacking = [STACKING] if self.recipe.sequence else []
        return [*self.folds, *stacking, self.recipe.ships]

    @property
    def split(self) -> Path:
        """File of the patients' folds."""
        return self.path / SPLIT

    def of_folded(self, name: str) -> RunFolder:
        """Return where the split and the predictions of a folded set of ``extra`` are: laid out as the run is."""
        return RunFolder(self.path / _FOLDED / name, self.recipe)

    def of_pictures(self, name: str) -> RunFolder:
        """Return where predictions of a set's pictures are, read as pictures: laid out as the run is."""
        return RunFolder(self.path / _PICTURES / name, self.recipe)

    def checked(self, part: str) -> str:
        """Check the name of a part.

        Raises
        ------
        UsageError
            Where the run has none of this name.
        """
        known = dict.fromkeys([*self.parts, ALL])
        if part not in known:
            raise UsageError(f"part {part!r}: found none of this name; expected one of {', '.join(known)}")
        return part

    def weights(self, part: str) -> Path:
        """File of a part's weights."""
        return self.path / part / WEIGHTS

    def predictions(self, part: str) -> Path:
        """File of a part's out-of-fold predictions."""
        return self.path / part / PREDICTIONS

    def finished(self, part: str) -> bool:
        """Whether a part has its weights."""
        return self.weights(part).is_file()

    def require(self, file: str, part: str) -> None:
        """See that every fold has a file that a part is made of.

        Raises
        ------
        UsageError
            Naming the folds that lack it.
        """
        missing = [fold for fold in self.folds if not (self.path / fold / file).is_file()]
        if missing:
            raise UsageError(
                f"{self.path}: found no {file} of {', '.join(missing)}; expected those of all folds, of which part "
                f"{part!r} is made; train them: --parts {','.join(missing)}"
            )

    def save_weights(self, part: str, state: Mapping[str, torch.Tensor]) -> None:
        """Write a part's weights; the file is there whole or not at all."""
        path = self.weights(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(state), path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def keep_recipe(self) -> None:
        """Write what the run is; a folder holds one run.

        Raises
        ------
        UsageError
            Where the folder holds a run of another recipe.
        """
        text = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path = self.path / RECIPE
        self.path.mkdir(parents=True, exist_ok=True)
        if path.exists() and read_recipe(self.path) != self.recipe:
            raise UsageError(
                f"{path}: found another recipe than the one asked for; expected the same, to go on; "
                "name another folder with --output"
            )
        path.write_text(text)

    def shipped_weights(self) -> Path:
        """Return the weights that this run ships.

        Raises
        ------
        UsageError
            Where they are not there yet.
        """
        path = self.weights(self.recipe.ships)
        if not path.is_file():
            raise UsageError(
                f"{path}: found no file; expected the weights that this run ships; train them: "
                f"--parts {self.recipe.ships}"
            )
        return path

    def stacker(self, part: str) -> Stacker | None:
        """Read the stacking model that goes with the network of a part; None where the recipe has no such."""
        if self.recipe.sequence is None:
            return None
        fitted_for = part if part in self.folds else ALL
        return load_stacker(self.weights(STACKING), fitted_for, self.recipe.sequence)


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe that a run's folder keeps."""
    path = Path(folder) / RECIPE
    if not path.is_file():
        raise UsageError(f"{path}: found no file; expected the folder of a run; run ichor train first")
    return Recipe.model_validate(yaml.safe_load(path.read_text()))

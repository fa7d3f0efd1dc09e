"""A recipe: everything that makes a training run what it is, in one YAML file."""

from __future__ import annotations

import difflib
import importlib.resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ichor.errors import UsageError
from ichor.preparing import Preparation

__all__ = ["AugmentationRecipe", "ModelRecipe", "Recipe", "SamplingRecipe", "load_recipe", "recipe_names"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecipe(_Strict):
    """The network: see :class:`ichor.models.unet.MapNet`."""

    backbone: str = "tf_efficientnet_lite0"
    widths: tuple[int, int, int, int] = (128, 64, 48, 32)
    hottest: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    pretrained: bool = True


class SliceRuleRecipe(_Strict):
    """How maps make a slice's logit; see :func:`ichor.detecting.aggregate.slice_logits`."""

    weights: tuple[float, ...] = (1.0, 2.0, 3.0, 2.0, 1.0)
    pixels: int = Field(default=16, ge=1)


class SamplingRecipe(_Strict):
    """Share of each kind of slice in a batch; the source alone must not tell the label."""

    target_positive: float = 0.28
    target_negative: float = 0.42
    extra_positive: float = 0.15
    extra_negative: float = 0.15
    paste: float = Field(
        default=0.35, ge=0, le=1, description="negatives of the target set that get a bleed pasted in"
    )


class AugmentationRecipe(_Strict):
    """How far a slice is changed; see :mod:`ichor.training.augment`."""

    rotation_degrees: float = 20.0
    scale: float = 0.16
    stretch: float = 0.05
    shear: float = 0.06
    shift: float = 0.05
    hu_gain: float = 0.06
    hu_offset: float = 4.0
    noise_hu: float = 7.0
    blur: float = 0.2
    clip: float = 0.5
    lone: float = 0.15


class Recipe(_Strict):
    """A whole training run.

    ``target`` is the data set whose patients are folded and on which the run is measured; the patients of
    ``extra`` only ever train.
    """

    name: str
    description: str
    target: str = "ct-ich"
    extra: tuple[str, ...] = ("phe-sich",)
    n_folds: int = Field(default=5, ge=2)
    seed: int = 1
    border: int = Field(default=16, ge=0)
    preparation: Preparation = Preparation()
    model: ModelRecipe = ModelRecipe()
    slice_rule: SliceRuleRecipe = SliceRuleRecipe()
    sampling: SamplingRecipe = SamplingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    batch_size: int = Field(default=16, ge=2)
    steps: int = Field(default=420, ge=1)
    small_steps: int = Field(default=0, ge=0, description="first steps, done at small_scale to save time")
    small_scale: float = Field(default=0.7, gt=0, le=1)
    learning_rate: float = 1e-3
    warmup_steps: int = 30
    weight_decay: float = 0.02
    average_decay: float = Field(default=0.985, ge=0, lt=1, description="of the weights' moving average")
    map_weight: float = 1.0
    checkpoint_steps: int = 50


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    folder = importlib.resources.files("ichor.training") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe of the package by name, or a YAML file.

    Raises
    ------
    UsageError
        Where it does not exist, or has an unknown key (the nearest known one is named) or a wrong value.
    """
    if name_or_path in recipe_names():
        text = (importlib.resources.files("ichor.training") / "recipes" / f"{name_or_path}.yaml").read_text()
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text()
    else:
        raise UsageError(
            f"recipe {name_or_path!r}: found no such file; "
            f"expected a YAML file or one of {', '.join(recipe_names())}"
        )
    try:
        data = yaml.safe_load(text)
        return Recipe.model_validate(data)
    except yaml.YAMLError as error:
        raise UsageError(f"recipe {name_or_path}: found text that is no YAML; {error}") from error
    except ValidationError as error:
        raise UsageError(f"recipe {name_or_path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        *path, key = problem["loc"] or ("the recipe",)
        place = ".".join(map(str, [*path, key]))
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(key), _keys(path), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_keys(path))}"
            parts.append(f"found the unknown key {place!r}; {hint}")
        else:
            parts.append(f"{place}: {problem['msg']}, found {problem.get('input')!r}")
    return "; ".join(parts)


def _keys(path: list[Any]) -> list[str]:
    model: Any = Recipe
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = getattr(field, "annotation", None)
    return list(getattr(model, "model_fields", {}))

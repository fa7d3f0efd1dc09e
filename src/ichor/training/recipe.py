"""A recipe: everything that makes a training run what it is, in one YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from ichor.detecting.rules import ExamRule, SliceRule
from ichor.errors import UsageError
from ichor.models import HeadSpec, MapSpec, ModelSpec
from ichor.preparing import GridSpec, Preparation
from ichor.training.families import family_named
from ichor.training.recipe_files import recipe_names, recipe_text

if TYPE_CHECKING:
    from ichor.training.families.family import ModelFamily

__all__ = [
    "AugmentationRecipe",
    "CachedFeatures",
    "Claim",
    "DistilRecipe",
    "EarlyStopping",
    "MixedSampling",
    "OptimiserRecipe",
    "PlainSampling",
    "Recipe",
    "SequenceRecipe",
    "load_recipe",
    "load_store_grid",
    "recipe_names",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def replaced(self, **changes: Any) -> Self:
        """Return this with some fields changed, checked as a whole."""
        return type(self).model_validate({n: getattr(self, n) for n in type(self).model_fields} | changes)


class MixedSampling(_Strict):
    """Share of each kind of slice in a batch, and pasted bleeds; the source must not tell the label."""

    kind: Literal["mixed"] = "mixed"
    target_positive: float = 0.28
    target_negative: float = 0.42
    extra_positive: float = 0.15
    extra_negative: float = 0.15
    paste: float = Field(
        default=0.35, ge=0, le=1, description="negatives of the target set that get a bleed pasted in"
    )
    simulate: float = Field(
        default=0, ge=0, le=1, description="negatives of any set, not pasted into, that get a simulated bleed"
    )
    distract: float = Field(
        default=0, ge=0, le=1, description="slices that get a bruise of the scalp or calcified spots"
    )
    rims: float = Field(
        default=0, ge=0, le=1, description="slices that get a rim of partial volume along the skull"
    )
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="how often a slice of an extra set is drawn, beside those of the others; 1 by default",
    )


class PlainSampling(_Strict):
    """Slices, or whole exams where the head is sequential, balanced or as they come."""

    kind: Literal["plain"] = "plain"
    balance: Literal["none", "oversample", "weights"] = Field(
        default="none",
        description="oversample: as many draws of each subtype and of none; weights: rare labels weigh more",
    )
    length: int = Field(default=32, ge=1, description="slices of a sequence; longer exams give a part")
    epoch_images: int | None = Field(
        default=None, ge=1, description="slices (or exams) of an epoch; as many as there are by default"
    )


class AugmentationRecipe(_Strict):
    """How far a slice is changed; see :mod:`ichor.training.augment`."""

    rotation_degrees: float = 20.0
    scale: float = 0.16
    stretch: float = 0.05
    shear: float = 0.06
    shift: float = 0.05
    flip: float = Field(default=0.5, ge=0, le=1, description="chance of a left-right mirror")
    flip_vertical: float = Field(default=0.0, ge=0, le=1)
    crop: float = Field(
        default=0.0, ge=0, le=1, description="chance that the field of view ends within the head, at one edge"
    )
    hu_gain: float = 0.06
    hu_offset: float = 4.0
    noise_hu: float = 7.0
    blur: float = 0.2
    clip: float = Field(default=0.5, description="chance that a slice is shown in a window, as a picture is")
    other_window: float = Field(
        default=0.0, ge=0, le=1, description="chance that this window is not the brain's, 0 to 80 HU"
    )
    window_error: float = Field(
        default=0.0,
        ge=0,
        description="of a slice in a window: spread of the logarithm of its width as it is taken",
    )
    window_error_hu: float = Field(default=0.0, ge=0, description="the same, of its level")
    lone: float = Field(default=0.15, description="chance that a slice is shown without its neighbours")


class OptimiserRecipe(_Strict):
    """How weights learn."""

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    backbone_factor: float = Field(default=0.35, gt=0, description="share of the rate for pretrained layers")
    weight_decay: float = Field(default=0.02, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    warmup_steps: int = Field(default=30, ge=0)
    clip: float = Field(default=5.0, gt=0, description="largest norm of a gradient")
    label_smoothing: float = Field(default=0.02, ge=0, lt=0.5)
    map_weight: float = Field(default=1.0, ge=0, description="of the loss of a map model's maps")
    slice_weight: float = Field(
        default=1.0, ge=0, description="of the losses of slices; 0: segmentation only"
    )


class EarlyStopping(_Strict):
    """Stop when the loss on held-back training patients no longer falls; keep the best epoch's weights."""

    patience: int = Field(default=5, ge=1, description="epochs")
    share: float = Field(
        default=0.15, gt=0, lt=0.5, description="of the training patients that are held back"
    )


class CachedFeatures(_Strict):
    """Features of a frozen backbone, computed once for the plain slice and some changed views of it."""

    views: int = Field(default=4, ge=1)


class DistilRecipe(_Strict):
    """A teacher's outputs on exams without labels, learned beside the labels; see :mod:`ichor.training.distilling`."""

    teacher: str = Field(
        default="",
        description="a bundle (name, folder, A+B), or the folder of a run, of which each fold has its own network",
    )
    unlabelled: str = Field(
        default="", description="a folder of studies, or a data set, whose labels are not used"
    )
    share: float = Field(default=0.3, gt=0, lt=1, description="of a batch, slices without labels")
    positive: float = Field(
        default=0.4, ge=0, le=1, description="of those, slices to which the teacher gives any hemorrhage 0.5"
    )
    slice_weight: float = Field(
        default=0.5, ge=0, description="of the loss to the teacher's slices, beside that to labels"
    )
    map_weight: float = Field(default=0.5, ge=0, description="the same, of the teacher's maps")

    def slices_of(self, batch_size: int) -> int:
        """Return how many slices of a batch are without labels: at least one, never all."""
        return min(max(1, round(self.share * batch_size)), batch_size - 1)


class SequenceRecipe(_Strict):
    """Heads over all slices of an exam, stacked with the rule and the pooled head; see :mod:`ichor.training.stacking`.

    They learn on the slices of the model's grid, which are what they predict.
    """

    head: HeadSpec = HeadSpec(kind="lstm", units=(16,), bidirectional=True, dropout=0.2)
    networks: int = Field(default=5, ge=1, description="heads from different seeds, whose mean is taken")
    rule_share: float = Field(default=0.5, ge=0, le=1, description="of the final logit, the rule's")
    pooled_share: float = Field(
        default=0.25, ge=0, le=1, description="the pooled head's; the rest is the heads'"
    )
    steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)

    @model_validator(mode="after")
    def _shares_are_a_whole(self) -> SequenceRecipe:
        if self.rule_share + self.pooled_share > 1:
            raise ValueError("rule_share and pooled_share: expected at most 1 together")
        return self


class Claim(_Strict):
    """What a paper says of its system, and what differs here."""

    paper: str
    says: str
    differs: tuple[str, ...] = ()


def _of_its_kind(value: Any) -> Any:
    """Validate a model by the specification of its family."""
    if not isinstance(value, dict):
        return value
    return family_named(str(value.get("kind"))).spec.model_validate(value)


class Recipe(_Strict):
    """A whole training run.

    ``target`` is the data set whose patients are folded and on which the run is measured; the patients of ``extra``
    only ever train, but those of sets that ``folded`` names are held out in turn, as the target's are.
    """

    name: str
    description: str
    claim: Claim | None = None
    target: str = "ct-ich"
    extra: tuple[str, ...] = ()
    folded: tuple[str, ...] = Field(
        default=(),
        description="sets of extra that are dealt to as many folds, and predicted out of fold, too",
    )
    pictures: tuple[str, ...] = Field(
        default=(),
        description="sets of pictures by which pictures are calibrated and get their threshold: folded ones, and "
        "others that nothing is trained on",
    )
    n_folds: int = Field(default=5, ge=2)
    seed: int = 1
    border: int = Field(default=16, ge=0)
    preparation: Preparation = Preparation()
    model: Annotated[SerializeAsAny[ModelSpec], BeforeValidator(_of_its_kind)] = MapSpec()
    slice_rule: SliceRule = SliceRule()
    exam_rule: ExamRule = ExamRule()
    sampling: Annotated[MixedSampling | PlainSampling, Field(discriminator="kind")] = PlainSampling()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    batch_size: int = Field(default=16, ge=1)
    epochs: int = Field(default=10, ge=1)
    epoch_steps: int | None = Field(
        default=None, ge=1, description="batches of an epoch; by default those of epoch_images"
    )
    small_epochs: int = Field(default=0, ge=0, description="first epochs, done at small_scale to save time")
    small_scale: float = Field(default=0.7, gt=0, le=1)
    average_decay: float = Field(
        default=0.0, ge=0, lt=1, description="of the weights' moving average; 0: none"
    )
    early_stopping: EarlyStopping | None = None
    validate_epochs: int = Field(default=1, ge=1, description="epochs between two looks at held-out slices")
    checkpoint_steps: int = Field(
        default=50, ge=1, description="about so many between checkpoints, at ends of epochs"
    )
    cached_features: CachedFeatures | None = None
    ships: Literal["all", "soup"] = Field(
        default="all",
        description="all: a network trained on all patients; soup: the mean of the weights of the folds' networks",
    )
    sequence: SequenceRecipe | None = Field(
        default=None,
        description="of a map model: heads over the slices of an exam, fitted on its folds' predictions",
    )
    distil: DistilRecipe | None = Field(
        default=None,
        description="exams without labels, from which the networks learn what a teacher gives for them",
    )
    warm_up: str | None = Field(
        default=None,
        description="recipe that is trained first, on all its patients, and whose weights this one starts from",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.preparation.reach > 1:
            raise ValueError(
                f"preparation.channels: found an offset of {self.preparation.reach} places; expected -1, 0 or 1: a "
                "slice is trained on with the one below and the one above"
            )
        if self.distil is not None and (self.cached_features is not None or self.batch_size < 2):
            raise ValueError(
                "distil: expected batches of two or more, and no cached_features: slices without labels have none"
            )
        unknown = set(self.folded) - set(self.extra)
        if unknown:
            raise ValueError(f"folded: found {', '.join(sorted(unknown))}; expected names that extra has")
        weighed = set(self.sampling.weights) if isinstance(self.sampling, MixedSampling) else set()
        if unknown := weighed - set(self.extra):
            found = ", ".join(sorted(unknown))
            raise ValueError(f"sampling.weights: found {found}; expected names that extra has")
        seen = set(self.pictures) & ({self.target, *self.extra} - set(self.folded))
        if seen:
            raise ValueError(
                f"pictures: found {', '.join(sorted(seen))}, which every network learns from; expected folded sets, "
                "or others"
            )
        self.family.check(self)
        return self

    @property
    def family(self) -> ModelFamily:
        """What the kind of its model does otherwise than others."""
        return family_named(self.model.kind)

    @property
    def sequential(self) -> bool:
        """Whether the slices of an exam are predicted together."""
        return self.model.sequential

    @property
    def store_grid(self) -> GridSpec:
        """The grid of prepared slices: the network's, with a border that augmentation moves them over."""
        return _with_border(self.preparation, self.border)


class _OfGrid(BaseModel):
    """What of a recipe makes the grid."""

    preparation: Preparation = Preparation()
    border: int = Field(default=Recipe.model_fields["border"].default, ge=0)


def load_recipe(name_or_path: str, dataset: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe of the package by name, or a YAML file.

    Parameters
    ----------
    name_or_path
        One of :func:`recipe_names`, or a path.
    dataset
        The data set to measure on, instead of the recipe's ``target``. What the recipe says under
        ``for_dataset`` of this data set goes before what it says otherwise.
    settings
        ``key=value`` or ``part.key=value``, read as YAML; they go before everything else.

    Raises
    ------
    UsageError
        Where it does not exist, or has an unknown key (the nearest known one is named) or a wrong value.
    """
    data = _read(name_or_path, dataset, settings)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"recipe {name_or_path}: {_explain(error, data)}") from error


def load_store_grid(name_or_path: str, dataset: str) -> GridSpec:
    """Return :attr:`Recipe.store_grid` of a data set without its model: no torch is needed.

    Parameters
    ----------
    name_or_path
        As for :func:`load_recipe`.
    dataset
        One of the recipe's, or one to train on instead of its target.

    Raises
    ------
    UsageError
        As of :func:`load_recipe`.
    """
    own = _read(name_or_path, None, ())
    if dataset not in (own["target"], *own.get("extra", ())):
        own = _read(name_or_path, dataset, ())
    try:
        found = _OfGrid.model_validate(own)
    except ValidationError as error:
        raise UsageError(f"recipe {name_or_path}: {_explain(error, own)}") from error
    return _with_border(found.preparation, found.border)


def _with_border(preparation: Preparation, border: int) -> GridSpec:
    grid = preparation.grid
    return replace(grid, rows=grid.rows + 2 * border, columns=grid.columns + 2 * border, border=border)


def _read(name_or_path: str, dataset: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """Read a recipe's keys, those for the data set and the settings in their places."""
    if name_or_path in recipe_names():
        text = recipe_text(name_or_path)
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text()
    else:
        near = difflib.get_close_matches(name_or_path, recipe_names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"recipe {name_or_path!r}: found no such file; {hint}"
            f"expected a YAML file or one of {', '.join(recipe_names())}"
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"recipe {name_or_path}: found text that is no YAML; {error}") from error
    if not isinstance(data, dict):
        raise UsageError(
            f"recipe {name_or_path}: found no keys; expected a YAML mapping (docs/how-to/train.md)"
        )
    special = data.pop("for_dataset", None) or {}
    usual = data.get("target") or Recipe.model_fields["target"].default
    target = dataset or usual
    if target != usual:  # what is folded and measured is not beside itself, too
        for key in ("extra", "folded", "pictures"):
            data |= {key: [name for name in data[key] if name != target]} if key in data else {}
        sampling = data.get("sampling")
        if isinstance(sampling, dict) and target in (sampling.get("weights") or {}):
            others = {name: weight for name, weight in sampling["weights"].items() if name != target}
            data |= {"sampling": {**sampling, "weights": others}}
    data = _merged(data, special.get(target, {}) | {"target": target})
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: expected key=value, such as epochs=3")
        change: Any = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            change = {part: change}
        data = _merged(data, change)
    return data


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Put a change over a mapping; mappings within are merged, unless they are of another kind."""
    out = dict(base)
    for key, value in change.items():
        before = out.get(key)
        same_kind = (
            isinstance(before, dict)
            and isinstance(value, dict)
            and value.get("kind") in (None, before.get("kind"))
        )
        out[key] = _merged(dict(before or {}), value) if same_kind else value
    return out


def _explain(error: ValidationError, data: dict[str, Any]) -> str:
    parts = []
    for problem in error.errors():
        *path, key = problem["loc"] or ("the recipe",)
        place = ".".join(map(str, [*path, key]))
        if problem["type"] == "extra_forbidden":
            known = _keys(path, data)
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            parts.append(f"found the unknown key {place!r}; {hint}")
        else:
            parts.append(f"{place}: {problem['msg']}, found {problem.get('input')!r}")
    return "; ".join(parts)


def _keys(path: list[Any], data: dict[str, Any]) -> list[str]:
    """Known keys of the part of a recipe that a path leads to; a union's path holds the kind."""
    models: list[Any] = [Recipe]
    if path[:1] == ["model"]:
        models, path = [family_named(str(data["model"]["kind"])).spec], path[1:]
    for part in path:
        tagged = [m for m in models if _kind(m) == part]
        if tagged:
            models = tagged
            continue
        fields = [m.model_fields[part] for m in models if part in getattr(m, "model_fields", {})]
        models = [m for field in fields for m in (get_args(field.annotation) or (field.annotation,))]
    return [key for m in models for key in getattr(m, "model_fields", {})]


def _kind(model: Any) -> Any:
    field = getattr(model, "model_fields", {}).get("kind")
    return field.default if field else None

"""What a bundle's card says to a person: its limits, where its weights come from, how it was measured."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ichor.datasets.labelled import DatasetInfo
from ichor.datasets.registry import open_dataset
from ichor.detecting.out_of_distribution import TRAITS
from ichor.evaluating.compare import Difference
from ichor.evaluating.failures import failures
from ichor.evaluating.groups import group_figures, groups_of
from ichor.evaluating.predictions import OutOfFold
from ichor.evaluating.robustness import read_robustness
from ichor.models import MapSpec
from ichor.training.recipe import recipe_names
from ichor.training.reliability import calibration_rows
from ichor.training.run import Run

__all__ = ["card_text", "limits_of", "provenance"]


def limits_of(run: Run, oof: OutOfFold, *, int8: bool = False) -> list[str]:
    """Return the limits of use, one sentence or two each: only what is true of this model.

    Parameters
    ----------
    run
        Tells what the model is, and what it learned from.
    oof
        Tells what it was measured on.
    int8
        Whether it computes with 8 bits.
    """
    told = json.loads(_resource("limits.json"))
    recipe = run.recipe
    dataset = open_dataset(recipe.target, run.data)
    described = told["measured"].get(dataset.name) or f"{{n}} {oof.kind} of {dataset.name}"
    measured = f"Measured on {described.format(n=len(oof.exam_labels))}; {told['elsewhere']}"
    locates = isinstance(recipe.model, MapSpec)
    return [
        *told["use"],
        measured,
        *told["images"],
        *told["recipes"].get(recipe.name, []),
        *(told["int8"] if int8 else ()),
        *told["locates" if locates else "judges"],
        *(told["pictures"] if oof.kind == "pictures" else told["sequential"] if recipe.sequential else []),
        told["picture"] + (told["no_volume"] if locates else "."),
    ]


def provenance(info: DatasetInfo) -> dict[str, str]:
    """Return what a bundle says of a data set that it was trained on: licence, citation and a note."""
    return {"licence": info.licence, "citation": info.citation, "note": info.remark}


def card_text(
    manifest: dict[str, Any],
    run: Run,
    oof: OutOfFold,
    part: str,
    difference: float,
    lost: Sequence[Difference] = (),
) -> str:
    """Fill the card's template.

    Parameters
    ----------
    manifest
        What ``bundle.json`` holds.
    run, oof
        Where it comes from.
    part
        Whose weights the graphs hold.
    difference
        Largest one of a logit between torch and ONNX Runtime.
    lost
        Of an 8-bit model: its figures less those of the fp32 one.
    """
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    truth = oof.exam_labels[~np.isnan(oof.exam_labels[:, 0]), 0]
    recipe = run.recipe
    return environment.from_string(_resource("card.md.j2")).render(
        m=manifest,
        recipe=recipe,
        retrain=recipe.name if recipe.name in recipe_names() else "recipe.yaml",
        locates=isinstance(recipe.model, MapSpec),
        pictures=oof.kind == "pictures",
        part=part,
        population=f"{int(truth.sum())} of {len(truth)} {oof.kind}",
        difference=f"{difference:.1e}",
        calibration=calibration_rows(oof),
        robustness=read_robustness(run.folder),
        groups=list(group_figures(oof, groups_of(open_dataset(recipe.target, run.data)))),
        traits=TRAITS,
        lost=lost,
        failures=failures(oof, open_dataset(recipe.target, run.data)),
    )


def _resource(name: str) -> str:
    return (importlib.resources.files("ichor.training") / "release_text" / name).read_text(encoding="utf-8")

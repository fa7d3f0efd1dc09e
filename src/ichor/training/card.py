"""What a bundle's card says to a person: its limits, where its weights come from, how it was measured."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ichor.datasets.labelled import DatasetInfo
from ichor.detecting.manifest import Manifest
from ichor.detecting.out_of_distribution import QUANTITIES
from ichor.errors import UsageError
from ichor.evaluating.compare import Difference
from ichor.evaluating.failures import failures
from ichor.evaluating.groups import group_figures, groups_of
from ichor.evaluating.left_out import read_left_out
from ichor.evaluating.other_sources import read_sources
from ichor.evaluating.predictions import OutOfFold
from ichor.evaluating.robustness import read_robustness
from ichor.training.recipe import recipe_names
from ichor.training.reliability import calibration_rows
from ichor.training.run_data import RunData

if TYPE_CHECKING:
    import jinja2

__all__ = ["CardFacts", "card_text", "limits_of", "provenance", "remeasured_card", "renewed_card"]

_ELSEWHERE = ("elsewhere", "other_sources", "left_out")
"""Keys of the sentences on other sources."""
_MEASURED = (
    "## On sources that it never saw\n",
    "## Each source left out of training in turn\n",
    "## Robustness\n",
)
_AFTER_MEASURED = ("## Subgroups\n", "## Failures\n")
_THRESHOLDS, _AFTER_THRESHOLDS = "## Thresholds\n", "## Operating points\n"


@dataclass(frozen=True)
class CardFacts:
    """What a card says that the manifest does not hold.

    Attributes
    ----------
    part
        Whose weights the graphs hold.
    rounding
        Largest difference of a logit between torch and ONNX Runtime.
    predicted
        Folder with the predictions that were measured, and with what else was measured of them.
    differences
        Of an 8-bit model: its figures less those of the fp32 one.
    """

    part: str
    rounding: float
    predicted: Path
    differences: Sequence[Difference] = ()


def limits_of(data: RunData, oof: OutOfFold, *, int8: bool = False) -> list[str]:
    """Return the limits of use, one sentence or two each: only what is true of this model.

    Parameters
    ----------
    data
        Of the run: what the model is, and what it learned from.
    oof
        What it was measured on.
    int8
        Whether it computes with 8 bits.
    """
    texts = json.loads(_resource("limits.json"))
    recipe, dataset = data.folder.recipe, data.target
    described = texts["measured"].get(dataset.name) or f"{{n}} {oof.kind} of {dataset.name}"
    measured = f"Measured on {described.format(n=len(oof.exam_labels))}; {_elsewhere(data.folder.path)}"
    locates = recipe.family.locates
    return [
        *texts["use"],
        measured,
        *texts["images"],
        *texts["recipes"].get(recipe.name, []),
        *(texts["int8"] if int8 else ()),
        *texts["locates" if locates else "does_not_locate"],
        *(texts["pictures"] if oof.kind == "pictures" else texts["sequential"] if recipe.sequential else []),
        texts["picture"] + (texts["no_volume"] if locates else "."),
    ]


def provenance(info: DatasetInfo) -> dict[str, str]:
    """Return what a bundle says of a data set that it was trained on: licence, citation and a note."""
    return {"licence": info.licence, "citation": info.citation, "note": info.remark}


def card_text(manifest: Manifest, data: RunData, oof: OutOfFold, facts: CardFacts) -> str:
    """Fill the card's template.

    Parameters
    ----------
    manifest
        What ``bundle.json`` holds.
    data, oof
        Where it comes from.
    facts
        What else the card says.
    """
    truth = oof.exam_labels[~np.isnan(oof.exam_labels[:, 0]), 0]
    recipe = data.folder.recipe
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            m=manifest,
            recipe=recipe,
            retrain=recipe.name if recipe.name in recipe_names() else "recipe.yaml",
            locates=manifest.locates,
            pictures=oof.kind == "pictures",
            part=facts.part,
            population=f"{int(truth.sum())} of {len(truth)} {oof.kind}",
            difference=f"{facts.rounding:.1e}",
            calibration=calibration_rows(oof),
            **_measured(facts.predicted, recipe.epochs),
            groups=list(group_figures(oof, groups_of(data.target))),
            quantities=QUANTITIES,
            lost=facts.differences,
            failures=failures(oof, data.target),
        )
    )


def renewed_card(card: str, manifest: Manifest) -> str:
    """Return a card's text with the section on thresholds written again."""
    before, rest = card.split(_THRESHOLDS, 1)
    after = rest.split(_AFTER_THRESHOLDS, 1)[1]
    section = _environment().get_template("thresholds.md.j2").render(m=manifest)
    return before + section + _AFTER_THRESHOLDS + after


def remeasured_card(manifest: Manifest, card: str, folder: Path, epochs: int) -> tuple[tuple[str, ...], str]:
    """Write what a bundle says of measurements in its run's folder again.

    Parameters
    ----------
    manifest, card
        Of a bundle that was made of the run.
    folder
        Of the run: :mod:`~ichor.evaluating.other_sources`, :mod:`~ichor.evaluating.left_out`, and
        :mod:`~ichor.evaluating.robustness` say where in it.
    epochs
        Of the run's recipe.

    Returns
    -------
    limits
        Those of the manifest, the one on other sources as it is now.
    card
        The same, with its sections on other sources, sources left out, and robustness.

    Raises
    ------
    UsageError
        Where the card has no such sections: that of an imported model.
    """
    if _MEASURED[-1] not in card or not any(heading in card for heading in _AFTER_MEASURED):
        raise UsageError(
            f"bundle {manifest.name}, card.md: found no section {_MEASURED[-1].strip()!r}; expected a card that a "
            "release of ichor wrote; make the bundle anew with ichor export"
        )
    texts = json.loads(_resource("limits.json"))
    now = _elsewhere(folder)
    limits = []
    for limit in manifest.limits:
        sentence = next((texts[key] for key in _ELSEWHERE if limit.endswith(texts[key])), "")
        limits.append(limit.removesuffix(sentence) + now if sentence else limit)
        card = card.replace(f"- {limit}\n", f"- {limits[-1]}\n", 1)
    start = min(at for heading in _MEASURED if (at := card.find(heading)) >= 0)
    end = min(at for heading in _AFTER_MEASURED if (at := card.find(heading, start)) >= 0)
    section = _environment().get_template("measured.md.j2").render(**_measured(folder, epochs))
    return tuple(limits), card[:start] + section + "\n" + card[end:]


def _elsewhere(folder: Path) -> str:
    """Say what is known of other sources."""
    measured = (
        "other_sources" if read_sources(folder) else "left_out" if read_left_out(folder) else "elsewhere"
    )
    return str(json.loads(_resource("limits.json"))[measured])


def _measured(folder: Path, epochs: int) -> dict[str, Any]:
    """Read what was measured of a run besides its predictions."""
    return {
        "sources": read_sources(folder),
        "left_out": read_left_out(folder),
        "robustness": read_robustness(folder),
        "epochs": epochs,
    }


def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )


def _resource(name: str) -> str:
    return (importlib.resources.files("ichor.training") / "release_text" / name).read_text(encoding="utf-8")

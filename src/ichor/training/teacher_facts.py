"""What a run keeps of its teacher, and what its bundle has to say of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ichor.detecting.manifest import TrainedOn
from ichor.errors import UsageError
from ichor.training.card import provenance
from ichor.training.run_data import RunData

__all__ = ["Distilled", "TeacherFacts", "keep_facts", "read_distilled"]

_FACTS = "teacher.json"


@dataclass(frozen=True)
class TeacherFacts:
    """Which model taught.

    Attributes
    ----------
    name, version
        Of the bundle, or of the run's recipe and part.
    sha256
        Of its manifest, or of its weights.
    trained_on
        What it is known to have learned from.
    restrictions
        What the terms of that forbid: they hold for whoever learns from it, too.
    """

    name: str
    version: str
    sha256: str
    trained_on: tuple[TrainedOn, ...]
    restrictions: tuple[str, ...]


@dataclass(frozen=True)
class Distilled:
    """What a run's bundle has to say of its teacher.

    Attributes
    ----------
    trained_on
        The exams without labels, and what the teacher learned from.
    restrictions, limits
        As in a bundle.
    """

    trained_on: tuple[TrainedOn, ...] = ()
    restrictions: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def read_distilled(data: RunData) -> Distilled:
    """Read what a finished run keeps of its teacher; nothing of a run without one."""
    if data.folder.recipe.distil is None:
        return Distilled()
    path = data.folder.path / _FACTS
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        raise UsageError(
            f"{path}: found no facts of the teacher; expected what training wrote; train the run's folds"
        ) from None
    name = f"{facts['name']} {facts['version']}"
    through = [
        TrainedOn.model_validate(one | {"note": f"Through its teacher, {name}. {one['note']}".strip()})
        for one in facts["trained_on"]
    ]
    own = TrainedOn.model_validate(facts["unlabelled"])
    limit = (
        f"Learned from {own.exams} exams of {own.name} what {name} gave for them, without labels: its errors may be "
        "handed on. What it learned from is known as far as its manifest names it."
    )
    return Distilled((own, *through), tuple(facts["restrictions"]), (limit,))


def keep_facts(data: RunData, part: str, teacher: TeacherFacts, left_out: int, held_out: int) -> None:
    """Keep what taught each part; another teacher than before would make another run of it."""
    path, dataset, store = data.folder.path / _FACTS, data.unlabelled, data.unlabelled_store
    facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    # A bundle is the same for all parts; of a run each has its own network.
    parts = facts["parts"].values() if not data.taught_by_run else [facts["parts"].get(part, {})]
    if any(one.get("sha256", teacher.sha256) != teacher.sha256 for one in parts):
        raise UsageError(
            f"{path}: found that {part} was taught by another model of the name {teacher.name}; expected the same, to "
            "go on; name another folder with --output"
        )
    row = TrainedOn(
        name=dataset.name,
        exams=len(store.patients) - left_out,
        slices=len(store.exam),
        **provenance(dataset.info),
    )
    own = [f"Learned from {row.name}, which is for {dataset.info.restriction} only."] * bool(
        dataset.info.restriction
    )
    note = f"Without labels, by what the teacher {teacher.name} gave. {row.note}".strip()
    facts |= {
        "name": teacher.name,
        "version": teacher.version if not data.taught_by_run else "of the same fold",
        "trained_on": [one.model_dump() for one in teacher.trained_on],
        "restrictions": [*teacher.restrictions, *own],
        "unlabelled": row.model_copy(update={"note": note}).model_dump(),
    }
    facts["parts"][part] = {"sha256": teacher.sha256, "refused": left_out, "held_out": held_out}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.replace(path)

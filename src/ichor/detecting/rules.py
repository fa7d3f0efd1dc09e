"""The rules by which a network's outputs become scores of slices and of an exam: numbers of the bundle, said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["ExamRule", "ScoringRules", "SliceRule"]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceRule(_Rule):
    """How a slice's logit comes about.

    ``hottest_of_smoothed_map``: see :func:`ichor.detecting.scoring.score`; a graph ``sequence``, where there
    is one, then weighs what this rule, the map slice by slice and the pooled head say of all slices of an exam.
    A slice by itself has no others: there ``pooled_share`` is the pooled head's share of the logit, the map's top
    pixels have the rest. ``graph``: as the graph ``head`` gives it, and the other keys say nothing.
    """

    kind: Literal["hottest_of_smoothed_map", "graph"] = "hottest_of_smoothed_map"
    weights: tuple[float, ...] = (1.0, 2.0, 3.0, 2.0, 1.0)
    pixels: int = Field(default=16, ge=1)
    pooled_share: float = Field(
        default=0.0, ge=0, le=1, description="of the pooled head in the logit of a slice by itself"
    )

    @field_validator("weights")
    @classmethod
    def _has_a_middle(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(weights) % 2 == 0 or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError("expected an odd number of weights, none below 0, not all 0")
        return weights


class ExamRule(_Rule):
    """How slices make an exam's logit: the mean of the ``slices`` most suspicious ones, label by label.

    ``graph``: as the graph ``head`` gives it, and ``slices`` says nothing.
    """

    kind: Literal["mean_of_hottest", "graph"] = "mean_of_hottest"
    slices: int = Field(default=2, ge=1)


@dataclass(frozen=True)
class ScoringRules:
    """All that scoring asks of a bundle, or of the recipe that a bundle will come from.

    Attributes
    ----------
    slice_rule, exam_rule
        As the bundle's manifest holds them.
    max_gap_mm
        No slice farther away than this is a neighbour.
    """

    slice_rule: SliceRule
    exam_rule: ExamRule
    max_gap_mm: float

"""Which series is assessed, forwarded or dropped."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from ichor.node.config import Rule

__all__ = ["Decision", "SeriesFacts", "decide"]


@dataclass(frozen=True)
class SeriesFacts:
    """What rules look at.

    Attributes
    ----------
    called
        Title under which the sender addressed the node; empty for files that came another way.
    station, description, body_part
        Of the series' first file; the study's and the series' descriptions, one after the other.
    is_image
        Whether it may be a CT at all: not a report, a segmentation or another modality's image.
    is_own
        Whether it is a result of ichor's that came back.
    """

    called: str
    station: str = ""
    description: str = ""
    body_part: str = ""
    is_image: bool = True
    is_own: bool = False


@dataclass(frozen=True)
class Decision:
    """What is done with a series.

    Attributes
    ----------
    action
        ``detect``, ``forward`` or ``drop``.
    reason
        A word for counters: ``rule``, ``default``, ``own_result``, ``not_ct`` or ``no_rule``.
    to
        Destination of what is forwarded.
    """

    action: str
    reason: str
    to: str | None = None


def decide(rules: Sequence[Rule], facts: SeriesFacts) -> Decision:
    """Return what is done with a series: the first rule that fits.

    Without any rule, every CT is assessed; with rules, what none of them fits is dropped. Results of ichor's own
    that come back are dropped whatever the rules say, and what is no CT image is never assessed.
    """
    if facts.is_own:
        return Decision("drop", "own_result")
    for rule in rules:
        if not _fits(rule, facts):
            continue
        if rule.action == "detect" and not facts.is_image:
            continue
        return Decision(rule.action, "rule", rule.to)
    if not facts.is_image:
        return Decision("drop", "not_ct")
    return Decision("drop", "no_rule") if rules else Decision("detect", "default")


def _fits(rule: Rule, facts: SeriesFacts) -> bool:
    pairs = (
        (rule.called, facts.called),
        (rule.station, facts.station),
        (rule.description, facts.description),
        (rule.body_part, facts.body_part),
    )
    return all(fnmatch.fnmatchcase(value.strip().upper(), pattern.upper()) for pattern, value in pairs)

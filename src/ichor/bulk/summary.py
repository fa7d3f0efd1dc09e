"""What the rows of an output say together: counts, failures, scores, drift of the inputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ichor.bulk.output import Output
from ichor.detecting.out_of_distribution import QUANTITIES
from ichor.labels import LABEL_NAMES

__all__ = ["BINS", "Drift", "Summary", "summarise"]

BINS = 20
"""Of the histograms of probabilities, from 0 to 1."""
_COLUMNS = (
    "state",
    "code",
    "kind",
    "probabilities",
    "positive",
    "quantities",
    "seconds",
    "bytes",
    "engine",
    "stored",
)


@dataclass(frozen=True)
class Drift:
    """One quantity of the inputs against the reference range of the training exams.

    Attributes
    ----------
    name
        Key of :data:`~ichor.detecting.out_of_distribution.QUANTITIES`.
    n
        Inputs of which it is known.
    low, median, high
        Quantiles of 5, 50 and 95 % of them.
    range
        Both ends of the reference range; None where the bundle has none.
    below, above
        How many lie beyond each end.
    """

    name: str
    n: int
    low: float
    median: float
    high: float
    range: tuple[float, float] | None
    below: int
    above: int

    @property
    def outside(self) -> float:
        """Share of the inputs that lies outside of the range."""
        return (self.below + self.above) / self.n


@dataclass
class Summary:
    """Figures of an output.

    Attributes
    ----------
    states, codes
        Rows by state; refused and failed ones by code.
    engines
        Rows by what ran the model.
    not_stored
        Rows whose DICOM objects could not be stored.
    positive
        Assessed rows that are positive, by label.
    histograms
        Assessed rows by probability, ``BINS`` numbers a label.
    drift
        Of each quantity that is known of some input.
    seconds, bytes
        Of each row.
    """

    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    engines: Counter[str] = field(default_factory=Counter)
    not_stored: int = 0
    positive: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABEL_NAMES, 0))
    histograms: dict[str, list[int]] = field(default_factory=lambda: {n: [0] * BINS for n in LABEL_NAMES})
    drift: list[Drift] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""
        quantiles = (
            [round(float(np.quantile(self.seconds, q)), 2) for q in (0.5, 0.95)] if self.seconds else None
        )
        return {
            "rows": sum(self.states.values()),
            "states": dict(self.states),
            "codes": dict(self.codes.most_common()),
            "engines": dict(self.engines),
            "not_stored": self.not_stored,
            "positive": self.positive,
            "histograms": self.histograms,
            "drift": [vars(d) | {"outside": round(d.outside, 4)} for d in self.drift],
            "seconds_median_and_95": quantiles,
            "bytes": self.bytes,
        }


def summarise(output: Output) -> Summary:
    """Read every row that holds, once.

    Raises
    ------
    UsageError
        Where the folder is no output, or a part cannot be read.
    """
    ranges = output.run().get("reference_ranges") or {}
    found = Summary()
    values: dict[str, list[float]] = {}
    for row in output.rows(_COLUMNS):
        found.states[row["state"]] += 1
        if row["code"]:
            found.codes[row["code"]] += 1
        if row["engine"]:
            found.engines[row["engine"]] += 1
        found.not_stored += row["stored"] is False
        found.seconds.append(row["seconds"])
        found.bytes += row["bytes"] if row["row"] == 0 else 0
        if row["state"] == "assessed":
            for name in LABEL_NAMES:
                found.positive[name] += bool(row["positive"][name])
                p = row["probabilities"][name]
                found.histograms[name][min(int(p * BINS), BINS - 1)] += 1
        for name, value in (row["quantities"] or {}).items():
            if value is not None:
                values.setdefault(name, []).append(value)
    found.drift = [_drift(name, values[name], ranges.get(name)) for name in QUANTITIES if name in values]
    return found


def _drift(name: str, values: list[float], ends: list[float] | None) -> Drift:
    known = np.array(values)
    low, median, high = (round(float(v), 4) for v in np.quantile(known, (0.05, 0.5, 0.95)))
    below = int((known < ends[0]).sum()) if ends else 0
    above = int((known > ends[1]).sum()) if ends else 0
    return Drift(name, len(known), low, median, high, (ends[0], ends[1]) if ends else None, below, above)

"""The picture of docs/results.md: ROC curves, and accuracies beside the papers' and the base rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from ichor.evaluating.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bar", "Curve", "Panel", "draw"]

_DEFAULT = "#c1121f"
_GREYS = ("#0b6e99", "#6b4c9a", "#2a9d53", "#b07d12", "#7a4b2a", "#4d5b6a", "#d2609a", "#1f2a8a")
"""Colours of the recipes, in their order; the default has one of its own."""


@dataclass(frozen=True)
class Curve:
    """Labels and scores ``(n,)`` of one run."""

    name: str
    labels: NDArray[np.floating]
    scores: NDArray[np.floating]
    area: float


@dataclass(frozen=True)
class Bar:
    """Accuracy of one run, and what its paper states; None where it states another figure."""

    name: str
    accuracy: Interval
    claim: float | None


@dataclass(frozen=True)
class Panel:
    """One data set."""

    title: str
    curves: list[Curve]
    bars: list[Bar]
    base_rate: float


def draw(panels: list[Panel], path: Path) -> None:
    """Draw a column for each data set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(panels), figsize=(6.0 * len(panels), 10.0), squeeze=False, dpi=110)
    for column, panel in enumerate(panels):
        _roc(axes[0][column], panel)
        _accuracies(axes[1][column], panel)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _colour(place: int) -> str:
    return _DEFAULT if place == 0 else _GREYS[(place - 1) % len(_GREYS)]


def _roc(axes: Axes, panel: Panel) -> None:
    for place, curve in enumerate(panel.curves):
        false, true, _ = roc_curve(curve.labels, curve.scores)
        label = f"{curve.name}  {curve.area:.3f}"
        axes.plot(false, true, color=_colour(place), linewidth=2.6 if place == 0 else 1.3, label=label)
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    axes.set(title=f"{panel.title}: ROC, out of fold", xlabel="1 - specificity", ylabel="sensitivity")
    axes.set_aspect("equal")
    axes.legend(title="AUC, any hemorrhage", loc="lower right", fontsize=8, title_fontsize=8)


def _accuracies(axes: Axes, panel: Panel) -> None:
    for place, bar in enumerate(panel.bars):
        i = bar.accuracy
        axes.barh(place, i.value, color=_colour(place), alpha=0.75, height=0.62)
        axes.plot([i.low, i.high], [place, place], color="black", linewidth=1.4)
        if bar.claim is not None:
            axes.plot(bar.claim, place, marker="D", color="black", markerfacecolor="white", markersize=7)
    axes.axvline(panel.base_rate, color="black", linestyle="--", linewidth=1.2)
    axes.plot([], [], color="black", linestyle="--", label=f"base rate {panel.base_rate:.3f}")
    axes.plot([], [], color="black", linewidth=1.4, label="95 % interval")
    axes.plot(
        [], [], marker="D", color="black", markerfacecolor="white", linestyle="", label="the paper's accuracy"
    )
    axes.set_yticks(range(len(panel.bars)), [b.name for b in panel.bars])
    axes.invert_yaxis()
    axes.set(title=f"{panel.title}: accuracy, out of fold", xlim=(0.0, 1.0))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=3, fontsize=8, frameon=False)

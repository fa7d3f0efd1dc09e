"""The pictures of docs/results.md and docs/results-by-recipe.md: ROC, accuracies, learning curves, confusion."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from ichor.evaluating.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bar", "Curve", "Details", "Log", "Panel", "draw", "draw_details", "read_log"]

_DEFAULT = "#c1121f"
_GREYS = ("#0b6e99", "#6b4c9a", "#2a9d53", "#b07d12", "#7a4b2a", "#4d5b6a", "#d2609a", "#1f2a8a")
"""Colours of the recipes, in their order; the default has one of its own."""


_FEWEST_BARS = 8


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


@dataclass(frozen=True)
class Log:
    """What a fold's ``log.csv`` says an epoch: ``(n, 2)`` of epoch and value; validation has fewer rows."""

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]


@dataclass(frozen=True)
class Details:
    """One run: a curve a label, ``(2, 2)`` counts by truth and verdict (negative first), and its folds' logs."""

    curves: list[Curve]
    counts: NDArray[np.intp]
    logs: list[Log]


def read_log(path: Path) -> Log:
    """Read a fold's ``log.csv``."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> NDArray[np.float64]:
        values = [(float(r["epoch"]), float(r[name])) for r in rows if r[name]]
        return np.array(values, np.float64).reshape(-1, 2)

    return Log(*map(column, ("train_loss", "train_accuracy", "val_loss", "val_accuracy")))


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


def draw_details(details: Details, path: Path) -> None:
    """Draw loss, accuracy, confusion matrix and ROC of one run, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(16.0, 4.0), dpi=80, layout="constrained")
    _learning(axes[0], [(log.loss, log.validation_loss) for log in details.logs], "loss")
    _learning(axes[1], [(log.accuracy, log.validation_accuracy) for log in details.logs], "accuracy, any")
    _confusion(axes[2], details.counts)
    for place, curve in enumerate(details.curves):
        false, true, _ = roc_curve(curve.labels, curve.scores)
        width = 2.4 if place == 0 else 1.2
        label = f"{curve.name}  {curve.area:.3f}"
        axes[3].plot(false, true, color=_colour(place), linewidth=width, label=label)
    axes[3].plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    axes[3].set(title="ROC, out of fold", xlabel="1 - specificity", ylabel="sensitivity")
    axes[3].legend(title="AUC", loc="lower right", fontsize=8, title_fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _learning(axes: Axes, pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]], name: str) -> None:
    for training, validation in pairs:
        axes.plot(*training.T, color=_GREYS[0], linewidth=0.8, alpha=0.7)
        marker = "o" if len(validation) < 4 else ""
        axes.plot(*validation.T, color=_DEFAULT, linewidth=1.8, alpha=0.8, marker=marker, markersize=3)
    axes.plot([], [], color=_GREYS[0], linewidth=0.8, label="training")
    axes.plot([], [], color=_DEFAULT, linewidth=1.8, label="held back")
    axes.set(title=f"{name}, a line a fold", xlabel="epoch")
    axes.legend(fontsize=8)


def _confusion(axes: Axes, counts: NDArray[np.intp]) -> None:
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (truth, verdict), share in np.ndenumerate(shares):
        axes.text(
            verdict,
            truth,
            f"{counts[truth, verdict]:,}\n{share:.0%}",
            ha="center",
            va="center",
            color="white" if share > 0.6 else "black",
        )
    axes.set_xticks([0, 1], ["not called", "called"])
    axes.set_yticks([0, 1], ["no\nhemorrhage", "hemorrhage"])
    axes.set_title("confusion, out of fold")


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
    axes.set_ylim(max(len(panel.bars), _FEWEST_BARS) - 0.5, -0.5)  # one bar alone is as thin as in the others
    axes.set(title=f"{panel.title}: accuracy, out of fold", xlim=(0.0, 1.0))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=3, fontsize=8, frameon=False)

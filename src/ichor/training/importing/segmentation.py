"""Networks of others that score classes voxel by voxel: their classes as our labels, and their graphs in a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ichor.detecting.sliding_window import SlidingWindow
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES, LABELS
from ichor.training.export import write_graphs
from ichor.training.families.family import Graph
from ichor.training.importing.publication import TOLERANCE, Outputs

__all__ = ["ClassLabels", "WindowGraph", "labels_of", "unknown_labels", "write_volume_graphs"]

_ABSENT = -16.0
_ALIASES = {
    **{word: label.name for label in LABELS for word in (label.name, label.abbreviation.lower())},
    **dict.fromkeys(
        ("hemorrhage", "haemorrhage", "bleed", "bleeding", "blood", "hematoma", "haematoma"), "any"
    ),
    **dict.fromkeys(("extradural",), "epidural"),
    # Subdural or epidural: a hemorrhage, of no single subtype of ours.
    **dict.fromkeys(("eah", "extra-axial", "extraaxial"), "any"),
}
_COMPARED = ((5, 7), (16, 9))
"""Rows and columns on which the graph of the labels is compared."""


def labels_of(path: Path, names: Sequence[str]) -> list[str]:
    """Return for each class the label of ours that it is, or an empty string.

    Raises
    ------
    UsageError
        Where no class is a hemorrhage.
    """
    own = [_ALIASES.get(name.strip().lower(), "") for name in names]
    if not any(own):
        raise UsageError(
            f"{path}: found the labels {', '.join(names)}; expected one that is a hemorrhage: "
            f"{', '.join(sorted(_ALIASES))}; rename the label in {path.name}"
        )
    return own


def unknown_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """Say which of our labels no class stands for, as limits of use."""
    absent = [name for name in LABEL_NAMES[1:] if name not in classes]
    return (f"The model does not know: {', '.join(absent)}. Their scores mean nothing.",) if absent else ()


class ClassLabels(nn.Module):
    """Logits of classes as logits of our labels: of the classes' shares together, exact where they are near 0 or 1.

    Parameters
    ----------
    classes
        For each class the label of ours that it is, or an empty string.
    exclusive
        Whether the classes exclude each other (softmax); else each is scored by itself (sigmoid).
    """

    def __init__(self, classes: Sequence[str], *, exclusive: bool = True) -> None:
        super().__init__()
        of_label = {name: [k for k, own in enumerate(classes) if own == name] for name in LABEL_NAMES}
        of_label["any"] = [k for k, own in enumerate(classes) if own]
        self.places = [of_label[name] for name in LABEL_NAMES]
        self.n_classes = len(classes)
        self.exclusive = exclusive

    def forward(self, logits: Tensor) -> Tensor:
        """Return ``(n, 6, ...)`` of logits ``(n, classes, ...)``."""
        columns = [self._logit(logits, places) for places in self.places]
        return torch.stack(columns, dim=1).clamp(_ABSENT, -_ABSENT)

    def _logit(self, logits: Tensor, places: list[int]) -> Tensor:
        if not places:
            return torch.full_like(logits[:, 0], _ABSENT)
        if not self.exclusive:
            return logits[:, places].amax(dim=1)
        rest = [k for k in range(self.n_classes) if k not in places]
        return torch.logsumexp(logits[:, places], dim=1) - torch.logsumexp(logits[:, rest], dim=1)


class WindowGraph(nn.Module):
    """Networks of the same classes over one window of a volume.

    Parameters
    ----------
    networks
        Whose logits are averaged; with ``shares``, whose softmax is.
    scale, offset
        From our input, 0..1, to what they take.
    shares
        Average shares instead of logits; what is given are then their logarithms.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, networks: Sequence[nn.Module], scale: float, offset: float, *, shares: bool = False
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.shares = shares
        # As tensors: torch's tracer mixes up plain numbers that are equal to others of the network.
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.register_buffer("offset", torch.tensor(offset), persistent=False)

    def forward(self, window: Tensor) -> Tensor:
        """Return ``(n, classes, a, b, c)`` of windows ``(n, channels, a, b, c)``."""
        taken = window * self.scale + self.offset
        found = torch.stack([network(taken) for network in self.networks])
        if not self.shares:
            return found.mean(dim=0)
        return torch.softmax(found, dim=2).mean(dim=0).log()


def write_volume_graphs(
    home: Path, network: WindowGraph, labels: ClassLabels, plan: SlidingWindow
) -> tuple[dict[str, Outputs], str]:
    """Write the graphs of a model of volumes, each compared with the module that it comes from.

    Returns
    -------
    outputs, remark
        As :class:`~ichor.training.importing.publication.Published` wants them of its ``write``.

    Raises
    ------
    BundleError
        Where a graph differs from the network.
    """
    rng = np.random.default_rng(0)
    windows = [rng.random((1, 1, *plan.input_size), np.float32) for _ in range(2)]
    classes = [rng.normal(0, 3, (1, labels.n_classes, *size)).astype(np.float32) for size in _COMPARED]
    graphs = [
        Graph("window", ("window",), ("classes",), network.eval(), torch.from_numpy(windows[0]), traced=True),
        Graph(
            "labels",
            ("classes",),
            ("map",),
            labels.eval(),
            torch.from_numpy(classes[0]),
            traced=True,
            free_axes=(0, 2, 3),
        ),
    ]
    compared = zip(graphs, (windows, classes), strict=True)
    difference = max(write_graphs([graph], home, inputs, TOLERANCE)[1] for graph, inputs in compared)
    remark = f"Between the published network and the graphs a logit differs by {difference:.1e} at most."
    return {graph.name: graph.outputs for graph in graphs}, remark

"""A network that takes a volume window by window, as a model of slices: what it gives are maps of the grid's slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.scoring import Prediction, Stacking
from ichor.detecting.sliding_window import SlidingWindow, slide
from ichor.errors import BundleError
from ichor.labels import LABEL_NAMES
from ichor.preparing.volume_frame import VolumeFrame

if TYPE_CHECKING:
    from ichor.detecting.sessions import Session

__all__ = ["VolumeModel"]

_REMEDY = "bundle.json and the graph do not belong together: get the bundle again"


class VolumeModel:
    """Sessions over the graphs of a model of volumes: classes window by window, then our labels slice by slice.

    Parameters
    ----------
    window
        Open, of the graph ``window``.
    labels
        Open, of the graph ``labels``.
    plan
        How the window goes over a volume.
    frame
        How the network's axes lie.
    """

    stacking: Stacking | None = None

    def __init__(self, window: Session, labels: Session, plan: SlidingWindow, frame: VolumeFrame) -> None:
        self.window = window
        self.labels = labels
        self.plan = plan
        self.frame = frame

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.window.get_providers()[0])

    def predict(self, stack: NDArray[np.float32], near: NDArray[np.bool_] | None = None) -> Prediction:
        """Predict maps and logits of the grid's slices.

        Parameters
        ----------
        stack
            ``(m, channels, rows, columns)`` float32, 0..1: the whole volume.
        near
            Not used: every slice is run.

        Raises
        ------
        BundleError
            Where a graph cannot take its input, or gives something else.
        """
        classes = self.classes(stack)
        maps = np.empty((len(stack), len(LABEL_NAMES), *stack.shape[2:]), np.float32)
        for k in range(
            len(stack)
        ):  # slice by slice: the classes of a whole volume are large enough as they are
            maps[k] = _run(self.labels, ("classes", "map"), classes[None, :, k], maps[k].shape)[0]
        return Prediction(maps, maps.max(axis=(2, 3)))

    def classes(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score the network's own classes.

        Parameters
        ----------
        stack
            As of :meth:`predict`.

        Returns
        -------
        numpy.ndarray
            ``(classes, m, rows, columns)``: the weighted mean of what the windows give.
        """

        def scored(part: NDArray[np.float32]) -> NDArray[np.float32]:
            found = _run(self.window, ("window", "classes"), part[None], (-1, *self.plan.size))
            return np.asarray(found[0])

        volume = self.frame.to_axes(stack.swapaxes(0, 1))
        return np.asarray(self.frame.from_axes(slide(volume, self.plan, scored)), np.float32)


def _run(
    session: Session, names: tuple[str, str], value: NDArray[np.float32], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Run a graph on one input; what it gives has this shape (-1: any number) and is finite."""
    graph = "window" if names[0] == "window" else "labels"
    try:
        found = session.run([names[1]], {names[0]: np.ascontiguousarray(value)})[0]
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise BundleError(
            f"graph {graph!r}: found {type(error).__name__} on an input of shape {value.shape}; expected the bundle's "
            f"own windows; {_REMEDY}, or free memory"
        ) from None
    fits = found.ndim == len(shape) + 1 and len(found) == len(value)
    fits = fits and all(want in (-1, there) for want, there in zip(shape, found.shape[1:], strict=True))
    # NaN lies below every threshold: a silent negative
    if not fits or not np.isfinite(found).all():
        raise BundleError(
            f"graph {graph!r}: found an output of shape {found.shape}, or scores that are no numbers; expected "
            f"{shape} for each of {len(value)}; {_REMEDY}"
        )
    return np.asarray(found, np.float32)

"""What a small network estimates of a picture: its window, whether greys follow one at all, whether it shows a head.

The network ships with the package, whatever bundle detects: ``picture/estimate.json`` names its graph and its hash,
``picture/card.md`` says what it learned from and what was measured.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ichor.detecting.graphs import read_verified
from ichor.detecting.grey_input import network_input
from ichor.detecting.sessions import open_session
from ichor.errors import BundleError
from ichor.exam import Exam, Picture
from ichor.preparing.head import head_boxes
from ichor.preparing.windows import Window

__all__ = ["BRAIN_HU", "EstimateFile", "Estimator", "PictureEstimate", "grey_of", "shared_estimator"]

BRAIN_HU = 33.0
"""The commonest HU of brain: its grey is one of the two numbers that fix a window."""
_FOLDER = Path(__file__).parent / "picture"
_FILE = "estimate.json"
_REMEDY = "install ichor again"
_OUTPUTS = 7
_REFERENCE_WIDTH = 80.0
_SMALLEST, _LARGEST = -5.0, 2.0
"""Between which the network was fitted to give the logarithm of an error."""
_GROUND, _WHITE_GREYS = 0.12, 4
"""Share of the highest grey that is ground, and greys below it that are as white."""
_SHOWN = Window(40, 120)
"""In which a slice with HU is shown to the network."""
_MARGIN = 0.03


class EstimateFile(BaseModel):
    """``estimate.json``: the graph and what was fitted beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = Field(pattern="^ichor.picture/1$")
    file: str = Field(pattern=r"^[a-z0-9_-]+\.onnx$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    error_scale: float = Field(gt=0)
    """By which the network's errors are widened to hold on sources that it did not learn from."""


@dataclass(frozen=True)
class PictureEstimate:
    """What is estimated of one picture.

    Attributes
    ----------
    width
        HU from black to white.
    level
        HU of the middle grey.
    width_error
        Standard deviation of the logarithm of the width.
    error_hu
        Standard deviation of the HU of brain, turned back by this window.
    linear
        Probability that greys are HU through a window: not inverted, no gamma, no curve.
    head
        Probability that this is a slice of a head in CT, at any height.
    brain
        Probability that such a slice shows brain.
    white
        Share of what is no ground that is as white as anything in the picture, as bone is; measured, not estimated.
    """

    width: float
    level: float
    width_error: float
    error_hu: float
    linear: float
    head: float
    brain: float
    white: float


class Estimator:
    """The open network; may be used by several threads at once.

    Parameters
    ----------
    folder
        With ``estimate.json`` and the graph.

    Raises
    ------
    BundleError
        Where a file is missing, broken or altered.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        path = folder / _FILE
        try:
            self.manifest = EstimateFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError) as error:
            raise BundleError(
                f"{path}: found no file of the form ichor.picture/1 ({type(error).__name__}); expected it beside its "
                f"graph; {_REMEDY}"
            ) from None
        graph = folder / self.manifest.file
        content = read_verified(graph, self.manifest.sha256, manifest=_FILE, remedy=_REMEDY)
        self._session = open_session(content, name=str(graph), threads=1)

    def estimate(self, grey: NDArray[np.uint8]) -> PictureEstimate:
        """Estimate what a picture is.

        Parameters
        ----------
        grey
            ``(rows, columns)`` uint8, cut to the head where one was found, bone bright.

        Raises
        ------
        BundleError
            Where the graph gives something else than its form says.
        """
        values = np.asarray(self._session.run(None, {"grey": network_input(grey)[None]})[0], np.float64)
        if values.shape != (1, _OUTPUTS) or not np.isfinite(values).all():
            raise BundleError(
                f"{self.manifest.file}: found an output of shape {values.shape}, or numbers that are none; expected "
                f"{_OUTPUTS} finite ones; {_REMEDY}"
            )
        log_width, place, width_error, place_error, *logits = values[0]
        width = _REFERENCE_WIDTH * math.exp(log_width)
        errors = np.exp(np.clip([width_error, place_error], _SMALLEST, _LARGEST)) * self.manifest.error_scale
        linear, head, brain = (1 / (1 + math.exp(-float(np.clip(v, -30, 30)))) for v in logits)
        return PictureEstimate(
            width=width,
            level=BRAIN_HU + (0.5 - float(place)) * width,
            width_error=float(errors[0]),
            error_hu=float(errors[1]) * width,
            linear=linear,
            head=head,
            brain=brain,
            white=_white_share(grey),
        )


def _white_share(grey: NDArray[np.uint8]) -> float:
    highest = int(grey.max())
    there = grey[grey > _GROUND * highest]
    return float((there >= highest - _WHITE_GREYS).mean()) if there.size else 0.0


@cache
def shared_estimator() -> Estimator:
    """Return the network that ships, opened once."""
    return Estimator()


def grey_of(subject: Exam | Picture) -> NDArray[np.uint8]:
    """Show a single slice as a picture ``(rows, columns)``: its own greys, or a window around its head."""
    if isinstance(subject, Picture):
        return subject.grey
    plane = subject.volume[0]
    box = head_boxes(subject.volume[:1])[0][0]
    if np.isfinite(box).all():
        margin = _MARGIN * max(box[2] - box[0], box[3] - box[1])
        low = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
        high = np.ceil(box[2:] + margin).astype(int)
        plane = plane[low[0] : high[0], low[1] : high[1]]
    return _SHOWN.to_grey(plane)

"""Intensity windows: from Hounsfield units to the range in which a person or a network looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BONE", "BRAIN", "SUBDURAL", "WIDE", "WINDOWS", "Window", "combine", "from_grey"]


@dataclass(frozen=True)
class Window:
    """A linear window: ``level`` HU in its middle, ``width`` HU from black to white."""

    level: float
    width: float

    @property
    def low(self) -> float:
        """HU shown black."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """HU shown white."""
        return self.level + self.width / 2

    def apply(self, hu: ArrayLike) -> NDArray[np.float32]:
        """Map HU of any shape to 0..1, clipped."""
        scaled: NDArray[np.float32] = np.subtract(hu, self.low, dtype=np.float32)
        scaled /= np.float32(self.width)
        return np.asarray(np.clip(scaled, 0, 1, out=scaled))

    def to_grey(self, hu: ArrayLike) -> NDArray[np.uint8]:
        """Map HU of any shape to 0..255, rounded."""
        return (self.apply(hu) * 255 + 0.5).astype(np.uint8)


BRAIN = Window(40, 80)
SUBDURAL = Window(80, 200)
BONE = Window(400, 1800)
WIDE = Window(40, 380)
WINDOWS: dict[str, Window] = {"brain": BRAIN, "subdural": SUBDURAL, "bone": BONE, "wide": WIDE}
"""The named windows. Bone is that of Ko et al. (Xception-LSTM, RSNA 2019)."""


def combine(hu: ArrayLike, windows: tuple[Window, ...]) -> NDArray[np.float32]:
    """Show one array in several windows, as channels.

    Parameters
    ----------
    hu
        ``(..., rows, columns)``.
    windows
        One a channel.

    Returns
    -------
    numpy.ndarray
        ``(..., len(windows), rows, columns)``, 0..1.
    """
    return np.stack([window.apply(hu) for window in windows], axis=-3)


def from_grey(grey: ArrayLike, window: Window = BRAIN) -> NDArray[np.int16]:
    """Undo a window: 0..255 of any shape to HU, as far as the window let through."""
    hu = np.asarray(grey, dtype=np.float32) * np.float32(window.width / 255) + np.float32(window.low)
    return np.asarray(np.rint(hu), dtype=np.int16)

"""Preparing: windows, head crop, the model's grid, slice stacks; the same for training and detection."""

from ichor.preparing.grid import GridSpec, GridTransform, plan_grid
from ichor.preparing.stacks import Channel, Preparation, Prepared, prepare
from ichor.preparing.windows import BONE, BRAIN, SUBDURAL, WIDE, WINDOWS, Window

__all__ = [
    "BONE",
    "BRAIN",
    "SUBDURAL",
    "WIDE",
    "WINDOWS",
    "Channel",
    "GridSpec",
    "GridTransform",
    "Preparation",
    "Prepared",
    "Window",
    "plan_grid",
    "prepare",
]

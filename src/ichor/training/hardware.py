"""On what to train."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Hardware", "is_bf16_fast"]


@dataclass(frozen=True)
class Hardware:
    """On what to train.

    Attributes
    ----------
    accelerator
        ``auto``, ``cpu`` or ``gpu``.
    devices, nodes
        Processes a machine (GPUs, or CPU processes) and machines; a batch is shared by all of them.
    precision
        ``auto`` (bf16 on a GPU, and on a CPU that has instructions for it; else 32), ``32`` or ``bf16``.
    workers
        Processes that draw batches, each process's own.
    threads
        Of a CPU; 0 for all cores.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    workers: int = 1
    threads: int = 0

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes


def is_bf16_fast(accelerator: str) -> bool:
    """Tell whether the GPU or the processor has instructions for bf16: without them fp32 is faster.

    Parameters
    ----------
    accelerator
        As :class:`Hardware` has it.

    Returns
    -------
    bool
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return True
    return any(
        there for name, there in getattr(torch.cpu, "get_capabilities", dict)().items() if "bf16" in name
    )

"""Which of the processes that share a batch this one is: one of them writes, the others wait."""

from __future__ import annotations

import os

import torch.distributed as dist

__all__ = ["is_first_process", "wait_for_all"]


def is_first_process() -> bool:
    """Whether this process is the one of global rank 0, or alone.

    Before the processes know each other, their launchers say: torchrun sets ``RANK``; Lightning's own launcher sets
    ``NODE_RANK`` and ``LOCAL_RANK``.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    ranks = ("RANK",) if "RANK" in os.environ else ("GROUP_RANK", "NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def wait_for_all() -> None:
    """Wait until every process of this run is here; nothing where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()

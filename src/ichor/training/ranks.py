"""Which of the processes that share a batch this one is: one of them writes, the others wait."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch.distributed as dist

from ichor.errors import IchorError

__all__ = ["is_first_process", "naming_lost_processes", "wait_for_all"]


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


@contextlib.contextmanager
def naming_lost_processes(world: int) -> Iterator[None]:
    """Say in a sentence that a process went away, where one of several waits for it in vain.

    Parameters
    ----------
    world
        Number of processes that share a batch.

    Raises
    ------
    IchorError
        In place of the error of the library that carries their messages.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo has no class of its own for a connection that ends.
        if world == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise IchorError(
            f"training: found a process or machine gone, of {world} that share a batch; expected all to the end; "
            "start the same command on every machine again: it goes on from the last checkpoint"
        ) from error

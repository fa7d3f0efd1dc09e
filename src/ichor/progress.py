"""How work says how far it is: one type for detecting, preparing data, exploring and training."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent", "within"]


class Progress(Protocol):
    """Called now and then by what takes long. It must return at once, and must not raise."""

    def __call__(self, doing: str, done: float, /) -> None:
        """Show what is being done.

        Parameters
        ----------
        doing
            In a few words, without anything of a patient.
        done
            Share that is done, 0 to 1.
        """


def silent(doing: str, done: float, /) -> None:
    """Show nothing: what stands where no progress is asked for."""


def within(progress: Progress, before: float, share: float) -> Progress:
    """Make the progress of a part: it fills a ``share`` of the whole, after what was done ``before``."""
    return lambda doing, done: progress(doing, before + share * done)

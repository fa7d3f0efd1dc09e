"""What one reading is about: the input, what was asked of it, and what may be spent on it."""

from __future__ import annotations

from dataclasses import dataclass

from ichor.errors import RefusedInput
from ichor.reading.limits import Deadline, Limits

__all__ = ["ReadContext"]


@dataclass(frozen=True)
class ReadContext:
    """One reading of one input, handed to whatever takes part in it.

    Attributes
    ----------
    source
        The input as the user named it.
    limits, deadline
        What may be spent.
    series
        Series instance UID (as stored, or hashed) to take instead of choosing; None to choose.
    single_file
        The user named one file itself: a single slice is then assessed alone.
    """

    source: str
    limits: Limits
    deadline: Deadline
    series: str | None = None
    single_file: bool = False

    @classmethod
    def begin(
        cls,
        source: str,
        limits: Limits | None = None,
        *,
        series: str | None = None,
        single_file: bool = False,
    ) -> ReadContext:
        """Start the clock of a reading.

        Parameters
        ----------
        source, series, single_file
            As the attributes.
        limits
            By default :meth:`Limits.from_environment`.
        """
        bounds = limits or Limits.from_environment()
        return cls(source, bounds, Deadline(bounds, source), series, single_file)

    def check_time(self) -> None:
        """Raise :class:`~ichor.errors.RefusedInput` (``limit_exceeded``) when the time is over."""
        self.deadline.check()

    def refuse(self, limit: str, found: str) -> RefusedInput:
        """Make the refusal of the whole input for a limit that was passed."""
        return self.limits.refuse(self.source, limit, found)

"""What ichor says when it cannot go on: always the file, what was found, what was expected, what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

from ichor.notices import Notice
from ichor.uids import hashed_uid

__all__ = ["BundleError", "IchorError", "RefusedInput", "UsageError"]


class IchorError(Exception):
    """Base of every error that ichor raises on purpose."""


class UsageError(IchorError):
    """The call or the command line is wrong; the command exits with 2."""


class BundleError(IchorError):
    """A model bundle cannot be used (missing, altered, of an unknown format)."""


class RefusedInput(IchorError):
    """An input cannot be assessed; other inputs go on and the command exits with 3.

    Parameters
    ----------
    source
        The input as the user named it; inside an archive, ``archive.zip:entry``.
    code
        A code of :mod:`ichor.notices` whose decision is ``refuse``.
    found, expected, remedy
        Three short clauses, without a patient's name, identifier or date in them.
    notices
        What else was noticed before the refusal.

    Attributes
    ----------
    study_uid, series_uid
        Original UIDs of the study and the series concerned, where :meth:`with_context` gave them; empty where
        unknown or none. They leave ichor only hashed, unless the user asks.
    """

    def __init__(
        self,
        source: str,
        code: str,
        *,
        found: str,
        expected: str,
        remedy: str,
        notices: tuple[Notice, ...] = (),
    ) -> None:
        super().__init__(source, code)
        self.source = source
        self.code = code
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.notices = notices
        self.study_uid = ""
        self.series_uid = ""

    def with_context(
        self,
        *,
        notices: tuple[Notice, ...] | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
    ) -> RefusedInput:
        """Make the same refusal with more that is known of the input.

        Parameters
        ----------
        notices, study_uid, series_uid
            What takes the place of the present values; None leaves them.
        """
        other = RefusedInput(
            self.source,
            self.code,
            found=self.found,
            expected=self.expected,
            remedy=self.remedy,
            notices=self.notices if notices is None else notices,
        )
        other.study_uid = self.study_uid if study_uid is None else study_uid
        other.series_uid = self.series_uid if series_uid is None else series_uid
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments, so that a refusal crosses from one process to another."""
        made = partial(
            RefusedInput, self.source, self.code, found=self.found, expected=self.expected, remedy=self.remedy
        )
        return made, (), vars(self)

    def __str__(self) -> str:
        """Name the file, what was found, what was expected and what to do."""
        return f"{self.source}: found {self._found}; expected {self.expected}; {self.remedy} [{self.code}]"

    @property
    def sentence(self) -> str:
        """The message without the name of the file."""
        return f"Found {self._found}; expected {self.expected}; {self.remedy}."

    @property
    def _found(self) -> str:
        """What was found, and in which series, by the UID that ``--series`` takes."""
        uid = hashed_uid(self.series_uid)
        return f"{self.found} (series {uid})" if uid and uid not in self.remedy else self.found

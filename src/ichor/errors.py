"""What ichor says when it cannot go on: always the file, what was found, what was expected, what to do."""

from __future__ import annotations

from ichor.notices import Notice

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
    study_uid
        Original UID of the study concerned; empty where it is unknown or there is none.
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
        study_uid: str = "",
    ) -> None:
        self.source = source
        self.code = code
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.notices = notices
        self.study_uid = study_uid
        super().__init__(f"{source}: found {found}; expected {expected}; {remedy} [{code}]")

    @property
    def sentence(self) -> str:
        """The message without the name of the file."""
        return f"Found {self.found}; expected {self.expected}; {self.remedy}."

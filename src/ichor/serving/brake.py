"""A brake on guessing tokens and passwords: each guess is counted before it is checked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Container

__all__ = ["Brake", "Guess", "TooManyGuesses"]

_MOST, _WITHIN_S = 8, 60.0
_MOST_KEYS = 10_000


class TooManyGuesses(Exception):
    """An address has guessed too often.

    Parameters
    ----------
    wait_s
        Seconds until its next guess is heard.
    """

    def __init__(self, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__(f"wait {wait_s} s")


Guess = tuple[tuple[str, str], float]
"""Address and user that a guess is counted for, and when it was made."""


class Brake:
    """Counts guesses by address and user, so that nobody is locked out by guesses from elsewhere or at others.

    Parameters
    ----------
    users
        Names that exist; guesses at all other names of one address are counted together.
    """

    def __init__(self, users: Container[str]) -> None:
        self._users = users
        self._guesses: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, address: str, user: str | None) -> Guess:
        """Count a guess, before it is checked: of many at once, no more than the allowed are heard.

        Parameters
        ----------
        address
            Where it comes from.
        user
            Who it is for; None for the token.

        Raises
        ------
        TooManyGuesses
            Where there were too many of late.
        """
        key = (address, "token" if user is None else f"user {user}" if user in self._users else "nobody")
        now = time.monotonic()
        with self._lock:
            guesses = self._guesses.setdefault(key, deque())
            self._guesses.move_to_end(key)
            while guesses and now - guesses[0] > _WITHIN_S:
                guesses.popleft()
            if len(guesses) >= _MOST:
                raise TooManyGuesses(int(_WITHIN_S - (now - guesses[0])) + 1)
            guesses.append(now)
            while len(self._guesses) > _MOST_KEYS:
                self._guesses.popitem(last=False)
        return key, now

    def take_back(self, guess: Guess) -> None:
        """Do not count a guess that was right."""
        key, at = guess
        with self._lock:
            guesses = self._guesses.get(key)
            if guesses is not None and at in guesses:
                guesses.remove(at)

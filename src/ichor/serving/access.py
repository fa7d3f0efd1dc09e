"""Who may come in: tokens, users, and sessions bound to them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
import unicodedata
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.tables import Session
from ichor.serving.brake import Brake
from ichor.serving.passwords import hash_password, password_fits
from ichor.serving.settings import Settings

__all__ = ["COOKIE", "Access", "Person"]

COOKIE = "ichor_session"
_LASTS_S = 12 * 3600.0
_MOST_HASHING = 2
"""Passwords checked at a time: each takes memory, and a core."""


@dataclass(frozen=True)
class Person:
    """Whoever made a request.

    Attributes
    ----------
    name
        Of a user; empty for the bearer of the token, or where nobody is asked.
    """

    name: str = ""


class Access:
    """Checks what requests show.

    Parameters
    ----------
    settings
        Of the server.
    database
        Keeps sessions over a restart, by their hash.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.brake = Brake(settings.users)
        self._sessions: dict[str, tuple[str, float]] = {}
        self._hashing = threading.Semaphore(_MOST_HASHING)
        self._decoy = hash_password(secrets.token_hex(16)) if settings.users else ""

    def load(self) -> None:
        """Read the sessions that are still good; forget those whose token or password is no longer the present one."""
        with self.database.write() as session:
            for row in session.scalars(select(Session)).all():
                present = self._credential(row.user)
                if row.expires > time.time() and present is not None and row.credential == present:
                    self._sessions[row.hash] = (row.user, row.expires)
                else:
                    session.delete(row)

    def person(self, bearer: str | None, cookie: str | None) -> Person | None:
        """Tell who a request comes from; None where it shows nothing that counts."""
        if not self.settings.guarded:
            return Person()
        if bearer is not None and self._is_token(bearer):
            return Person()
        for shown in (bearer, cookie):
            known = self._sessions.get(_hash(shown)) if shown else None
            if known and known[1] > time.time():
                return Person(known[0])
        return None

    def login(
        self, address: str, token: str | None, user: str | None, password: str | None
    ) -> tuple[Person, str] | None:
        """Check what somebody shows; return who it is and the cookie's value, or None.

        Raises
        ------
        TooManyGuesses
            Where the address has guessed too often at this user; then nothing is checked.
        """
        guess = self.brake.count(address, user if token is None else None)
        person = self._checked(token, user, password)
        credential = None if person is None else self._credential(person.name)
        if person is None or credential is None:
            return None
        self.brake.take_back(guess)
        value = secrets.token_urlsafe(32)
        expires = time.time() + _LASTS_S
        row = Session(hash=_hash(value), user=person.name, credential=credential, expires=expires)
        with self.database.write() as session:
            session.add(row)
        self._sessions[_hash(value)] = (person.name, expires)
        return person, value

    def logout(self, cookie: str | None) -> None:
        """Forget a session."""
        if not cookie:
            return
        self._sessions.pop(_hash(cookie), None)
        with self.database.write() as session:
            session.execute(delete(Session).where(col(Session.hash) == _hash(cookie)))

    @property
    def lasts_s(self) -> int:
        """Seconds that a login lasts."""
        return int(_LASTS_S)

    def _checked(self, token: str | None, user: str | None, password: str | None) -> Person | None:
        if token is not None:
            return Person() if self._is_token(token) else None
        if user is None or password is None or not self.settings.users:
            return None
        # A name that nobody has takes as long as a wrong password.
        hashed = self.settings.users.get(user, self._decoy)
        with self._hashing:
            fits = password_fits(password, hashed)
        return Person(user) if fits and user in self.settings.users else None

    def _credential(self, user: str) -> str | None:
        """Hash what lets a user in at present, or without a name the bearer of the token; None for nothing."""
        present = self.settings.users.get(user) if user else self.settings.token
        return None if present is None else _hash(f"{user}:{present}")

    def is_users_name(self, name: str) -> bool:
        """Tell whether a name is a user's, or looks like it."""
        return _plain(name) in {_plain(user) for user in self.settings.users}

    def _is_token(self, shown: str) -> bool:
        token = self.settings.token
        return token is not None and hmac.compare_digest(
            shown.encode("utf-8", "surrogatepass"), token.encode("utf-8")
        )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()

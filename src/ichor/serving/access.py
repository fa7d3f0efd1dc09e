"""Who may come in: tokens, users, sessions; and a brake on guessing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlmodel import col

from ichor.jobs.database import Database
from ichor.jobs.tables import Session
from ichor.serving.passwords import hash_password, password_fits
from ichor.serving.settings import Settings

__all__ = ["COOKIE", "Access", "Person"]

COOKIE = "ichor_session"
_LASTS_S = 12 * 3600.0
_MOST_FAILURES, _WITHIN_S = 8, 60.0
_MOST_ADDRESSES = 10_000
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
        self._sessions: dict[str, tuple[str, float]] = {}
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()
        self._hashing = threading.Semaphore(_MOST_HASHING)
        self._decoy = hash_password(secrets.token_hex(16)) if settings.users else ""

    def load(self) -> None:
        """Read the sessions that are still good."""
        with self.database.write() as session:
            session.execute(delete(Session).where(col(Session.expires) < time.time()))
            for row in session.scalars(select(Session)).all():
                if not row.user or row.user in self.settings.users:
                    self._sessions[row.hash] = (row.user, row.expires)

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
        """Check what somebody shows; return who it is and the cookie's value, or None."""
        person = self._who(token, user, password)
        if person is None:
            with self._lock:
                self._failures.setdefault(address, deque(maxlen=_MOST_FAILURES)).append(time.monotonic())
                self._failures.move_to_end(address)
                if len(self._failures) > _MOST_ADDRESSES:
                    self._failures.popitem(last=False)
            return None
        value = secrets.token_urlsafe(32)
        row = Session(hash=_hash(value), user=person.name, expires=time.time() + _LASTS_S)
        with self.database.write() as session:
            session.add(row)
        self._sessions[row.hash] = (person.name, row.expires)
        return person, value

    def logout(self, cookie: str | None) -> None:
        """Forget a session."""
        if not cookie:
            return
        self._sessions.pop(_hash(cookie), None)
        with self.database.write() as session:
            session.execute(delete(Session).where(col(Session.hash) == _hash(cookie)))

    def wait_s(self, address: str) -> int:
        """Seconds until the next guess from an address is heard; 0 for now."""
        now = time.monotonic()
        with self._lock:
            failures = self._failures.get(address)
            if failures is None or len(failures) < _MOST_FAILURES or now - failures[0] > _WITHIN_S:
                return 0
            return int(_WITHIN_S - (now - failures[0])) + 1

    @property
    def lasts_s(self) -> int:
        """Seconds that a login lasts."""
        return int(_LASTS_S)

    def _who(self, token: str | None, user: str | None, password: str | None) -> Person | None:
        if token is not None:
            return Person() if self._is_token(token) else None
        if user is None or password is None or not self.settings.users:
            return None
        # A name that nobody has takes as long as a wrong password.
        hashed = self.settings.users.get(user, self._decoy)
        with self._hashing:
            fits = password_fits(password, hashed)
        return Person(user) if fits and user in self.settings.users else None

    def _is_token(self, shown: str) -> bool:
        token = self.settings.token
        return token is not None and hmac.compare_digest(
            shown.encode("utf-8", "surrogatepass"), token.encode("utf-8")
        )


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()

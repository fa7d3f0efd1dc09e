"""Tokens and password hashes: read from files, compared in constant time, never logged."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from pathlib import Path

from ichor.errors import UsageError

__all__ = ["check_name", "hash_password", "password_fits", "read_token", "read_users"]

_N, _R, _P = 1 << 14, 8, 1
"""scrypt's cost: 16 MB and some 50 ms a guess."""
_LEAST_TOKEN = 16
_NAME = re.compile(r"[\w.@+-]{1,80}")
_MAX_BYTES = 1_000_000


def hash_password(password: str) -> str:
    """Hash a password with a new salt: ``scrypt$SALT$HASH``, both in base64."""
    salt = os.urandom(16)
    return f"scrypt${_text(salt)}${_text(_scrypt(password, salt))}"


def password_fits(password: str, hashed: str) -> bool:
    """Tell whether a password is the one that was hashed."""
    _, salt, digest = hashed.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(digest))


def read_token(path: Path) -> str:
    """Read a token: the first line of a file.

    Raises
    ------
    UsageError
        Where there is none, or a short one.
    """
    lines = _read(path, "--token-file").splitlines()
    token = lines[0].strip() if lines else ""
    if len(token) < _LEAST_TOKEN or not token.isascii():
        raise UsageError(
            f"--token-file {path}: found a token of {len(token)} characters; expected at least {_LEAST_TOKEN} of "
            "ASCII; make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token


def read_users(path: Path) -> dict[str, str]:
    """Read users: a line ``name:scrypt$SALT$HASH`` each, as ``ichor serve --make-user NAME`` prints it.

    Raises
    ------
    UsageError
        Naming the line, where one is of another form.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(_read(path, "--users").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, hashed = line.strip().partition(":")
        if not _NAME.fullmatch(name) or not _is_hash(hashed) or name in users:
            raise UsageError(
                f"--users {path}, line {number}: found no user, or one that was there before; expected "
                "NAME:scrypt$SALT$HASH; print such a line with: ichor serve --make-user NAME"
            )
        users[name] = hashed
    if not users:
        raise UsageError(
            f"--users {path}: found no user; expected one a line; see ichor serve --make-user NAME"
        )
    return users


def check_name(name: str) -> str:
    """Return a user's name, if it can be one.

    Raises
    ------
    UsageError
        Otherwise.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"user {name!r}: expected letters, digits and . _ @ + -, at most 80")
    return name


def _read(path: Path, option: str) -> str:
    try:
        if path.stat().st_size <= _MAX_BYTES:
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{option} {path}: found no text that can be read ({type(error).__name__}); expected some; check the path"
        ) from None
    raise UsageError(
        f"{option} {path}: found a file of more than {_MAX_BYTES:,} bytes; expected a short text"
    )


def _is_hash(text: str) -> bool:
    kind, _, rest = text.partition("$")
    salt, _, digest = rest.partition("$")
    try:
        return (
            kind == "scrypt"
            and len(base64.b64decode(salt, validate=True)) >= 8
            and len(base64.b64decode(digest, validate=True)) == 32
        )
    except (binascii.Error, ValueError):
        return False


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=_N, r=_R, p=_P, dklen=32)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()

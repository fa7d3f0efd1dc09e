"""Codes by which people know studies apart, without a name of anyone."""

from __future__ import annotations

import hashlib

__all__ = ["short_label"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing that is taken for something else when it is read out."""


def short_label(secret: str) -> str:
    """Make eight letters and digits from an id, by which people know studies apart: ``7F3A-K2QX``."""
    number = int(hashlib.sha256(secret.encode()).hexdigest()[:10], 16)
    letters = "".join(_ALPHABET[(number >> 5 * k) & 31] for k in range(8))
    return f"{letters[:4]}-{letters[4:]}"

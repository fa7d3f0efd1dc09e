"""UIDs that leave ichor: hashed, unless the user asks for the original ones."""

from __future__ import annotations

import hashlib

__all__ = ["hashed_uid"]


def hashed_uid(uid: str) -> str:
    """Turn a UID into another one, always the same, from which the first cannot be found again.

    The result is a valid DICOM UID under the ``2.25`` root (PS3.5 B.2), from 120 bits of SHA-256.
    """
    return f"2.25.{int(hashlib.sha256(uid.encode()).hexdigest()[:30], 16)}" if uid else ""

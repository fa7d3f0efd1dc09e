"""Answers of archives to requests for storage commitment: kept by whoever hears them, used by whoever asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from ichor.node.spool import Spool, hashed, load_json, write_json
from ichor.reading.dicom.dataset import quiet_pydicom

__all__ = ["Commitments", "keep_commitment"]

_MOST_UID = 64


class Commitments:
    """The answers that were kept.

    Parameters
    ----------
    spool
        Where they lie.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def answer(self, transaction: str) -> dict[str, list[str]] | None:
        """Return the ``committed`` and the ``failed`` instances of a request; None where there is no answer yet."""
        found: dict[str, list[str]] | None = load_json(self._path(transaction))
        return found

    def forget(self, transaction: str) -> None:
        """Remove an answer that was used."""
        self._path(transaction).unlink(missing_ok=True)

    def _path(self, transaction: str) -> Path:
        return self.spool.commitments / f"{hashed(transaction)}.json"


def keep_commitment(spool: Spool, information: Any) -> None:
    """Keep an answer.

    Parameters
    ----------
    spool
        Where.
    information
        Data set of an N-EVENT-REPORT (PS3.4 J.3.3). One without a transaction is no answer to anything.
    """
    with quiet_pydicom():
        transaction = str(information.get("TransactionUID", "") or "")
        committed, failed = (
            [str(item.get("ReferencedSOPInstanceUID", "")) for item in _items(information, tag)]
            for tag in ("ReferencedSOPSequence", "FailedSOPSequence")
        )
    if 0 < len(transaction) <= _MOST_UID:
        path = spool.commitments / f"{hashed(transaction)}.json"
        write_json(path, {"committed": committed, "failed": failed})


def _items(information: Dataset, tag: str) -> list[Dataset]:
    return list(information.get(tag) or [])

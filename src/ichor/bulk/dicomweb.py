"""Units in an archive that speaks DICOMweb: found by QIDO-RS, fetched by WADO-RS."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ichor.bulk.schema import check_installed
from ichor.bulk.units import Unit, fingerprint_of, study_id
from ichor.errors import UsageError
from ichor.uids import hashed_uid

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

__all__ = ["SCHEME", "TOKEN", "WebSource", "web_client"]

SCHEME = "dicomweb+"
TOKEN = "ICHOR_DICOMWEB_TOKEN"
"""Environment variable with a bearer token, where the archive asks for one."""
_PAGE = 100
_STUDY, _MODALITIES, _INSTANCES = "0020000D", "00080061", "00201208"


class WebSource:
    """Every study of an archive that may hold CT.

    Parameters
    ----------
    address
        ``dicomweb+https://host/path`` (or ``dicomweb+http://`` on a trusted network).

    Raises
    ------
    UsageError
        Where the extra is missing, or the address names credentials.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = web_client(address, TOKEN)
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> dict[str, int]:
        """Studies that are in no unit so far, by why."""
        return dict(+self._left_out)

    def discover(self) -> Iterator[Unit]:
        """Yield studies, page by page; an archive that gives no pages gives all at once."""
        self._left_out = Counter()
        known: set[str] = set()
        while True:
            found = self._client.search_for_studies(
                limit=_PAGE, offset=len(known), fields=["ModalitiesInStudy", "NumberOfStudyRelatedInstances"]
            )
            new = {uid: study for study in found if (uid := str(_value(study, _STUDY))) not in known}
            for uid, study in new.items():
                known.add(uid)
                modalities = study.get(_MODALITIES, {}).get("Value") or ["CT"]
                if "CT" not in modalities:
                    self._left_out["studies without CT"] += 1
                    continue
                instances = int(_value(study, _INSTANCES) or 0)
                yield Unit(
                    study_id("study", uid), hashed_uid(uid), (uid,), fingerprint_of([(uid, instances)])
                )
            if len(found) < _PAGE or not new:
                return

    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Download the instances of a study, one file each, under names of our own."""
        (uid,) = unit.places
        for number, instance in enumerate(self._client.iter_study(uid)):
            instance.save_as(folder / f"{number:06d}.dcm", enforce_file_format=True)
        return folder


def web_client(address: str, variable: str, *, seconds: float = 20.0) -> DICOMwebClient:
    """Return a client of what an address names; nothing is asked of it yet.

    Parameters
    ----------
    address
        ``dicomweb+https://host/path``.
    variable
        Environment variable that may hold a token for it.
    seconds
        How long it may be silent.

    Raises
    ------
    UsageError
        Where the extra is missing, or the address cannot be used or names credentials.
    """
    check_installed("dicomweb_client")
    from dicomweb_client import DICOMwebClient

    url = address.removeprefix(SCHEME)
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError(
            f"bulk: found credentials in the address of an archive; expected a token in {variable}; leave them out"
        )
    token = os.environ.get(variable, "")
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        return DICOMwebClient(url=url, headers=headers, timeout=seconds)
    except ValueError:
        raise UsageError(
            "bulk: found an address of an archive that cannot be read; expected dicomweb+https://host/path; check it"
        ) from None


def _value(study: dict[str, Any], tag: str) -> Any:
    values = study.get(tag, {}).get("Value") or [""]
    return values[0]
